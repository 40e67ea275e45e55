/** Charts of a result: any numeric column over time, a line per key. */
import { html, useMemo, useSignal } from '../vendor/preact.js';
import { Chart } from './chart.js';
import { isNumber, isTime } from './grid.js';
import { t } from './i18n.js';
import { text } from './json.js';
import { Empty } from './ui.js';

/** More lines than this cannot be told apart. */
const SERIES_MAX = 12;
const POINTS_MAX = 4000;
const ARRIVAL = -1;

/** The columns that a chart can use. */
export function choices(columns) {
  const numbers = columns.filter(isNumber);
  const times = columns.filter(column => isTime(column) || /^TIMESTAMP/.test(column.type));
  const labels = columns.filter(column => !numbers.includes(column) && !times.includes(column));
  return { numbers, times, labels };
}

const time = value => (typeof value === 'number' ? value : Date.parse(String(value)));

/** Rows as uPlot takes them: x, then a list of values per series. */
export function lines(rows, { x, y, by }) {
  const points = new Map();
  const seen = new Map();
  for (const row of rows.slice(-POINTS_MAX)) {
    if (row.t) continue;
    const at = x === ARRIVAL ? row.at : time(row.c[x]);
    const value = row.c[y];
    if (!Number.isFinite(at) || value === null || value === undefined) continue;
    const name = by === null ? '' : text(row.c[by]);
    if (!seen.has(name)) {
      if (seen.size >= SERIES_MAX) continue;
      seen.set(name, seen.size);
    }
    if (!points.has(at)) points.set(at, new Map());
    points.get(at).set(name, Number(value));
  }
  const xs = [...points.keys()].sort((a, b) => a - b);
  const names = [...seen.keys()].sort();
  return { names, data: [xs, ...names.map(name => xs.map(at => points.get(at).get(name) ?? null))] };
}

export function Series({ live, rows, columns }) {
  const { numbers, times, labels } = choices(columns);
  const preferred = times.find(column => column.name === 'ROWTIME') ?? times.find(column => column.name === 'WINDOWSTART') ?? times[0];
  const chosen = useSignal({});
  const y = chosen.value.y ?? numbers.at(-1)?.at;
  const x = chosen.value.x ?? preferred?.at ?? ARRIVAL;
  const by = chosen.value.by !== undefined ? chosen.value.by : labels[0]?.at ?? null;
  const drawn = useMemo(() => (y === undefined ? null : lines(rows, { x, y, by })), [rows, rows.length, live.version.value, x, y, by]);
  if (!drawn) return html`<${Empty} icon="overview" title=${t('chart.noNumbers')}><p class="note">${t('chart.noNumbersHint')}</p></${Empty}>`;
  const name = columns[y].name;
  const choose = (field, options, value) => html`<label class="field-inline">${t(`chart.${field}`)}<select class="input" value=${String(value)} onChange=${event => { chosen.value = { ...chosen.value, [field]: event.target.value === 'null' ? null : Number(event.target.value) }; }}>
    ${options.map(([at, label]) => html`<option key=${at} value=${String(at)} selected=${String(at) === String(value)}>${label}</option>`)}</select></label>`;
  const series = drawn.names.map(one => ({ label: one || name }));
  return html`<div class="series"><div class="series-bar">
      ${choose('y', numbers.map(column => [column.at, column.name]), y)}
      ${choose('x', [[ARRIVAL, t('chart.arrival')], ...times.map(column => [column.at, column.name])], x)}
      ${choose('by', [['null', t('chart.one')], ...labels.map(column => [column.at, column.name])], by)}
      ${drawn.names.length >= SERIES_MAX && html`<span class="note">${t('chart.cap', { max: SERIES_MAX })}</span>`}
    </div>
    <${Chart} data=${drawn.data} series=${series} label=${t('chart.label', { name })} points=${drawn.data[0].length < 60} /></div>`;
}
