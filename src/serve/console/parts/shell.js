/** What is around every page: navigation, the bar on top, the banner when the server is gone. */
import { html, signal, useEffect, useSignal } from '../vendor/preact.js';
import { gone, request, session } from './api.js';
import { t } from './i18n.js';
import { Icon, Mark } from './icons.js';
import { openPalette } from './palette.js';
import { language, theme } from './preferences.js';
import { route } from './router.js';
import { Button } from './ui.js';

/** Pages of the navigation: the path, the key that opens it after `g`. */
export const PAGES = [
  ['', 'overview', 'o'], ['sql', 'sql', 's'], ['queries', 'queries', 'q'], ['graph', 'graph', 'l'],
  ['topics', 'topics', 't'], ['sources', 'sources', 'c'], ['problems', 'problems', 'p'], ['server', 'server', 'v'],
];
/** Pages that belong to one of the navigation. */
const PARENTS = { query: 'queries', topic: 'topics', source: 'sources' };

export const problemCount = signal(0);
const menuOpen = signal(false);

function Navigation() {
  const [first = ''] = route.value.path;
  const here = PARENTS[first] ?? first;
  return html`<nav class=${`nav ${menuOpen.value ? 'open' : ''}`} aria-label=${t('nav.title')} onClick=${event => event.target.closest('a') && (menuOpen.value = false)}>
    <a class="brand" href="#/"><${Mark} size=${26} /><span>Tidegate</span></a>
    <ul>${PAGES.map(([path, name]) => html`<li key=${name}><a href=${`#/${path}`} aria-current=${here === path ? 'page' : undefined}><${Icon} name=${name} />${t(`nav.${name}`)}${name === 'problems' && problemCount.value > 0 && html`<span class="badge bad">${problemCount.value}</span>`}</a></li>`)}</ul>
    <div class="nav-foot"><${Button} kind="quiet" small label=${t('keys.title')} onClick=${() => openPalette('keys')} /></div>
  </nav>`;
}

const NEXT_THEME = { auto: 'light', light: 'dark', dark: 'auto' };
const THEME_ICON = { auto: 'auto', light: 'sun', dark: 'moon' };

function Bar() {
  const user = session.value;
  const leave = async () => {
    await request('/api/v1/session', { method: 'DELETE' }).catch(() => {});
    session.value = null;
  };
  return html`<header class="bar">
    <button type="button" class="button quiet menu-button" aria-label=${t('nav.menu')} aria-expanded=${menuOpen.value} onClick=${() => { menuOpen.value = !menuOpen.value; }}><${Icon} name="menu" /></button>
    <button type="button" class="finder" onClick=${() => openPalette()}><${Icon} name="search" /><span>${t('palette.open')}</span><kbd>Ctrl K</kbd></button>
    <span class="grow" />
    <button type="button" class="button quiet small" lang=${language.value === 'en' ? 'ko' : 'en'} onClick=${() => { language.value = language.value === 'en' ? 'ko' : 'en'; }}>${language.value === 'en' ? '한국어' : 'English'}</button>
    <button type="button" class="button quiet small" title=${t(`theme.${theme.value}`)} aria-label=${t(`theme.${theme.value}`)} onClick=${() => { theme.value = NEXT_THEME[theme.value]; }}><${Icon} name=${THEME_ICON[theme.value]} /></button>
    ${user?.user && html`<span class="who"><b>${user.user}</b><span>${t(`role.${user.role}`)}</span></span>`}
    ${user?.authentication === 'users' && html`<${Button} small kind="quiet" icon="out" aria-label=${t('login.leave')} title=${t('login.leave')} onClick=${leave} />`}
  </header>`;
}

/** The server does not respond: when the next attempt is, and a button for now. What was read stays. */
function Gone() {
  const now = useSignal(Date.now());
  const state = gone.value;
  useEffect(() => {
    if (!state) return undefined;
    const timer = setInterval(() => { now.value = Date.now(); }, 250);
    return () => clearInterval(timer);
  }, [state]);
  if (!state) return null;
  const seconds = Math.max(0, Math.ceil((state.at - now.value) / 1000));
  return html`<div class="strip bad gone" role="alert"><span>${t('gone.text', { seconds })}</span><${Button} small label=${t('gone.now')} onClick=${() => gone.retry?.()} /></div>`;
}

export const Shell = ({ children }) => html`<div class="shell">
  <a class="skip" href="#main" onClick=${event => { event.preventDefault(); document.getElementById('main').focus(); }}>${t('nav.skip')}</a>
  <${Navigation} />
  ${menuOpen.value && html`<button type="button" class="veil" aria-label=${t('common.close')} onClick=${() => { menuOpen.value = false; }} />`}
  <div class="frame"><${Bar} /><${Gone} /><main id="main" tabindex="-1">${children}</main></div>
</div>`;
