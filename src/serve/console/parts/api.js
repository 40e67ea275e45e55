/**
 * Requests to the server. All of them go through `request`, which knows three things that pages should not care about:
 * whether the server is there, whether a user is logged in, and how errors look.
 */
import { signal, useEffect, useSignal } from '../vendor/preact.js';
import { parse } from './json.js';

/** Says that the request is the console's: it has its own login page. */
export const HEADERS = { 'x-tidegate-console': '1' };
/** Waits before the next attempt to reach a server that is gone, in seconds; the last one repeats. */
const RETRIES = [1, 2, 4, 8, 10];
const ROLES = ['reader', 'writer', 'admin'];

/** `null` while the server is there; else when the next attempt is made and how many were. */
export const gone = signal(null);
/** Who is logged in: `{ user, role, authentication }`; `undefined` = not known yet, `null` = nobody. */
export const session = signal(undefined);
/** Grows whenever the server comes back or the user changes: polls begin anew. */
export const epoch = signal(0);

/** An error as the API reports it. */
export class ApiError extends Error {
  constructor(status, body) {
    const hint = body.hint ?? null;
    let message = String(body.message ?? `HTTP ${status}`);
    if (hint && message.endsWith(`\n${hint}`)) message = message.slice(0, -hint.length - 1);
    // ksqlDB's own form of a place; what has a span does not need it.
    const place = message.match(/^line:? (\d+)(?:, Col: |:)(\d+): /i);
    super(place ? message.slice(place[0].length) : message);
    this.place = place ? { line: Number(place[1]), column: Number(place[2]) } : null;
    this.status = status;
    this.code = body.code ?? body.error_code ?? status;
    this.detail = body.detail ?? null;
    this.hint = hint;
    this.span = body.span ?? null;
    this.statement = body.statementText ?? null;
  }
}

/** May the user do what this role may? */
export const may = role => ROLES.indexOf(session.value?.role ?? 'reader') >= ROLES.indexOf(role);

/** Sends a request; the response's JSON. */
export async function request(path, { method = 'GET', body, signal: abort, headers = {} } = {}) {
  const response = await open(path, { method, body, signal: abort, headers });
  const text = await response.text();
  return text ? parse(text) : null;
}

export const post = (path, body, options = {}) => request(path, { ...options, method: 'POST', body });

/** Sends a request; the response before its body. Throws an `ApiError` for any status but 2xx. */
export async function open(path, { method = 'GET', body, signal: abort, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal: abort,
      credentials: 'same-origin',
      headers: { ...HEADERS, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name !== 'AbortError') lose();
    throw error;
  }
  if (response.ok) return response;
  if (response.status === 401 && !path.endsWith('/session')) session.value = null;
  throw await failure(response);
}

/** The error of a response. */
export async function failure(response) {
  let body = {};
  try {
    body = parse(await response.text());
  } catch {
    // Not from the API: a proxy, say. The status has to do.
  }
  return new ApiError(response.status, body ?? {});
}

/** The server does not respond: try again until it does. */
export function lose() {
  if (gone.value) return;
  const attempt = number => {
    const wait = RETRIES[Math.min(number, RETRIES.length - 1)] * 1000;
    gone.value = { at: Date.now() + wait, number };
    gone.retry = async () => {
      clearTimeout(timer);
      try {
        const response = await fetch('/livez', { cache: 'no-store' });
        if (!response.ok) throw new Error('not live');
        gone.value = null;
        epoch.value += 1;
      } catch {
        attempt(number + 1);
      }
    };
    const timer = setTimeout(gone.retry, wait);
  };
  attempt(0);
}

/** Reads who is logged in. */
export async function loadSession() {
  try {
    session.value = await request('/api/v1/session');
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) session.value = null;
    else if (session.value === undefined && error instanceof ApiError) session.value = { user: null, role: 'admin', authentication: 'none' };
  }
}

/**
 * Polls a path: `{ data, error, reload }`. A hidden tab does not poll; one request at a time; the last data stay when the server is gone.
 * @param {string | null} path `null` = nothing to ask yet
 */
export function usePoll(path, every = 2000) {
  const state = useSignal({ data: null, error: null, path });
  const again = useSignal(0);
  useEffect(() => {
    if (path === null) return undefined;
    const abort = new AbortController();
    let timer = 0;
    const turn = async () => {
      if (!document.hidden && !gone.value) {
        try {
          const data = await request(path, { signal: abort.signal });
          if (!abort.signal.aborted) state.value = { data, error: null, path };
        } catch (error) {
          if (!abort.signal.aborted && error instanceof ApiError) {
            state.value = { data: state.value.path === path ? state.value.data : null, error, path };
          }
        }
      }
      if (!abort.signal.aborted && every > 0) timer = setTimeout(turn, every);
    };
    turn();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [path, every, epoch.value, again.value]);
  const { data, error } = state.value.path === path ? state.value : { data: null, error: null };
  return { data, error, reload: () => { again.value += 1; } };
}
