/**
 * A result that arrives: rows of a query, from its start to its end. It keeps the last rows and the last row of each key; a
 * paused result keeps reading (a server drops readers that stand still) and counts what it does not show.
 */
import { signal } from '../vendor/preact.js';
import { ApiError, HEADERS, lose, session } from './api.js';

/** Rows that a page keeps. */
export const KEEP = 10_000;
/** Live results of one browser: it has six connections to a server over HTTP/1.1, and pages need some of them. */
const LIVE_HTTP1 = 4;
const LIVE_HTTP2 = 32;
/** Rows objects first: only they have tombstones. Records of PRINT are text. */
const ACCEPT = 'application/vnd.ksql.v1+json, application/vnd.ksqlapi.delimited.v1';

/** A worker's address is a script's address: trusted types ask for a policy. */
const scripts = globalThis.trustedTypes?.createPolicy('tidegate-worker', {
  createScriptURL: address => {
    if (new URL(address).origin !== location.origin) throw new TypeError('not a script of this server');
    return address;
  },
});

const workerAddress = () => {
  const address = new URL('worker.js', import.meta.url).href;
  return scripts ? scripts.createScriptURL(address) : address;
};

/** How many live results this browser may have. */
export const liveMax = () => {
  const [entry] = performance.getEntriesByType('navigation');
  return (entry?.nextHopProtocol ?? '').startsWith('h2') ? LIVE_HTTP2 : LIVE_HTTP1;
};

let here = 0;

/** Takes one of the browser's places for live results; a function that gives it back, or `null`. */
async function place() {
  const max = liveMax();
  if (!navigator.locks) {
    // Without a secure context there are no locks: count in this tab.
    if (here >= max) return null;
    here += 1;
    return () => { here -= 1; };
  }
  for (let n = 0; n < max; n += 1) {
    const release = await new Promise(resolve => {
      navigator.locks.request(`tidegate-live-${n}`, { ifAvailable: true }, lock => {
        if (!lock) {
          resolve(null);
          return undefined;
        }
        return new Promise(resolve);
      });
    });
    if (typeof release === 'function') return release;
  }
  return null;
}

/** Results that are being read. */
const reading = new Set();
document.addEventListener('visibilitychange', () => { for (const live of reading) live.version.value += 1; });

const same = (a, b) => a === b || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b));

export class Live {
  /** 'opening', 'live', 'done', 'failed', 'stopped', 'refused' or 'lost' */
  state = signal('opening');
  /** Grows with each report, at most ten times a second. */
  version = signal(0);
  columns = signal([]);
  error = signal(null);
  message = signal(null);
  paused = signal(false);
  /** Rows per second, over the last seconds. */
  rate = signal(0);
  total = 0;
  bytes = 0;
  rows = [];
  lines = [];
  keyed = new Map();
  keys = [];
  isText = false;
  startedAt = Date.now();
  endedAt = null;
  #worker = null;
  #release = null;
  #frozen = null;
  #marks = [];

  /** @param {string} sql @param {{ properties?: object, variables?: object, isPush?: boolean }} [options] */
  constructor(sql, { properties = {}, variables = {}, isPush = true } = {}) {
    this.sql = sql;
    this.isPush = isPush;
    reading.add(this);
    this.#start({ sql, properties, sessionVariables: variables });
  }

