/** The catalogue beside the editor: streams, tables, topics and functions; a click inserts a name. */
import { html, useSignal } from '../vendor/preact.js';
import { usePoll } from './api.js';
import { t } from './i18n.js';
import { Icon } from './icons.js';
import { address } from './router.js';
import { quoted } from './statements.js';
import { Filter } from './table.js';
import { Loading } from './ui.js';

const POLL_MILLIS = 5000;

function Group({ name, title, items, draw, open, count }) {
  return html`<details class="group" open=${open}><summary>${title}<span class="badge">${count ?? items.length}</span></summary>
    ${items.length === 0 ? html`<p class="note pad">${t(`catalog.none.${name}`)}</p>` : html`<ul>${items.map(draw)}</ul>`}</details>`;
}

function Source({ source, onInsert, onOpen }) {
  const open = useSignal(false);
  return html`<li><div class="entry">
      <button type="button" class="twist" aria-expanded=${open.value} aria-label=${t('catalog.columns', { name: source.name })} onClick=${() => { open.value = !open.value; }}><${Icon} name=${open.value ? 'down' : 'right'} size=${12} /></button>
      <button type="button" class="name" title=${t('catalog.insert')} onClick=${() => onInsert(quoted(source.name))}>${source.name}</button>
      <span class="note">${String(source.valueFormat).toLowerCase()}${source.windowed ? ` · ${t('catalog.windowed')}` : ''}</span>
      <button type="button" class="quick" title=${t('catalog.look')} aria-label=${t('catalog.lookAt', { name: source.name })} onClick=${() => onOpen(`SELECT * FROM ${quoted(source.name)} EMIT CHANGES;`)}><${Icon} name="play" size=${12} /></button>
      <a class="quick" href=${address(['source', source.name])} title=${t('catalog.open')} aria-label=${t('catalog.openSource', { name: source.name })}><${Icon} name="external" size=${12} /></a></div>
    ${open.value && html`<ul class="columns">${source.columns.map(column => html`<li key=${column.name}><button type="button" class="name" onClick=${() => onInsert(quoted(column.name))}>${column.name}</button><span class="note">${column.type}${column.key ? ` · ${t('rows.key')}` : ''}</span></li>`)}</ul>`}</li>`;
}

/** @param {{ onInsert: (text: string) => void, onOpen: (text: string) => void }} props */
export function Catalog({ onInsert, onOpen }) {
  const filter = useSignal('');
  const { data: sources, error } = usePoll('/api/v1/sources', POLL_MILLIS);
  const { data: topics } = usePoll('/api/v1/topics', POLL_MILLIS);
  const wanted = filter.value.toLowerCase();
  const has = name => name.toLowerCase().includes(wanted);
  const found = (sources?.sources ?? []).filter(source => has(source.name) || source.columns.some(column => has(column.name)));
  const source = one => html`<${Source} key=${one.name} source=${one} onInsert=${onInsert} onOpen=${onOpen} />`;
  const topic = one => html`<li key=${one.name}><div class="entry"><button type="button" class="name flush" onClick=${() => onInsert(`'${one.name}'`)}>${one.name}</button><span class="note">${one.partitions}</span>
    <button type="button" class="quick" title=${t('catalog.print')} aria-label=${t('catalog.printTopic', { name: one.name })} onClick=${() => onOpen(`PRINT '${one.name}' FROM BEGINNING;`)}><${Icon} name="play" size=${12} /></button>
    <a class="quick" href=${address(['topic', one.name])} title=${t('catalog.open')} aria-label=${t('catalog.openTopic', { name: one.name })}><${Icon} name="external" size=${12} /></a></div></li>`;
  const shownTopics = (topics?.topics ?? []).filter(one => !one.internal && has(one.name));
  return html`<${Filter} value=${filter.value} label=${t('catalog.filter')} onInput=${value => { filter.value = value; }} />
    <div class="catalog-body">
      ${!sources && !error && html`<${Loading} rows=${4} />`}
      ${error && !sources && html`<p class="note pad">${error.message}</p>`}
      ${sources && html`<${Group} name="streams" open title=${t('catalog.streams')} items=${found.filter(one => one.type === 'STREAM')} draw=${source} />
        <${Group} name="tables" open title=${t('catalog.tables')} items=${found.filter(one => one.type === 'TABLE')} draw=${source} />`}
      ${topics && html`<${Group} name="topics" title=${t('catalog.topics')} items=${shownTopics} draw=${topic} />`}
    </div>`;
}
