/** Tables of facts: sorted by a click, filtered by text, selected by boxes. Long ones have only the rows in sight in the page. */
import { html, useSignal } from '../vendor/preact.js';
import { t } from './i18n.js';
import { Space, useWindow } from './windowed.js';

/** Rows from which on a table scrolls in a box of its own, with rows of one height. */
const LONG = 200;
const HEIGHT = 36;
const HEIGHT_DENSE = 30;

const order = (a, b) => {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  return typeof a === 'string' ? a.localeCompare(b) : a - b;
};

/**
 * @param {{
 *   columns: { id: string, title: string, value?: (row: any) => any, cell?: (row: any) => any, number?: boolean, wide?: boolean }[],
 *   rows: any[], id: (row: any) => string, label: string, sort?: string, down?: boolean,
 *   selected?: { value: Set<string> }, onOpen?: (row: any) => void,
 * }} props
 */
export function DataTable({ columns, rows, id, label, sort, down = false, selected, onOpen, dense }) {
  const by = useSignal(sort ? { id: sort, down } : null);
  const column = columns.find(one => one.id === by.value?.id);
  const value = column && (column.value ?? (row => row[column.id]));
  const sorted = column ? [...rows].sort((a, b) => order(value(a), value(b)) * (by.value.down ? -1 : 1)) : rows;
  const isLong = sorted.length > LONG;
  const height = dense ? HEIGHT_DENSE : HEIGHT;
  const view = useWindow(sorted.length, height);
  const [from, to] = isLong ? [view.from, view.to] : [0, sorted.length];
  const width = columns.length + (selected ? 1 : 0);
  const turn = one => { by.value = { id: one.id, down: by.value?.id === one.id ? !by.value.down : Boolean(one.number) }; };
  const all = selected && rows.length > 0 && rows.every(row => selected.value.has(id(row)));
  const pick = (names, on) => {
    const next = new Set(selected.value);
    for (const name of names) {
      if (on) next.add(name);
      else next.delete(name);
    }
    selected.value = next;
  };
  return html`<div class=${isLong ? 'table-box long' : 'table-box'} ref=${view.box} tabindex="0" role="region" aria-label=${label}><table class=${dense ? 'data dense' : 'data'} aria-rowcount=${isLong ? sorted.length + 1 : undefined}>
    <thead><tr>
      ${selected && html`<th class="pick"><input type="checkbox" aria-label=${t('common.selectAll')} checked=${all} onChange=${event => pick(rows.map(id), event.target.checked)} /></th>`}
      ${columns.map(one => html`<th key=${one.id} class=${one.number ? 'number' : ''} aria-sort=${by.value?.id === one.id ? (by.value.down ? 'descending' : 'ascending') : undefined}>
        ${one.title ? html`<button type="button" onClick=${() => turn(one)}>${one.title}<span class="arrow" aria-hidden="true">${by.value?.id === one.id ? (by.value.down ? '↓' : '↑') : ''}</span></button>` : html`<span class="sr">${t('common.actions')}</span>`}</th>`)}
    </tr></thead>
    <tbody>${isLong && html`<${Space} rows=${from} height=${height} columns=${width} />`}${sorted.slice(from, to).map((row, nth) => html`<tr key=${id(row)} aria-rowindex=${isLong ? from + nth + 2 : undefined} class=${onOpen ? 'opens' : ''} onClick=${onOpen && (event => !event.target.closest('a, button, input') && !String(getSelection()) && onOpen(row))}>
      ${selected && html`<td class="pick"><input type="checkbox" aria-label=${t('common.select', { name: id(row) })} checked=${selected.value.has(id(row))} onChange=${event => pick([id(row)], event.target.checked)} /></td>`}
      ${columns.map(one => html`<td key=${one.id} class=${`${one.number ? 'number' : ''} ${one.wide ? 'wide' : ''}`}>${one.cell ? one.cell(row) : (row[one.id] ?? '–')}</td>`)}
    </tr>`)}${isLong && html`<${Space} rows=${sorted.length - to} height=${height} columns=${width} />`}</tbody></table></div>`;
}

/** A box that filters; `/` moves there. */
export const Filter = ({ value, onInput, label }) => html`<input class="input filter" type="search" data-filter value=${value} placeholder=${label} aria-label=${label} onInput=${event => onInput(event.target.value)} />`;
