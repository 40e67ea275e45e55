/** One topic: its records, partitions, settings, schema, and a form to write. */
import { html } from '../vendor/preact.js';
import { usePoll } from '../parts/api.js';
import { Browser } from '../parts/browser.js';
import { bytes, count, retention } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { Names, Query, Source, target } from '../parts/links.js';
import { Produce } from '../parts/produce.js';
import { setParams } from '../parts/router.js';
import { Columns } from '../parts/schema.js';
import { DataTable } from '../parts/table.js';
import { Empty, Facts, Failure, Loading, PageHead, Tabs } from '../parts/ui.js';

const partitionColumns = () => [
  { id: 'partition', title: t('facts.partition'), number: true }, { id: 'low', title: t('facts.low'), number: true, cell: row => count(row.low) },
  { id: 'end', title: t('facts.end'), number: true, cell: row => count(row.end) },
  { id: 'records', title: t('facts.records'), number: true, value: row => row.end - row.low, cell: row => count(row.end - row.low) }, { id: 'bytes', title: t('facts.size'), number: true, cell: row => bytes(row.bytes) },
];

const settingColumns = () => [{ id: 'name', title: t('facts.name'), cell: row => html`<code>${row.name}</code>` }, { id: 'value', title: t('facts.value'), cell: row => html`<code>${row.value}</code>` }];

export default function Topic({ path: [name], params }) {
  const poll = usePoll(`/api/v1/topics/${encodeURIComponent(name)}`, 4000);
  const { data: all } = usePoll('/api/v1/sources', 10_000);
  const topic = poll.data;
  const tab = params.get('tab') ?? 'records';
  const sources = (all?.sources ?? []).filter(source => source.topic === name);
  if (!topic) return html`<${PageHead} title=${name} />${poll.error ? html`<${Failure} error=${poll.error} onRetry=${poll.reload}><a href="#/topics">${t('nav.topics')}</a></${Failure}>` : html`<${Loading} rows=${8} />`}`;
  const settings = Object.entries(topic.settings ?? {}).map(([key, value]) => ({ name: key, value: String(value) }));
  const views = {
    records: () => html`<${Browser} topic=${name} partitions=${topic.partitions} params=${params} />`,
    partitions: () => html`<${DataTable} dense label=${t('tab.partitions')} columns=${partitionColumns()} rows=${topic.partitionsDetail ?? []} id=${row => row.partition} sort="partition" />`,
    schema: () => (sources.length === 0 ? html`<${Empty} icon="sources" title=${t('topic.noSource')}><p class="note">${t('topic.noSourceHint')}</p></${Empty}>` : sources.map(source => html`<section key=${source.name}><h2><${Source} name=${source.name} /> <small class="type">${source.keyFormat} / ${source.valueFormat}</small></h2><${Columns} columns=${source.columns} /></section>`)),
    settings: () => html`<${DataTable} dense label=${t('tab.settings')} columns=${settingColumns()} rows=${settings} id=${row => row.name} sort="name" />`,
    produce: () => html`<${Produce} topic=${name} sources=${sources} onDone=${poll.reload} />`,
  };
  const view = views[tab] ?? views.records;
  return html`<${PageHead} title=${name} note=${topic.internal ? t('topic.internal') : t('kind.topic')}><a class="button" href=${target.graph(name)}>${t('nav.graph')}</a></${PageHead}>
    <${Facts} facts=${[[t('facts.partitions'), count(topic.partitions)], [t('facts.records'), count(topic.records)], [t('facts.size'), bytes(topic.bytes)], [t('facts.retention'), retention(topic.retentionMillis)],
    [t('facts.readBy'), html`<${Names} names=${topic.readBy} link=${Query} prop="id" />`], [t('facts.writtenBy'), html`<${Names} names=${topic.writtenBy} link=${Query} prop="id" />`]]} />
    <${Tabs} label=${t('tab.title')} value=${views[tab] ? tab : 'records'} onChange=${value => setParams({ tab: value })} tabs=${Object.keys(views).map(one => [one, one === 'records' ? t('topic.records') : t(`tab.${one}`)])} />
    <div class="tab-body">${view()}</div>`;
}
