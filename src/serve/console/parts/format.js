/** Numbers, bytes, durations and times for people. What is not known is shown as a dash, never as NaN. */
import { locale, t } from './i18n.js';

export const UNKNOWN = '–';
const known = value => value !== null && value !== undefined && !Number.isNaN(Number(value));

/** 1204 -> "1,204" */
export const count = value => (known(value) ? Number(value).toLocaleString(locale(), { maximumFractionDigits: 0 }) : UNKNOWN);

/** 128412 -> "128 k"; three significant digits. */
export function short(value) {
  if (!known(value)) return UNKNOWN;
  const number = Number(value);
  const size = Math.abs(number);
  for (const [limit, unit] of [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (size >= limit) {
      const scaled = number / (unit === 'k' ? 1e3 : limit);
      return `${scaled.toFixed(Math.abs(scaled) < 100 ? 1 : 0)} ${unit}`;
    }
  }
  return size < 10 && !Number.isInteger(number) ? number.toFixed(1) : count(number);
}

/** Records per second. */
export const rate = value => (known(value) ? t('unit.perSecond', { value: short(value) }) : UNKNOWN);

/** 1536 -> "1.5 kB" */
export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  let number = Number(value);
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

/** 0.62 -> "62 %" */
export const percent = value => (known(value) ? `${Math.round(Number(value) * 100)} %` : UNKNOWN);

/** A duration of so many milliseconds in its two largest units. */
export function duration(milliseconds) {
  if (!known(milliseconds)) return UNKNOWN;
  const seconds = Math.max(0, Math.floor(Number(milliseconds) / 1000));
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return `${Math.round(milliseconds)} ms`;
  let rest = seconds;
  const said = [];
  for (const [size, unit] of parts.slice(first, first + 2)) {
    const amount = Math.floor(rest / size);
    rest %= size;
    if (amount > 0) said.push(t(`unit.${unit}`, { value: amount }));
  }
  return said.join(' ');
}

/** Retention: forever is -1 or nothing. */
export const retention = value => (!known(value) ? UNKNOWN : Number(value) < 0 ? t('topics.forever') : duration(value));

const pad = (value, size = 2) => String(value).padStart(size, '0');
const usable = value => known(value) && Math.abs(Number(value)) < 8.64e15;

/** "14:03:10.120", local time. */
export function clock(value, milliseconds = true) {
  if (!usable(value)) return UNKNOWN;
  const date = new Date(Number(value));
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return milliseconds ? `${text}.${pad(date.getMilliseconds(), 3)}` : text;
}

/** "2026-11-30 14:03:10.120", local time. */
export function timestamp(value, milliseconds = true) {
  if (!usable(value)) return UNKNOWN;
  const date = new Date(Number(value));
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(value, milliseconds)}`;
}

/** "3 min 4 s ago" */
export const ago = (value, now = Date.now()) => (known(value) ? t('unit.ago', { value: duration(Math.max(0, now - value)) }) : UNKNOWN);
