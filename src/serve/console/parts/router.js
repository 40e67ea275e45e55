/** Pages are hashes: `#/query/CTAS_T_1?tab=numbers`. Everything that a page shows is in its address. */
import { signal } from '../vendor/preact.js';

function read() {
  const hash = location.hash.replace(/^#\/?/, '');
  const at = hash.indexOf('?');
  const path = (at < 0 ? hash : hash.slice(0, at)).split('/').map(decodeURIComponent).filter(Boolean);
  return { path, params: new URLSearchParams(at < 0 ? '' : hash.slice(at + 1)) };
}

/** The address that is shown: `{ path: [..], params }`. */
export const route = signal(read());
addEventListener('hashchange', () => { route.value = read(); });

/** An address within the console. */
export function address(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== ''));
  const text = query.toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

/** Opens a page. */
export function go(path, params) {
  location.hash = address(path, params);
}

/** Changes parameters of the page that is open, without an entry in the browser's history. */
export function setParams(changes) {
  const params = { ...Object.fromEntries(route.value.params), ...changes };
  history.replaceState(null, '', address(route.value.path, params));
  route.value = read();
}
