/**
 * JSON with exact numbers. A number that a double cannot hold is kept as a `String` object with its digits: structured
 * clones keep it apart from text, which is a plain string. The reviver is slow, so only texts with long numbers get it.
 */

const LONG = /\d{16}/;

function exact(_key, value, context) {
  if (typeof value !== 'number' || context === undefined) return value;
  const source = context.source;
  return source.length < 16 || String(value) === source ? value : new String(source);
}

/** Parses JSON without losing digits. */
export const parse = text => (LONG.test(text) ? JSON.parse(text, exact) : JSON.parse(text));

/** Is it a number with more digits than a double has? */
export const isExact = value => value instanceof String;

/** JSON text with all digits. */
export function stringify(value, indent) {
  const raw = (_key, one) => (isExact(one) && JSON.rawJSON ? JSON.rawJSON(String(one)) : one);
  return JSON.stringify(value, raw, indent);
}

/** How a cell is shown in one line. */
export function text(value) {
  if (value === null || value === undefined) return 'NULL';
  if (typeof value === 'string') return value;
  if (isExact(value)) return String(value);
  return typeof value === 'object' ? stringify(value) : String(value);
}
