/**
 * What this browser remembers: theme, language, tabs of the workbench, history of statements.
 */
import { signal, effect } from '../vendor/preact.js';

const KEY = 'tidegate.preferences';

/** Reads a stored value; storage may be blocked or hold something else. */
export function stored(key, fallback) {
  try {
    const text = localStorage.getItem(key);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** Stores a value, if the browser permits it. */
export function store(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // A full or blocked storage loses a convenience, not data.
  }
}

const saved = stored(KEY, {});
const system = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(system.matches);
system.addEventListener('change', event => { systemDark.value = event.matches; });

/** 'auto', 'light' or 'dark'. */
export const theme = signal(['light', 'dark'].includes(saved.theme) ? saved.theme : 'auto');
/** 'en' or 'ko'. */
export const language = signal(document.documentElement.lang === 'ko' ? 'ko' : 'en');
/** The theme that is shown now: 'light' or 'dark'. */
export const shownTheme = signal('light');

effect(() => {
  shownTheme.value = theme.value === 'auto' ? (systemDark.value ? 'dark' : 'light') : theme.value;
  document.documentElement.dataset.theme = shownTheme.value;
});

effect(() => {
  document.documentElement.lang = language.value;
  store(KEY, { theme: theme.value, language: language.value });
});
