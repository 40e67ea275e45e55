/** The start: who is there, which page is asked for, and loads that page. */
import { effect, html, render, signal, useEffect } from './vendor/preact.js';
import { epoch, gone, loadSession, request, session } from './parts/api.js';
import { t } from './parts/i18n.js';
import { listen } from './parts/palette.js';
import { route } from './parts/router.js';
import { Shell } from './parts/shell.js';
import { Dialog, Empty, Failure, Loading, Toasts } from './parts/ui.js';

/** Pages by the first part of the address. */
const PAGES = {
  '': () => import('./pages/overview.js'),
  sql: () => import('./pages/workbench.js'),
  queries: () => import('./pages/queries.js'),
  query: () => import('./pages/query.js'),
  graph: () => import('./pages/graph.js'),
  topics: () => import('./pages/topics.js'),
  topic: () => import('./pages/topic.js'),
  problems: () => import('./pages/problems.js'),
  sources: () => import('./pages/sources.js'),
  source: () => import('./pages/source.js'),
  server: () => import('./pages/server.js'),
  demo: () => import('./pages/demo.js'),
};

const loaded = signal({});

function Page() {
  const [name = '', ...rest] = route.value.path;
  const page = loaded.value[name];
  useEffect(() => {
    document.title = `${[...rest, PAGES[name] ? t(`page.${name || 'overview'}`) : ''].filter(Boolean).join(' · ')} · Tidegate`;
    if (!PAGES[name] || loaded.value[name]) return;
    PAGES[name]().then(
      module => { loaded.value = { ...loaded.value, [name]: { view: module.default } }; },
      error => { loaded.value = { ...loaded.value, [name]: { error } }; },
    );
  }, [name, rest.join('/')]);
  if (!PAGES[name]) return html`<${Empty} icon="search" title=${t('page.unknown')}><a href="#/">${t('nav.overview')}</a></${Empty}>`;
  if (page?.error) return html`<${Failure} error=${page.error} onRetry=${() => location.reload()} />`;
  if (!page) return html`<${Loading} />`;
  const View = page.view;
  return html`<${View} key=${[name, ...rest].join('/')} path=${rest} params=${route.value.params} />`;
}

const login = signal(null);

function App() {
  if (session.value === undefined) {
    if (gone.value) return html`<${Empty} icon="server" title=${t('gone.start')} />`;
    return html`<div class="boot" role="status" aria-label=${t('common.loading')} />`;
  }
  if (session.value === null) {
    if (!login.value) import('./pages/login.js').then(module => { login.value = { view: module.default }; });
    const View = login.value?.view;
    return View ? html`<${View} />` : null;
  }
  return html`<${Shell}><${Page} /></${Shell}>`;
}

/** A one-time token in the fragment, as `tidegate console` opens the page with: used once, and gone from the address. */
async function redeem() {
  const match = location.hash.match(/^#token=([^&]+)$/);
  if (!match) return;
  history.replaceState(null, '', '#/');
  route.value = { path: [], params: new URLSearchParams() };
  await request('/api/v1/session', { method: 'POST', body: { token: decodeURIComponent(match[1]) } }).catch(() => {});
}

render(html`<${App} /><${Dialog} /><${Toasts} />`, document.getElementById('app'));
listen();
await redeem();
// Once now, and again whenever the server comes back: its roles may be others.
effect(() => {
  void epoch.value;
  loadSession();
});
