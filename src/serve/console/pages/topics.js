/** All topics. */
import { html, useSignal } from '../vendor/preact.js';
import { usePoll } from '../parts/api.js';
import { bytes, count, retention } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { Names, Query, target, Topic } from '../parts/links.js';
import { setParams } from '../parts/router.js';
import { DataTable, Filter } from '../parts/table.js';
import { Choice, Empty, Loaded, PageHead } from '../parts/ui.js';

const columns = () => [
  { id: 'name', title: t('facts.name'), cell: row => html`<${Topic} name=${row.name} />` },
  { id: 'partitions', title: t('facts.partitions'), number: true, cell: row => count(row.partitions) },
  { id: 'records', title: t('facts.records'), number: true, cell: row => count(row.records) },
  { id: 'bytes', title: t('facts.size'), number: true, cell: row => bytes(row.bytes) },
  { id: 'retentionMillis', title: t('facts.retention'), number: true, cell: row => retention(row.retentionMillis) },
  { id: 'readBy', title: t('facts.readBy'), value: row => row.readBy?.length, cell: row => html`<${Names} names=${row.readBy} link=${Query} prop="id" />` },
  { id: 'writtenBy', title: t('facts.writtenBy'), value: row => row.writtenBy?.length, cell: row => html`<${Names} names=${row.writtenBy} link=${Query} prop="id" />` },
];

export default function Topics({ params }) {
  const poll = usePoll('/api/v1/topics', 4000);
  const internal = useSignal(false);
  const filter = params.get('filter') ?? '';
  const has = topic => topic.name.toLowerCase().includes(filter.toLowerCase());
  return html`<${PageHead} title=${t('nav.topics')} note=${t('topics.note')} api="/api/v1/topics">
      <${Filter} value=${filter} label=${t('topics.filter')} onInput=${value => setParams({ filter: value })} />
      <${Choice} label=${t('topics.which')} value=${internal.value ? 'all' : 'own'} onChange=${value => { internal.value = value === 'all'; }} options=${[['own', t('topics.own')], ['all', t('topics.all')]]} /></${PageHead}>
    <${Loaded} poll=${poll} rows=${8} empty=${{ when: data => data.topics.length === 0, view: html`<${Empty} icon="topics" title=${t('topics.empty')}><p class="note">${t('topics.emptyHint')}</p></${Empty}>` }}>${data => html`<${DataTable} label=${t('nav.topics')} columns=${columns()}
      rows=${data.topics.filter(topic => has(topic) && (internal.value || !topic.internal))} id=${row => row.name} sort="name" onOpen=${row => { location.hash = target.topic(row.name); }} />`}</${Loaded}>`;
}
