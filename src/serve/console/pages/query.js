/** One query: its graph with numbers, their history, its rows, problems, statement and settings. */
import { html, useEffect, useMemo, useSignal } from '../vendor/preact.js';
import { usePoll } from '../parts/api.js';
import { bench } from '../parts/bench.js';
import { Chart } from '../parts/chart.js';
import { Dag } from '../parts/dag.js';
import { bytes, clock, count, duration, percent, rate, short, timestamp } from '../parts/format.js';
import { t } from '../parts/i18n.js';
import { Names, Source, Topic } from '../parts/links.js';
import { Live } from '../parts/live.js';
import { planEdges, planNodes } from '../parts/plan.js';
import { ProblemGroups } from '../parts/problems.js';
import { Actions, needsReason } from '../parts/queryActions.js';
import { Result } from '../parts/result.js';
import { go, setParams } from '../parts/router.js';
import { quoted } from '../parts/statements.js';
import { DataTable } from '../parts/table.js';
import { Button, Choice, Empty, Facts, Failure, Loading, PageHead, Sql, State, Tabs } from '../parts/ui.js';

const SERIES = ['in', 'out', 'lag', 'commitMillis', 'stateBytes', 'late', 'bad'];
const UNIT = { in: rate, out: rate, lag: short, commitMillis: value => `${short(value)} ms`, stateBytes: bytes, late: short, bad: short };
const millis = value => (value === null || value === undefined ? '–' : `${Number(value) < 10 ? Number(value).toFixed(1) : Math.round(value)} ms`);

function Graph({ query }) {
  const { data: plan, error, reload } = usePoll(`/api/v1/queries/${encodeURIComponent(query.id)}/plan`, 0);
  if (error) return html`<${Failure} error=${error} onRetry=${reload} />`;
  if (!plan) return html`<${Loading} />`;
  return html`<div class="query-graph"><${Dag} nodes=${planNodes(plan, query.stages)} edges=${planEdges(plan)} direction="auto" label=${t('query.graph')} /></div>`;
}

function History({ id }) {
  const step = useSignal('1s');
  const { data, error, reload } = usePoll(`/api/v1/history?query=${encodeURIComponent(id)}&series=${SERIES.join(',')}${step.value === '1s' ? '' : `&step=${step.value}`}`);
  const charts = useMemo(() => {
    if (!data) return [];
    const length = Math.max(0, ...Object.values(data.series).map(values => values.length));
    const xs = Array.from({ length }, (_, at) => data.start + at * data.stepMillis);
    return SERIES.filter(name => data.series[name]).map(name => ({ name, data: [xs, data.series[name]], last: data.series[name].findLast(value => value !== null) }));
  }, [data]);
  if (error) return html`<${Failure} error=${error} onRetry=${reload} />`;
  return html`<div class="row"><h2>${t('query.history')}</h2><span class="grow" /><${Choice} label=${t('query.span')} value=${step.value} onChange=${value => { step.value = value; }} options=${[['1s', t('query.span15m')], ['15s', t('query.span6h')]]} /></div>
    ${!data ? html`<${Loading} />` : html`<div class="small-charts">${charts.map(chart => html`<figure key=${chart.name} class="small-chart"><figcaption>${t(`series.${chart.name}`)}<b>${chart.last === undefined ? '–' : UNIT[chart.name](chart.last)}</b></figcaption>
      <${Chart} data=${chart.data} series=${[{ label: t(`series.${chart.name}`), unit: UNIT[chart.name] }]} height=${130} legend=${false} fill label=${t('overview.trend', { name: t(`series.${chart.name}`) })} /></figure>`)}</div>`}`;
}

const partitionColumns = () => [
  { id: 'topic', title: t('kind.topic'), cell: row => html`<${Topic} name=${row.topic} />` },
  { id: 'partition', title: t('facts.partition'), number: true },
  { id: 'low', title: t('facts.low'), number: true, cell: row => count(row.low) },
  { id: 'committed', title: t('facts.committed'), number: true, cell: row => count(row.committed) },
  { id: 'end', title: t('facts.end'), number: true, cell: row => count(row.end) },
  { id: 'lag', title: t('facts.lag'), number: true, cell: row => count(row.lag) },
  { id: 'streamTime', title: t('facts.streamTime'), number: true, cell: row => clock(row.streamTime) },
];

const stageColumns = () => [
  { id: 'name', title: t('facts.stage') },
  { id: 'rowsIn', title: t('facts.rowsIn'), number: true, cell: row => count(row.rowsIn) },
  { id: 'rowsOut', title: t('facts.rowsOut'), number: true, cell: row => count(row.rowsOut) },
  { id: 'busyShare', title: t('facts.busy'), number: true, cell: row => percent(row.busyShare) },
  { id: 'stateKeys', title: t('facts.keys'), number: true, cell: row => count(row.stateKeys) },
  { id: 'stateBytes', title: t('facts.state'), number: true, cell: row => bytes(row.stateBytes) },
  { id: 'late', title: t('facts.lateShort'), number: true, cell: row => count(row.late) },
];

