/** Reads records of a topic: a list from a place, or as they come. */
import { signal } from '../vendor/preact.js';
import { ApiError, open } from './api.js';
import { parse } from './json.js';

/** Records that a page keeps while it follows a topic. */
const KEEP = 2000;
const REPORT_MILLIS = 100;

export class Records {
  list = signal([]);
  state = signal('reading');
  error = signal(null);
  total = 0;
  #abort = new AbortController();

  /** @param {string} topic @param {Record<string, string | number | boolean>} options as the API takes them */
  constructor(topic, options) {
    this.isLive = Boolean(options.live);
    const entries = Object.entries(options).filter(([, value]) => value !== '' && value !== undefined && value !== null && value !== false);
    this.path = `/api/v1/topics/${encodeURIComponent(topic)}/records?${new URLSearchParams(entries)}`;
    this.#read();
  }

  async #read() {
    let pending = [];
    const flush = () => {
      if (pending.length === 0) return;
      this.total += pending.length;
      this.list.value = [...this.list.value, ...pending].slice(-KEEP);
      pending = [];
    };
    const timer = setInterval(flush, REPORT_MILLIS);
    try {
      const response = await open(this.path, { signal: this.#abort.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (rest + value).split('\n');
        rest = lines.pop();
        for (const line of lines) if (line.trim()) this.#take(parse(line), pending);
      }
      if (rest.trim()) this.#take(parse(rest), pending);
      this.state.value = this.error.value ? 'failed' : 'done';
    } catch (error) {
      this.error.value = this.#abort.signal.aborted ? null : error;
      this.state.value = this.#abort.signal.aborted ? 'stopped' : 'failed';
    }
    clearInterval(timer);
    flush();
  }

  /** A line is a record, or the error that ended them. */
  #take(line, pending) {
    if (line.error) this.error.value = new ApiError(line.error.code ?? 500, line.error);
    else if (line.offset !== undefined) pending.push(line);
  }

  stop() {
    this.#abort.abort();
  }
}

/** Bytes of base64. */
export const decode = base64 => (base64 === null || base64 === undefined ? null : Uint8Array.from(atob(base64), letter => letter.charCodeAt(0)));

/** Sixteen bytes a line: offset, hex, letters. */
export function hex(bytes) {
  if (bytes === null) return 'NULL';
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const piece = [...bytes.slice(at, at + 16)];
    const numbers = piece.map(byte => byte.toString(16).padStart(2, '0')).join(' ').padEnd(47);
    lines.push(`${at.toString(16).padStart(6, '0')}  ${numbers}  ${piece.map(byte => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('')}`);
  }
  return lines.join('\n') || '(0 bytes)';
}
