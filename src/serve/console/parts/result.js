/** A result in sight: its state, its rows in three views, its chart, and what to do with it. */
import { html, useEffect, useMemo, useSignal } from '../vendor/preact.js';
import { bytes, count, duration, short } from './format.js';
import { arranged, Grid, isNumber, isTime } from './grid.js';
import { t } from './i18n.js';
import { Icon } from './icons.js';
import { stringify, text } from './json.js';
import { KEEP, liveMax } from './live.js';
import { Series } from './series.js';
import { Button, Choice, download, Empty, Failure } from './ui.js';
import { Filter } from './table.js';

const STOPPABLE = ['opening', 'live'];

/** The line above the rows: what comes, what is kept, what is not shown. */
function Status({ live, shown }) {
  void live.version.value;
  const state = live.state.value;
  const took = duration((live.endedAt ?? Date.now()) - live.startedAt);
  const kept = live.isText ? live.lines.length : live.rows.length;
  const behind = live.total - (shown.total ?? live.total);
  return html`<span class=${`live-state ${state}`}><span class="dot" aria-hidden="true" />${t(`live.${state}`)}</span>
    <span class="live-facts" aria-live="off">
      ${state === 'live' && live.isPush && html`<span>${t('live.rate', { value: short(live.rate.value) })}</span>`}
      <span>${t('live.rows', { n: live.total, rows: count(live.total) })}</span>
      ${live.total > kept && html`<span class="warn-text" title=${t('live.keptWhy', { keep: count(KEEP) })}>${t('live.kept', { kept: count(kept), dropped: count(live.total - kept) })}</span>`}
      ${live.paused.value && html`<span class="warn-text">${t('live.behind', { n: behind, rows: count(behind) })}</span>`}
      ${!STOPPABLE.includes(state) && html`<span>${took}</span><span>${bytes(live.bytes)}</span>`}
      ${live.message.value && live.message.value !== 'Query Completed' && html`<span>${live.message.value}</span>`}
    </span>`;
}

/** Which columns name a row. */
function KeyChoice({ live, columns }) {
  const toggle = at => live.setKeys(live.keys.includes(at) ? live.keys.filter(one => one !== at) : [...live.keys, at].sort((a, b) => a - b));
  return html`<details class="popover"><summary class="button small quiet">${t('rows.keyedBy', { columns: columns.filter(column => live.keys.includes(column.at)).map(column => column.name).join(', ') || '–' })}</summary>
    <div class="popover-body"><p class="note">${t('rows.keyChoice')}</p>${columns.map(column => html`<label class="check" key=${column.at}><input type="checkbox" checked=${live.keys.includes(column.at)} onChange=${() => toggle(column.at)} />${column.name}</label>`)}</div></details>`;
}

const csvCell = value => {
  const plain = value === null || value === undefined ? '' : text(value);
  return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
};

function save(kind, columns, rows) {
  if (kind === 'csv') {
    const lines = [columns.map(column => csvCell(column.name)), ...rows.map(row => columns.map(column => csvCell(row.c[column.at])))];
    download('rows.csv', `${lines.map(line => line.join(',')).join('\n')}\n`, 'text/csv');
  } else {
    const object = row => Object.fromEntries(columns.map(column => [column.name, row.c[column.at]]));
    download('rows.ndjson', rows.map(row => `${stringify(object(row))}\n`).join(''), 'application/x-ndjson');
  }
}

/** Why there are no rows, and what helps. */
function Nothing({ live }) {
  const state = live.state.value;
  if (state === 'refused') return html`<${Empty} icon="stop" title=${t('live.refusedTitle', { max: liveMax() })}><p class="note">${t('live.refusedHint')}</p></${Empty}>`;
  if (state === 'failed') return html`<${Failure} error=${live.error.value} />`;
  if (state === 'opening') return html`<${Empty} icon="play" title=${t('live.openingTitle')} />`;
  if (state === 'live') return html`<${Empty} icon="play" title=${t('live.waitingTitle')}><p class="note">${t('live.waitingHint')}</p></${Empty}>`;
  return html`<${Empty} icon="search" title=${t('live.noRows')}><p class="note">${t('live.noRowsHint')}</p></${Empty}>`;
}

