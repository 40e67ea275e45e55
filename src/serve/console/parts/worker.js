/**
 * Reads one live result, away from the page: the page stays responsive however fast rows come. It reports at most ten
 * times a second, and never more rows at once than the page keeps; those before them are counted. A report comes in pieces, so
 * that none of them holds the page up, and the next one waits until the page has taken the last.
 *
 * In:  `{ open: { url, headers, body, keep } }`, `{ mode: { latest, keys } }`, `{ taken: true }`, `{ close: true }`
 * Out: `{ header }`, `{ rows, count, bytes, more }`, `{ lines, count, bytes, more }`, `{ end: { message?, error?, closed? } }`
 */
import { parse } from './json.js';

/** Time between two reports. */
const REPORT_MILLIS = 100;
/** Rows of one piece: a page takes a few milliseconds for them. */
const PIECE_ROWS = 250;

const abort = new AbortController();
let keep = 10_000;
let mode = { latest: false, keys: [] };
let pending = [];
let counted = 0;
let bytes = 0;
let isText = false;
/** The page has not taken the last report yet. */
let isWaiting = false;

onmessage = ({ data }) => {
  if (data.open) read(data.open);
  if (data.mode) mode = data.mode;
  if (data.taken) isWaiting = false;
  if (data.close) abort.abort();
};

/** Columns of the header: "`A` STRING KEY, `B` STRUCT<`X` INTEGER>". */
function columns(schema) {
  const found = [];
  let depth = 0;
  let quoted = false;
  let start = 0;
  const take = end => {
    const match = schema.slice(start, end).trim().match(/^`((?:[^`]|``)*)` (.*?)( KEY)?$/s);
    if (match) found.push({ name: match[1].replaceAll('``', '`'), type: match[2], key: Boolean(match[3]) });
    start = end + 1;
  };
  for (let at = 0; at < schema.length; at += 1) {
    const letter = schema[at];
    if (letter === '`') quoted = !quoted;
    else if (quoted) continue;
    else if (letter === '<' || letter === '(') depth += 1;
    else if (letter === '>' || letter === ')') depth -= 1;
    else if (letter === ',' && depth === 0) take(at);
  }
  if (schema.trim()) take(schema.length);
  return found;
}

/** The rows of the lines: the last of each key, or the last ones. */
function rows(lines) {
  if (!mode.latest) return lines.slice(-keep).map(row);
  const latest = new Map();
  for (const line of lines) {
    const one = row(line);
    const key = JSON.stringify(mode.keys.map(at => one.c[at]));
    latest.delete(key);
    latest.set(key, one);
  }
  return [...latest.values()].slice(-keep);
}

function row(line) {
  const { row: found } = parse(line);
  return { c: found.columns, t: found.tombstone === true };
}

function report(isLast = false) {
  if (pending.length === 0 || (isWaiting && !isLast)) return;
  const lines = pending;
  pending = [];
  const name = isText ? 'lines' : 'rows';
  const list = isText ? lines.slice(-keep) : rows(lines);
  isWaiting = true;
  for (let at = 0; at < list.length; at += PIECE_ROWS) {
    const piece = list.slice(at, at + PIECE_ROWS);
    const more = at + PIECE_ROWS < list.length;
    // What is not shown is counted with the first piece.
    postMessage({ [name]: piece, count: at === 0 ? counted - list.length + piece.length : piece.length, bytes: at === 0 ? bytes : 0, more });
  }
  counted = 0;
  bytes = 0;
}

/** A line of an array of objects: brackets and commas belong to the array. */
function element(line) {
  const from = line.indexOf('{');
  const to = line.lastIndexOf('}');
  return from < 0 || to < from ? null : line.slice(from, to + 1);
}

/** Takes a line; the end of the result, if it is one. */
function take(line) {
  if (isText) {
    if (line === '') return null;
    pending.push(line);
    counted += 1;
    return null;
  }
  const text = element(line);
  if (text === null) return null;
  if (text.startsWith('{"row"')) {
    pending.push(text);
    counted += 1;
    // Between two reports more rows may come than are kept; latest per key has to see all of them.
    if (pending.length > 4 * keep && !mode.latest) pending = pending.slice(-keep);
    return null;
  }
  const value = parse(text);
  if (value.header) {
    postMessage({ header: { queryId: value.header.queryId, columns: columns(value.header.schema ?? '') } });
    return null;
  }
  if (value.finalMessage !== undefined) return { message: value.finalMessage };
  return { error: value.errorMessage ?? value };
}

async function read({ url, headers, body, keep: kept }) {
  keep = kept;
  const timer = setInterval(report, REPORT_MILLIS);
  let end = {};
  try {
    const response = await fetch(url, {
      method: 'POST', credentials: 'same-origin', signal: abort.signal,
      headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body),
    });
    if (!response.ok) {
      end = { error: await response.json().catch(() => ({})), status: response.status };
    } else {
      isText = (response.headers.get('content-type') ?? '').includes('delimited');
      postMessage({ opened: { isText } });
      end = await lines(response.body.pipeThrough(new TextDecoderStream()).getReader());
    }
  } catch (error) {
    end = abort.signal.aborted ? { closed: true } : { lost: String(error.message ?? error) };
  }
  clearInterval(timer);
  report(true);
  postMessage({ end });
  close();
}

async function lines(reader) {
  let rest = '';
  let end = {};
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes += value.length;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) end = take(part) ?? end;
  }
  return take(rest) ?? end;
}
