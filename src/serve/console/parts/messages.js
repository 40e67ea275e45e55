/** What statements said, the last one first. */
import { html } from '../vendor/preact.js';
import { bench } from './bench.js';
import { clock } from './format.js';
import { t } from './i18n.js';
import { Empty } from './ui.js';

export function Messages() {
  const list = bench.messages.value;
  if (list.length === 0) return html`<${Empty} icon="history" title=${t('messages.empty')} />`;
  return html`<ul class="messages" tabindex="0" aria-label=${t('tab.messages')}>${list.map((one, at) => html`<li key=${list.length - at} class=${one.kind}><time>${clock(one.at, false)}</time><span class="mark" aria-hidden="true">${one.kind === 'bad' ? '✕' : '✓'}</span><div><p>${one.text}</p>${one.sql && html`<code>${one.sql}</code>`}</div></li>`)}</ul>`;
}
