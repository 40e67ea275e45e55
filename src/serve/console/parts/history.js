/** The statements that were run in this browser. */
import { html, useSignal } from '../vendor/preact.js';
import { timestamp } from './format.js';
import { t } from './i18n.js';
import { store, stored } from './preferences.js';
import { Button, closeDialog, Empty, openDialog } from './ui.js';
import { Filter } from './table.js';

const KEY = 'tidegate.history';
const KEPT_MAX = 200;
/** Statements with a secret are not kept. */
const SECRET = /password|secret|token|sasl\.jaas/i;

const all = () => stored(KEY, []);

export function remember(text) {
  if (SECRET.test(text)) return;
  store(KEY, [{ at: Date.now(), text }, ...all().filter(one => one.text !== text)].slice(0, KEPT_MAX));
}

function History({ onPick }) {
  const filter = useSignal('');
  const cleared = useSignal(0);
  void cleared.value;
  const found = all().filter(one => one.text.toLowerCase().includes(filter.value.toLowerCase()));
  if (all().length === 0) return html`<${Empty} icon="history" title=${t('history.empty')} />`;
  return html`<div class="history"><div class="row"><${Filter} value=${filter.value} label=${t('history.filter')} onInput=${value => { filter.value = value; }} /><span class="grow" /><${Button} small kind="quiet" icon="trash" label=${t('history.clear')} onClick=${() => { store(KEY, []); cleared.value += 1; }} /></div>
    <ul class="plain">${found.map(one => html`<li key=${one.at}><button type="button" class="history-entry" onClick=${() => { closeDialog(); onPick(one.text); }}><span class="note">${timestamp(one.at, false)}</span><code>${one.text}</code></button></li>`)}</ul></div>`;
}

export const openHistory = onPick => openDialog({ title: t('sql.history'), wide: true, body: () => html`<${History} onPick=${onPick} />` });