const Numbers = ({ query }) => html`<${History} id=${query.id} />
  <h2>${t('query.partitions')}</h2><${DataTable} dense label=${t('query.partitions')} columns=${partitionColumns()} rows=${query.partitions && Array.isArray(query.partitions) ? query.partitions : []} id=${row => `${row.topic}/${row.partition}`} />
  <h2>${t('query.stages')}</h2><${DataTable} dense label=${t('query.stages')} columns=${stageColumns()} rows=${query.stages ?? []} id=${row => row.id} />`;

/** The rows that it writes, as they come. */
function Rows({ query }) {
  const live = useSignal(null);
  const view = useSignal('append');
  const start = () => { live.value = new Live(`SELECT * FROM ${quoted(query.sink)} EMIT CHANGES;`, { properties: { 'auto.offset.reset': 'latest' } }); };
  useEffect(() => {
    if (query.sink) start();
    return () => live.value?.stop();
  }, [query.sink]);
  if (!query.sink) return html`<${Empty} icon="search" title=${t('query.noSink')} />`;
  return live.value && html`<div class="query-rows"><${Result} live=${live.value} tab="rows" view=${view.value} onView=${value => { view.value = value; }} onRerun=${start} /></div>`;
}

function Problems({ query }) {
  const { data, error, reload } = usePoll(`/api/v1/problems?query=${encodeURIComponent(query.id)}`);
  if (error) return html`<${Failure} error=${error} onRetry=${reload} />`;
  return data ? html`<${ProblemGroups} groups=${data.groups} /> ` : html`<${Loading} />`;
}

const Settings = ({ query }) => html`<${DataTable} dense label=${t('tab.settings')} sort="name" columns=${[{ id: 'name', title: t('facts.name'), cell: row => html`<code>${row.name}</code>` }, { id: 'value', title: t('facts.value'), cell: row => html`<code>${row.value}</code>` }]}
  rows=${Object.entries(query.settings ?? {}).map(([name, value]) => ({ name, value: String(value) }))} id=${row => row.name} />`;

const TABS = { graph: Graph, numbers: Numbers, rows: Rows, problems: Problems, statement: ({ query }) => html`<${Sql} text=${`${query.sql};`} />`, settings: Settings };

export default function Query({ path: [id], params }) {
  const poll = usePoll(`/api/v1/queries/${encodeURIComponent(id)}`);
  const query = poll.data;
  if (!query) return html`<${PageHead} title=${id} />${poll.error ? html`<${Failure} error=${poll.error} onRetry=${poll.reload}><a href="#/queries">${t('nav.queries')}</a></${Failure}>` : html`<${Loading} rows=${8} />`}`;
  const tab = TABS[params.get('tab')] ? params.get('tab') : 'graph';
  const View = TABS[tab];
  const tabs = Object.keys(TABS).map(name => [name, t(`tab.${name}`), name === 'problems' && query.bad + query.late > 0 ? count(query.bad + query.late) : undefined]);
  const edit = () => {
    bench.open(`${query.sql};`);
    go(['sql']);
  };
  return html`<${PageHead} title=${id} note=${html`<${State} state=${query.state} />${needsReason(query) ? ` ${query.sentence}` : ''}${query.since ? html` · ${t('query.since', { value: duration(Date.now() - query.since) })}` : ''}${query.restarts > 0 ? ` · ${t('query.restarts', { n: query.restarts })}` : ''}`} api=${`/api/v1/queries/${encodeURIComponent(id)}`}>
      <${Actions} queries=${[query]} reload=${poll.reload} /><${Button} icon="edit" label=${t('query.edit')} onClick=${edit} />
    </${PageHead}>
    <${Facts} facts=${[
    [t('facts.in'), rate(query.rates?.in)], [t('facts.out'), rate(query.rates?.out)], [t('facts.lag'), count(query.lag)], [t('facts.busy'), percent(query.busyShare)],
    [t('facts.state'), query.stateKeys ? `${short(query.stateKeys)} · ${bytes(query.stateBytes)}` : '–'], [t('facts.commit'), millis(query.commitMillis?.p99)],
    [t('facts.streamTime'), query.streamTime ? html`<span title=${timestamp(query.streamTime)}>${clock(query.streamTime, false)}</span>` : '–'],
    [t('facts.age'), query.createdAt ? duration(Date.now() - query.createdAt) : '–'],
    [t('facts.reads'), html`<${Names} names=${query.reads} link=${Source} />`], [t('facts.writes'), html`<${Names} names=${query.writes} link=${Source} />`],
  ]} />
    <${Tabs} label=${t('tab.title')} tabs=${tabs} value=${tab} onChange=${name => setParams({ tab: name })} />
    <div class="tab-body"><${View} query=${query} /></div>`;
}
