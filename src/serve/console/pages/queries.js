/** All queries, with their numbers; pause, resume and terminate several at once. */
import { html, useSignal } from '../vendor/preact.js';
import { usePoll } from '../parts/api.js';
import { bytes, count, duration, percent, rate, short } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { target } from '../parts/links.js';
import { Actions, needsReason } from '../parts/queryActions.js';
import { setParams } from '../parts/router.js';
import { Spark } from '../parts/spark.js';
import { DataTable, Filter } from '../parts/table.js';
import { Empty, Loaded, PageHead, State } from '../parts/ui.js';

const SPARK_POINTS = 60;

/** How a query's input went, as far as this page has seen it. */
const seen = new Map();
function remember(queries) {
  for (const { id, rates } of queries) {
    const values = seen.get(id) ?? [];
    values.push(rates?.in ?? null);
    seen.set(id, values.slice(-SPARK_POINTS));
  }
}

const columns = now => [
  { id: 'id', title: t('facts.query'), cell: row => html`<a href=${target.query(row.id)}>${row.id}</a>${row.persistent === false ? html` <span class="tag">${t('query.transient')}</span>` : ''}` },
  { id: 'state', title: t('facts.status'), cell: row => html`<${State} state=${row.state} />${needsReason(row) ? html`<span class="note sentence" title=${row.sentence}>${row.sentence}</span>` : ''}` },
  { id: 'in', title: t('facts.in'), number: true, value: row => row.rates?.in, cell: row => rate(row.rates?.in) },
  { id: 'spark', title: t('facts.trend'), value: row => row.rates?.in, cell: row => html`<${Spark} values=${seen.get(row.id)} label=${t('overview.trend', { name: row.id })} width=${72} />` },
  { id: 'out', title: t('facts.out'), number: true, value: row => row.rates?.out, cell: row => rate(row.rates?.out) },
  { id: 'lag', title: t('facts.lag'), number: true, cell: row => short(row.lag) },
  { id: 'late', title: t('facts.lateShort'), number: true, cell: row => count(row.late) },
  { id: 'bad', title: t('facts.badShort'), number: true, cell: row => (row.bad > 0 ? html`<a class="warn-text" href="#/problems">${count(row.bad)}</a>` : count(row.bad)) },
  { id: 'stateBytes', title: t('facts.state'), number: true, cell: row => (row.stateKeys ? html`${short(row.stateKeys)} <span class="note">${bytes(row.stateBytes)}</span>` : '–') },
  { id: 'busyShare', title: t('facts.busy'), number: true, cell: row => percent(row.busyShare) },
  { id: 'createdAt', title: t('facts.age'), number: true, cell: row => (row.createdAt ? duration(now - row.createdAt) : '–') },
];

export default function Queries({ params }) {
  const poll = usePoll('/api/v1/queries');
  const selected = useSignal(new Set());
  const filter = params.get('filter') ?? '';
  const wanted = filter.toLowerCase();
  return html`<${PageHead} title=${t('nav.queries')} note=${t('queries.note')} api="/api/v1/queries"><${Filter} value=${filter} label=${t('queries.filter')} onInput=${value => setParams({ filter: value })} /></${PageHead}>
    <${Loaded} poll=${poll} rows=${8} empty=${{ when: data => data.queries.length === 0, view: html`<${Empty} icon="queries" title=${t('queries.empty')}><p class="note">${t('queries.emptyHint')}</p><p><a class="button primary" href="#/">${t('samples.title')}</a></p></${Empty}>` }}>${data => {
    remember(data.queries);
    const rows = data.queries.filter(query => [query.id, query.sql, query.state, query.sink].some(text => String(text ?? '').toLowerCase().includes(wanted)));
    const chosen = data.queries.filter(query => selected.value.has(query.id));
    return html`<div class="row wrap toolbar"><${Actions} queries=${chosen} reload=${poll.reload} /><span class="note">${t('common.selected', { n: chosen.length })}</span></div>
      <${DataTable} label=${t('nav.queries')} columns=${columns(Date.now())} rows=${rows} id=${row => row.id} sort="id" selected=${selected} onOpen=${row => { location.hash = target.query(row.id); }} />`;
  }}</${Loaded}>`;
}
