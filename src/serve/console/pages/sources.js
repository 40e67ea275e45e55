/** All streams and tables. */
import { html } from '../vendor/preact.js';
import { usePoll } from '../parts/api.js';
import { t } from '../parts/i18n.js';
import { Names, Query, Source, target, Topic } from '../parts/links.js';
import { setParams } from '../parts/router.js';
import { DataTable, Filter } from '../parts/table.js';
import { Empty, Loaded, PageHead } from '../parts/ui.js';

const columns = () => [
  { id: 'name', title: t('facts.name'), cell: row => html`<${Source} name=${row.name} />` },
  { id: 'type', title: t('facts.kind'), cell: row => html`${t(`kind.${row.type.toLowerCase()}`)}${row.windowed ? html` <span class="tag">${t('catalog.windowed')}</span>` : ''}` },
  { id: 'columns', title: t('source.columns'), number: true, value: row => row.columns.length, cell: row => row.columns.length },
  { id: 'topic', title: t('kind.topic'), cell: row => html`<${Topic} name=${row.topic} />` },
  { id: 'format', title: t('facts.formats'), value: row => row.valueFormat, cell: row => html`<span class="note">${row.keyFormat} / ${row.valueFormat}</span>` },
  { id: 'writers', title: t('facts.writtenBy'), value: row => row.writers.length, cell: row => html`<${Names} names=${row.writers} link=${Query} prop="id" />` },
  { id: 'readers', title: t('facts.readBy'), value: row => row.readers.length, cell: row => html`<${Names} names=${row.readers} link=${Query} prop="id" />` },
];

export default function Sources({ params }) {
  const poll = usePoll('/api/v1/sources', 4000);
  const filter = params.get('filter') ?? '';
  const has = source => [source.name, source.topic, ...source.columns.map(column => column.name)].some(text => text.toLowerCase().includes(filter.toLowerCase()));
  return html`<${PageHead} title=${t('nav.sources')} note=${t('sources.note')} api="/api/v1/sources"><${Filter} value=${filter} label=${t('catalog.filter')} onInput=${value => setParams({ filter: value })} /></${PageHead}>
    <${Loaded} poll=${poll} rows=${8} empty=${{ when: data => data.sources.length === 0, view: html`<${Empty} icon="sources" title=${t('sources.empty')}><p class="note">${t('sources.emptyHint')}</p><p><a class="button primary" href="#/">${t('samples.title')}</a></p></${Empty}>` }}>${data => html`<${DataTable} label=${t('nav.sources')} columns=${columns()} rows=${data.sources.filter(has)} id=${row => row.name} sort="name" onOpen=${row => { location.hash = target.source(row.name); }} />`}</${Loaded}>`;
}
