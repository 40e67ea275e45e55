/** Checks a text while it is typed: asks the server when the typing pauses, and drops what has been overtaken. */
import { useEffect, useSignal } from '../vendor/preact.js';
import { gone, post } from './api.js';
import { bench } from './bench.js';

const PAUSE_MILLIS = 250;
const NOTHING = { diagnostics: [], statements: [] };

/** @param {string} text @returns {{ diagnostics: any[], statements: any[] }} */
export function useCheck(text) {
  const found = useSignal({ text: '', ...NOTHING });
  useEffect(() => {
    if (text.trim() === '') {
      found.value = { text, ...NOTHING };
      return undefined;
    }
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      if (gone.value) return;
      try {
        const { diagnostics = [], statements = [] } = await post('/api/v1/check', { sql: text, properties: bench.properties.value, sessionVariables: bench.variables.value }, { signal: abort.signal });
        found.value = { text, diagnostics, statements };
      } catch {
        // A check that fails says nothing about the text.
      }
    }, PAUSE_MILLIS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text]);
  return found.value;
}
