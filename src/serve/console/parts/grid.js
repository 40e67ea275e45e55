/**
 * Rows of a result: only those in sight are in the page, however many are kept. Columns sort and filter what is kept; a
 * cell opens as a tree. In the view of the latest row per key, cells that change flash.
 */
import { html, useRef } from '../vendor/preact.js';
import { clock, count, timestamp } from './format.js';
import { t } from './i18n.js';
import { isExact, stringify, text } from './json.js';
import { copy, openDialog, Sql } from './ui.js';
import { Space, useWindow } from './windowed.js';

const ROW_HEIGHT = 28;
/** Width of a character in a cell, and what is around it. */
const LETTER = 7.3;
const PADDING = 26;
const WIDTH_MIN = 76;
const WIDTH_MAX = 420;
const FLASH_MILLIS = 900;
const NUMBERS = /^(INT|INTEGER|BIGINT|DOUBLE|DECIMAL)/;
const TIMES = /^(ROWTIME|WINDOWSTART|WINDOWEND)$/;

export const isNumber = column => NUMBERS.test(column.type) && !TIMES.test(column.name);
export const isTime = column => TIMES.test(column.name) && column.type === 'BIGINT';

/** A cell in one line. */
export function shown(column, value) {
  if (value === null || value === undefined) return 'NULL';
  if (isTime(column)) return column.name === 'ROWTIME' ? clock(value) : clock(value, value % 1000 !== 0);
  if (column.type === 'DOUBLE' && typeof value === 'number' && !Number.isInteger(value)) return String(Math.abs(value) < 1e-6 ? value : Math.round(value * 1e6) / 1e6);
  return text(value);
}

function width(column, rows) {
  let letters = column.name.length + 2;
  for (const row of rows.slice(0, 200)) letters = Math.max(letters, [...shown(column, row.c[column.at])].reduce((sum, letter) => sum + (letter > '\u2e80' ? 1.7 : 1), 0));
  return Math.round(Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, letters * LETTER + PADDING)));
}

const compare = (a, b) => {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
  if (b === null || b === undefined) return -1;
  if (isExact(a) || isExact(b)) return Number(a) - Number(b);
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0;
};

/** The rows that a view shows, in its order. */
export function arranged(rows, columns, { sort, filter, newestFirst }) {
  let found = rows;
  if (filter) {
    const wanted = filter.toLowerCase();
    found = found.filter(row => columns.some(column => shown(column, row.c[column.at]).toLowerCase().includes(wanted)));
  }
  if (sort) {
    const by = sort.at < 0 ? row => row.n : row => row.c[sort.at];
    return [...found].sort((a, b) => compare(by(a), by(b)) * (sort.down ? -1 : 1));
  }
  return newestFirst ? [...found].reverse() : found;
}

/** Opens a cell: its value whole, as a tree of JSON where it has parts. */
export function openCell(column, value) {
  const whole = typeof value === 'string' ? value : stringify(value, 2);
  const when = isTime(column) ? html`<p class="note">${timestamp(value)}</p>` : null;
  openDialog({
    title: html`${column.name} <small class="type">${column.type}</small>`,
    body: html`${when}<${Sql} text=${whole ?? 'null'} />`,
    actions: [[t('common.copy'), 'primary', () => copy(whole)]],
  });
}

/** @param {{ columns: any[], rows: any[], ops?: boolean, flash?: boolean, label: string, sort: { value: any } }} props */
export function Grid({ columns, rows, ops, flash, label, sort }) {
  const { box, from, to } = useWindow(rows.length, ROW_HEIGHT);
  const widths = useRef({ of: '', list: [] });
  const names = columns.map(column => column.name).join('\n');
  if (widths.current.of !== names || widths.current.rows < Math.min(rows.length, 40)) {
    widths.current = { of: names, rows: rows.length, list: columns.map(column => width(column, rows)) };
  }
  const now = Date.now();
  const turn = index => { sort.value = sort.value?.at !== index ? { at: index, down: false } : sort.value.down ? null : { at: index, down: true }; };
  const keys = event => {
    const cell = event.target.closest('td[tabindex]');
    if (!cell) return;
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (event.key === 'Enter') cell.click();
    if (!step) return;
    const row = step[0] === 1 ? cell.parentElement.nextElementSibling : step[0] === -1 ? cell.parentElement.previousElementSibling : cell.parentElement;
    const next = row?.children[cell.cellIndex + step[1]];
    if (next?.tabIndex === 0) {
      event.preventDefault();
      next.focus();
    }
  };
  return html`<div class="grid" ref=${box} tabindex="0" role="region" aria-label=${label}>
    <table aria-rowcount=${rows.length + 1}>
      <colgroup><col class="col-n" />${ops && html`<col class="col-op" />`}${widths.current.list.map((size, index) => html`<col key=${index} style=${{ width: `${size}px` }} />`)}<col /></colgroup>
      <thead><tr><th class="n" aria-label=${t('rows.number')}>#</th>${ops && html`<th class="op" aria-label=${t('rows.operation')}>±</th>`}${columns.map(column => html`<th key=${column.at} class=${isNumber(column) ? 'number' : ''}
        aria-sort=${sort.value?.at === column.at ? (sort.value.down ? 'descending' : 'ascending') : undefined}><button type="button" title=${column.type} onClick=${() => turn(column.at)}>${column.name}${column.key && html`<span class="key" title=${t('rows.key')}>◆</span>`}<span class="arrow" aria-hidden="true">${sort.value?.at === column.at ? (sort.value.down ? '↓' : '↑') : ''}</span></button></th>`)}<th aria-hidden="true"></th></tr></thead>
      <tbody onKeyDown=${keys}>
        <${Space} rows=${from} height=${ROW_HEIGHT} columns=${columns.length + 3} />
        ${rows.slice(from, to).map((row, index) => html`<tr key=${flash ? row.c.map((value, i) => (columns[i]?.key ? text(value) : '')).join('|') + (from + index) : row.n} class=${row.t ? 'gone' : ''} aria-rowindex=${from + index + 2}>
          <td class="n">${count(row.n)}</td>
          ${ops && html`<td class=${`op op-${{ '+': 'new', '~': 'changed', '-': 'deleted' }[row.op]}`} title=${t(`rows.op.${row.op}`)}>${row.op === '-' ? '−' : row.op}</td>`}
          ${columns.map(column => {
            const value = row.c[column.at];
            const changed = flash && row.changed?.[column.at] && now - row.at < FLASH_MILLIS;
            const kind = value === null || value === undefined ? 'null' : '';
            return html`<td key=${column.at} tabindex="0" class=${`${isNumber(column) ? 'number' : ''} ${kind} ${changed ? `flash-${row.turn % 2}` : ''}`} onClick=${() => !String(getSelection()) && openCell(column, value)}>${shown(column, value)}</td>`;
          })}<td aria-hidden="true"></td></tr>`)}
        <${Space} rows=${rows.length - to} height=${ROW_HEIGHT} columns=${columns.length + 3} />
      </tbody>
    </table></div>`;
}