/**
 * @param {{ live: import('./live.js').Live, view: string, onView: (view: string) => void, tab: 'rows' | 'chart', height?: string }} props
 *   `view`: 'append', 'latest' or 'changelog'
 */
export function Result({ live, view, onView, tab, onRerun }) {
  void live.version.value;
  void live.paused.value;
  const filter = useSignal('');
  const sort = useSignal(null);
  const flashes = useSignal(0);
  useEffect(() => { sort.value = null; filter.value = ''; }, [live]);
  useEffect(() => { if (live.latest !== (view === 'latest')) live.setKeys(live.keys, view === 'latest'); }, [live, view, live.columns.value]);
  const columns = useMemo(() => live.columns.value.map((column, at) => ({ ...column, at })), [live.columns.value]);
  const shown = live.shown();
  const state = live.state.value;
  const rows = view === 'latest' ? shown.keyed : shown.rows;
  const list = arranged(view === 'append' ? rows.filter(row => !row.t) : rows, columns, { sort: sort.value, filter: filter.value, newestFirst: live.isPush && view !== 'latest' });
  // A flash ends even if no other row comes.
  useEffect(() => {
    if (view !== 'latest' || !live.isPush) return undefined;
    const timer = setTimeout(() => { flashes.value += 1; }, 1000);
    return () => clearTimeout(timer);
  }, [live.version.value]);
  void flashes.value;
  const empty = (live.isText ? shown.lines.length : rows.length) === 0;
  return html`<section class="result" aria-label=${t('rows.title')}>
    <div class="result-bar">
      <${Status} live=${live} shown=${shown} />
      <span class="grow" />
      ${state === 'live' && live.isPush && (live.paused.value
    ? html`<${Button} small icon="play" label=${t('live.resume')} onClick=${() => live.resume()} />`
    : html`<${Button} small icon="pause" label=${t('live.pause')} title=${t('live.pauseWhy')} onClick=${() => live.pause()} />`)}
      ${STOPPABLE.includes(state) && html`<${Button} small icon="stop" label=${t('live.stop')} onClick=${() => live.stop()} />`}
      ${!STOPPABLE.includes(state) && onRerun && html`<${Button} small icon="play" label=${t('live.again')} onClick=${onRerun} />`}
      ${!live.isText && tab === 'rows' && columns.length > 0 && html`
        ${live.isPush && html`<${Choice} label=${t('rows.view')} value=${view} onChange=${onView} options=${[['append', t('rows.append')], ['latest', t('rows.latest')], ['changelog', t('rows.changelog')]]} />`}
        ${live.isPush && view !== 'append' && html`<${KeyChoice} live=${live} columns=${columns} />`}
        <${Filter} value=${filter.value} label=${t('rows.filter')} onInput=${value => { filter.value = value; }} />
        <details class="popover"><summary class="button small quiet" aria-label=${t('rows.save')} title=${t('rows.save')}><${Icon} name="download" /></summary><div class="popover-body menu">
          <${Button} small kind="quiet" label="CSV" onClick=${() => save('csv', columns, list)} /><${Button} small kind="quiet" label="NDJSON" onClick=${() => save('ndjson', columns, list)} /></div></details>`}
    </div>
    ${state === 'failed' && !empty && html`<${Failure} error=${live.error.value} />`}
    ${state === 'lost' && html`<div class="strip bad" role="alert">${t('live.lostHint')}</div>`}
    ${empty ? html`<${Nothing} live=${live} />`
    : live.isText ? html`<pre class="printed" tabindex="0">${shown.lines.slice(-2000).join('\n')}</pre>`
      : tab === 'chart' ? html`<${Series} live=${live} rows=${shown.rows} columns=${columns} />`
        : html`<${Grid} columns=${columns} rows=${list} ops=${view === 'changelog'} flash=${view === 'latest'} label=${t('rows.title')} sort=${sort} />`}
  </section>`;
}

/** Can it be drawn? Needs a number. */
export const hasChart = live => live.columns.value.some(column => isNumber(column) || isTime(column));
