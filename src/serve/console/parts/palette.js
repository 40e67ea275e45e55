/** Ctrl-K: pages, sources, queries and topics by name. `?` shows the keys. */
import { html, signal, useEffect, useMemo, useSignal } from '../vendor/preact.js';
import { request, session } from './api.js';
import { t } from './i18n.js';
import { Icon } from './icons.js';
import { address, go } from './router.js';
import { PAGES } from './shell.js';
import { closeDialog, openDialog } from './ui.js';

const SHOWN_MAX = 40;
const GO_MILLIS = 1500;
const entries = signal([]);

async function load() {
  const found = [];
  const take = async (path, list) => {
    try {
      found.push(...list(await request(path)));
    } catch {
      // What cannot be listed is not offered.
    }
  };
  await Promise.all([
    take('/api/v1/sources', body => body.sources.map(({ name, type }) => ({ icon: 'sources', name, kind: t(`kind.${type.toLowerCase()}`), to: ['source', name] }))),
    take('/api/v1/queries', body => body.queries.map(({ id, state }) => ({ icon: 'queries', name: id, kind: t(`state.${state}`), to: ['query', id] }))),
    take('/api/v1/topics', body => body.topics.filter(topic => !topic.internal).map(({ name }) => ({ icon: 'topics', name, kind: t('kind.topic'), to: ['topic', name] }))),
  ]);
  entries.value = found;
}

function Palette() {
  const text = useSignal('');
  const at = useSignal(0);
  useEffect(() => { load(); }, []);
  const pages = PAGES.map(([path, name]) => ({ icon: name, name: t(`nav.${name}`), kind: t('palette.page'), to: path ? [path] : [] }));
  const wanted = text.value.trim().toLowerCase();
  const list = useMemo(() => [...pages, ...entries.value].filter(one => one.name.toLowerCase().includes(wanted)).slice(0, SHOWN_MAX), [wanted, entries.value]);
  const open = one => {
    closeDialog();
    go(one.to);
  };
  const keys = event => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      at.value = (at.value + step + list.length) % Math.max(1, list.length);
      document.getElementById(`palette-${at.value}`)?.scrollIntoView({ block: 'nearest' });
    } else if (event.key === 'Enter' && list[at.value]) {
      event.preventDefault();
      open(list[at.value]);
    }
  };
  return html`<div class="palette" onKeyDown=${keys}>
    <input data-first class="input" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-activedescendant=${list.length ? `palette-${at.value}` : undefined} aria-label=${t('palette.open')} placeholder=${t('palette.open')} value=${text.value}
      onInput=${event => { text.value = event.target.value; at.value = 0; }} />
    <ul id="palette-list" role="listbox" aria-label=${t('palette.found')}>${list.map((one, index) => html`<li key=${one.to.join('/')} id=${`palette-${index}`} role="option" aria-selected=${index === at.value} onClick=${() => open(one)}><${Icon} name=${one.icon} /><span class="name">${one.name}</span><span class="note">${one.kind}</span></li>`)}</ul>
    ${list.length === 0 && html`<p class="note pad">${t('palette.none')}</p>`}
  </div>`;
}

const KEYS = [['Ctrl Enter', 'run'], ['Ctrl Shift Enter', 'runAll'], ['Ctrl Space', 'complete'], ['Ctrl /', 'comment'], ['Ctrl K', 'palette'], ['/', 'filter'], ['Esc', 'escape'], ['?', 'help']];

const Keys = () => html`<table class="data keys"><tbody>
  ${KEYS.map(([key, name]) => html`<tr key=${name}><td><kbd>${key}</kbd></td><td>${t(`keys.${name}`)}</td></tr>`)}
  ${PAGES.map(([, name, key]) => html`<tr key=${name}><td><kbd>g</kbd> <kbd>${key}</kbd></td><td>${t(`nav.${name}`)}</td></tr>`)}
</tbody></table>`;

/** Opens the palette, or the list of keys. */
export function openPalette(what) {
  if (what === 'keys') openDialog({ title: t('keys.title'), body: Keys });
  else openDialog({ title: t('palette.title'), body: Palette });
}

const isTyping = element => element?.closest?.('input, textarea, select, [contenteditable], [data-editor]');

/** Keys of the whole console. */
export function listen() {
  let goAt = 0;
  addEventListener('keydown', event => {
    const modified = event.ctrlKey || event.metaKey;
    if (modified && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      if (session.value) openPalette();
      return;
    }
    if (modified || event.altKey || event.isComposing || isTyping(event.target) || document.querySelector('dialog[open]')) return;
    if (event.key === '/') {
      const filter = document.querySelector('[data-filter]');
      if (filter) {
        event.preventDefault();
        filter.focus();
      }
    } else if (event.key === '?') {
      openPalette('keys');
    } else if (event.key === 'g') {
      goAt = Date.now();
    } else if (Date.now() - goAt < GO_MILLIS) {
      goAt = 0;
      const page = PAGES.find(([, , key]) => key === event.key);
      if (page) location.hash = address(page[0] ? [page[0]] : []);
    }
  });
}