  async #start(body) {
    this.#release = await place();
    if (!this.#release) {
      this.state.value = 'refused';
      this.#over();
      return;
    }
    if (this.state.value !== 'opening') {
      this.#free();
      return;
    }
    this.#worker = new Worker(workerAddress(), { type: 'module' });
    this.#worker.onmessage = ({ data }) => this.#take(data);
    this.#worker.onerror = event => this.#end({ lost: event.message ?? 'worker' });
    this.#worker.postMessage({ open: { url: new URL('/query-stream', location.href).href, headers: { ...HEADERS, accept: ACCEPT }, body, keep: KEEP } });
  }

  #take(data) {
    if (data.opened) {
      this.isText = data.opened.isText;
      this.state.value = 'live';
    } else if (data.header) {
      this.queryId = data.header.queryId;
      this.columns.value = data.header.columns;
      this.setKeys(guessKeys(data.header.columns));
      this.state.value = 'live';
    } else if (data.end) {
      this.#end(data.end);
    } else {
      this.#add(data);
    }
  }

  #add({ rows, lines, count, bytes, more }) {
    const now = Date.now();
    if (lines) this.lines = [...this.lines, ...lines].slice(-KEEP);
    let number = this.total + count - (rows?.length ?? 0);
    for (const row of rows ?? []) this.#keep(row, (number += 1), now);
    if (this.rows.length > KEEP * 1.25) this.rows = this.rows.slice(-KEEP);
    this.total += count;
    this.bytes += bytes;
    if (more) return;
    this.#worker?.postMessage({ taken: true });
    this.#marks.push([now, this.total]);
    if (this.#marks.length > 30) this.#marks.shift();
    const [since, before] = this.#marks[0];
    this.rate.value = now > since ? ((this.total - before) * 1000) / (now - since) : 0;
    // A hidden tab draws nothing; it catches up when it is shown again.
    if (!document.hidden) this.version.value += 1;
  }

  /** What names a row; one plain column is its own name, which is most of them and much faster. */
  #key(row) {
    const first = this.keys.length === 1 ? row.c[this.keys[0]] : undefined;
    return typeof first === 'string' || typeof first === 'number' ? first : JSON.stringify(this.keys.map(at => row.c[at]));
  }

  /** Keeps a row, and knows what it did to its key: `+` new, `~` changed, `-` deleted. */
  #keep(row, number, now) {
    row.n = number;
    row.at = now;
    const key = this.#key(row);
    const before = this.keyed.get(key);
    row.op = row.t ? '-' : before ? '~' : '+';
    this.rows.push(row);
    if (row.t) {
      this.keyed.delete(key);
      return;
    }
    row.changed = before ? row.c.map((value, at) => !same(value, before.c[at])) : null;
    row.turn = before ? (before.turn ?? 0) + 1 : 0;
    this.keyed.set(key, row);
    if (this.keyed.size > KEEP * 1.25) this.#forget();
  }

  /** Drops the keys that came first, many at once: a map that lost its first entries one by one is slow to find the next. */
  #forget() {
    let excess = this.keyed.size - KEEP;
    for (const key of this.keyed.keys()) {
      if (excess <= 0) return;
      excess -= 1;
      this.keyed.delete(key);
    }
  }

  #end({ message, error, status, closed, lost }) {
    this.endedAt = Date.now();
    this.rate.value = 0;
    this.message.value = message ?? null;
    if (status === 401) session.value = null;
    if (error) this.error.value = new ApiError(status ?? 400, error);
    if (lost) lose();
    this.state.value = error ? 'failed' : closed ? 'stopped' : lost || message === undefined ? (this.isText || !this.isPush ? 'done' : 'lost') : 'done';
    if (lost) this.state.value = 'lost';
    this.version.value += 1;
    this.#free();
    if (error) this.failed?.(this.error.value);
    this.#over();
  }

  /** Called with the error if the query fails. */
  failed = null;
  #over = () => {};
  #ending = new Promise(resolve => { this.#over = resolve; });

  /** Resolves when nothing more comes. */
  ended() {
    return this.#ending;
  }

  #free() {
    reading.delete(this);
    this.#release?.();
    this.#release = null;
    this.#worker = null;
  }

  /** Columns whose values name a row. What is kept is read again by them. */
  setKeys(keys, latest = this.latest ?? false) {
    this.keys = keys;
    this.latest = latest;
    this.keyed = new Map();
    const kept = this.rows;
    this.rows = [];
    for (const row of kept) this.#keep(row, row.n, row.at);
    this.#worker?.postMessage({ mode: { latest, keys } });
    this.version.value += 1;
  }

  /** Stops the view, not the reading. */
  pause() {
    this.#frozen = { rows: this.rows.slice(), keyed: this.#latest(), lines: this.lines, total: this.total };
    this.paused.value = true;
  }

  resume() {
    this.#frozen = null;
    this.paused.value = false;
    this.version.value += 1;
  }

  /** What is shown: what is there, or what was there when the view was paused. */
  shown() {
    return this.#frozen ?? { rows: this.rows, keyed: this.latest ? this.#latest() : [], lines: this.lines, total: this.total };
  }

  #latest() {
    return [...this.keyed.values()].slice(-KEEP);
  }

  stop() {
    if (this.#worker) this.#worker.postMessage({ close: true });
    else if (this.state.value === 'opening') {
      this.state.value = 'stopped';
      this.#over();
    }
  }
}

/** The key as far as columns tell: those marked, else the first column and the window's start. */
export function guessKeys(columns) {
  const marked = columns.flatMap((column, at) => (column.key ? [at] : []));
  if (marked.length > 0) return marked;
  const windows = columns.flatMap((column, at) => (/^WINDOW(START|END)$/.test(column.name) ? [at] : []));
  const first = columns.findIndex(column => !/^(WINDOW(START|END)|ROW\w+)$/.test(column.name));
  return [...(first < 0 ? [] : [first]), ...windows].sort((a, b) => a - b);
}
