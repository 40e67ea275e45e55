/**
 * Texts in the language of the page. `t('sql.more', { n: 3 })` takes the text of that key, and fills in `{n}`.
 * A text of two forms is a list: the first is for one, the second for any other number `n`.
 */
import english from '../i18n/en.js';
import korean from '../i18n/ko.js';
import { language } from './preferences.js';

const TEXTS = { en: english, ko: korean };

/** @param {string} key @param {Record<string, unknown>} [values] */
export function t(key, values = {}) {
  const found = TEXTS[language.value][key] ?? english[key] ?? key;
  const text = Array.isArray(found) ? found[Number(values.n) === 1 ? 0 : 1] : found;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The locale for numbers and times. */
export const locale = () => (language.value === 'ko' ? 'ko-KR' : 'en-GB');
