/** Icons, drawn on a grid of 16. */
import { html } from '../vendor/preact.js';

const PATHS = {
  overview: 'M2 9.500h4l1.5-6 2.5 9 1.5-5H14',
  sql: 'M2.5 3.500h11v9h-11zM5 6.500l2 1.5-2 1.500M8.5 10h2.5',
  queries: 'M3 4h10M3 8h10M3 12h6M12 10.500v3M10.5 12h3',
  graph: 'M3.5 3.500h3v3h-3zM9.5 2.500h3v3h-3zM9.5 10.500h3v3h-3zM6.5 5h1.500v7h1.500M8 4h1.5',
  topics: 'M2.5 4h11M2.5 8h11M2.5 12h11M5 2.500v3M9 6.500v3M6.5 10.500v3',
  problems: 'M8 2.500l6 10.500H2zM8 6.500v3M8 11.300v.2',
  sources: 'M3 4c0-2 10-2 10 0v8c0 2-10 2-10 0zM3 4c0 2 10 2 10 0M3 8c0 2 10 2 10 0',
  server: 'M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.2M5 11h.2',
  play: 'M5 3.500l7 4.5-7 4.500z',
  pause: 'M5.5 3.500v9M10.5 3.500v9',
  stop: 'M4 4h8v8H4z',
  close: 'M4 4l8 8M12 4l-8 8',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  search: 'M7 2.500a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.5 10.500l3 3',
  copy: 'M5.5 5.500h7v8h-7zM10.5 5.500v-3h-7v8h2',
  link: 'M6.5 9.500l3-3M7 4.500l1-1a3 3 0 014.5 4.500l-1 1M9 11.500l-1 1A3 3 0 013.5 8l1-1',
  history: 'M3 8a5 5 0 105-5c-2 0-3.5 1-4.5 2.500M3 2.500v3h3M8 5.500V8l2 1.5',
  format: 'M3 4h10M5.5 8H13M3 12h10',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  menu: 'M2.5 4.500h11M2.5 8h11M2.5 11.500h11',
  sun: 'M8 5.200a2.8 2.8 0 100 5.6 2.8 2.8 0 000-5.600zM8 1.500v1.500M8 13v1.500M1.5 8H3M13 8h1.500M3.4 3.400l1 1M11.6 11.600l1 1M12.6 3.400l-1 1M4.4 11.600l-1 1',
  moon: 'M13 9.500A5.5 5.5 0 016.5 3 5.5 5.5 0 1013 9.500z',
  auto: 'M8 2.500a5.5 5.5 0 100 11zM8 2.500a5.5 5.5 0 010 11',
  download: 'M8 2.500v7M5 7l3 3 3-3M3 13h10',
  fit: 'M2.5 6V2.500H6M10 2.500h3.500V6M13.5 10v3.500H10M6 13.500H2.500V10',
  external: 'M6.5 3.500h-3v9h9v-3M9 3h4v4M13 3L7.5 8.5',
  trash: 'M3 4.500h10M6 4.500v-2h4v2M4.5 4.500l.5 9h6l.5-9',
  edit: 'M3 13l.7-3L10.5 3.200l2.3 2.300L6 12.300z',
  check: 'M3 8.500l3.5 3.500L13 4.5',
  out: 'M6.5 3h-4v10h4M6.5 8H14M11 5l3 3-3 3',
};

/** @param {{ name: keyof PATHS, size?: number }} props */
export const Icon = ({ name, size = 16 }) => html`<svg class="icon" width=${size} height=${size} viewBox="0 0 16 16" aria-hidden="true"
  fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"><path d=${PATHS[name]} /></svg>`;

/** The mark of the product. */
export const Mark = ({ size = 24 }) => html`<svg width=${size} height=${size} viewBox="0 0 32 32" aria-hidden="true">
  <rect width="32" height="32" rx="8" class="mark-ground" />
  <path d="M5 12c3.7 0 3.7 3 7.3 3s3.7-3 7.4-3 3.6 3 7.3 3M5 19c3.7 0 3.7 3 7.3 3s3.7-3 7.4-3 3.6 3 7.3 3" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round" />
  <path d="M16 5v5M16 25v2.5" stroke="#96f2d7" stroke-width="2.6" stroke-linecap="round" /></svg>`;
