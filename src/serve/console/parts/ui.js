/** The small pieces that all pages are made of. */
import { html, signal, useEffect, useRef } from '../vendor/preact.js';
import { ApiError } from './api.js';
import { t } from './i18n.js';
import { Icon } from './icons.js';
import { curl } from './statements.js';

/** Messages that go by themselves. */
const toasts = signal([]);
const TOAST_MILLIS = 5000;
let nextToast = 0;

/** Shows a message for a moment. @param {'good' | 'bad'} kind */
export function toast(text, kind = 'good') {
  const id = (nextToast += 1);
  toasts.value = [...toasts.value, { id, text, kind }].slice(-4);
  setTimeout(() => { toasts.value = toasts.value.filter(one => one.id !== id); }, TOAST_MILLIS);
}

export const Toasts = () => html`<div class="toasts" role="status" aria-live="polite">
  ${toasts.value.map(({ id, text, kind }) => html`<div key=${id} class=${`toast ${kind}`}>${text}</div>`)}
</div>`;

/** Copies, and says so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t('common.copied'));
  } catch {
    toast(t('common.copyFailed'), 'bad');
  }
}

/** Offers a text as a file. */
export function download(name, text, type = 'text/plain') {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** `why` disables the button and is its explanation. */
export function Button({ icon, label, kind = '', why, onClick, small, title, pressed, ...rest }) {
  return html`<button type="button" class=${`button ${kind} ${small ? 'small' : ''}`} disabled=${Boolean(why)} title=${why ?? title ?? (label ? undefined : rest['aria-label'])}
    aria-pressed=${pressed} onClick=${onClick} ...${rest}>${icon && html`<${Icon} name=${icon} />`}${label}</button>`;
}

const STATE_ICON = { RUNNING: '●', PAUSED: '‖', WAITING: '◌', ERROR: '✕' };

/** A query's state: colour, shape and word. */
export const State = ({ state }) => html`<span class=${`state ${String(state).toLowerCase()}`}><span class="state-mark" aria-hidden="true">${STATE_ICON[state] ?? '○'}</span>${t(`state.${state}`)}</span>`;

/** A segmented choice. */
export function Choice({ label, options, value, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>${options.map(([name, text, why]) => html`<button type="button" key=${name}
    aria-pressed=${value === name} disabled=${Boolean(why)} title=${why} onClick=${() => onChange(name)}>${text}</button>`)}</div>`;
}

/** Tabs of one region; arrow keys move between them. */
export function Tabs({ label, tabs, value, onChange, children }) {
  const move = event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = tabs.findIndex(([name]) => name === value);
    const [name] = tabs[(at + step + tabs.length) % tabs.length];
    onChange(name);
    event.currentTarget.querySelector(`[data-tab="${name}"]`)?.focus();
  };
  return html`<div class="tabs"><div role="tablist" aria-label=${label} onKeyDown=${move}>${tabs.map(([name, text, badge]) => html`<button type="button" role="tab" key=${name} data-tab=${name}
    aria-selected=${value === name} tabindex=${value === name ? 0 : -1} onClick=${() => onChange(name)}>${text}${badge !== undefined && badge !== null && html`<span class="badge">${badge}</span>`}</button>`)}</div>${children}</div>`;
}

/** What is shown while there is nothing yet. */
export const Loading = ({ rows = 5 }) => html`<div class="skeleton" role="status" aria-label=${t('common.loading')}>${Array.from({ length: rows }, (_, at) => html`<div key=${at} />`)}</div>`;

/** What is shown where there is nothing, and what to do about it. */
export const Empty = ({ icon = 'search', title, children }) => html`<div class="empty"><${Icon} name=${icon} size=${28} /><p class="empty-title">${title}</p>${children}</div>`;

/** An error: what is wrong, detail, hint, and a way on. */
export function Failure({ error, onRetry, children }) {
  if (!error) return null;
  const api = error instanceof ApiError ? error : null;
  return html`<div class="failure" role="alert">
    <p class="failure-title"><span aria-hidden="true">✕</span> ${error.message}</p>
    ${api?.detail && html`<p class="failure-detail">${api.detail}</p>`}
    ${api?.hint && html`<p class="failure-hint">${api.hint}</p>`}
    ${(onRetry || children) && html`<p class="row">${onRetry && html`<${Button} small label=${t('common.retry')} onClick=${onRetry} />`}${children}</p>`}
  </div>`;
}

/** A page's region that waits for data: drawn states for loading, failed and empty. */
export function Loaded({ poll, empty, rows, children }) {
  if (poll.data) return empty && empty.when(poll.data) ? empty.view : children(poll.data);
  if (poll.error) return html`<${Failure} error=${poll.error} onRetry=${poll.reload} />`;
  return html`<${Loading} rows=${rows} />`;
}

/** The dialog that is open: `{ title, body, actions }`. */
const dialog = signal(null);
export const closeDialog = () => { dialog.value = null; };
export const openDialog = content => { dialog.value = content; };

/** Asks before something is done that cannot be undone. */
export function confirm({ title, body, action, kind = 'danger', run }) {
  openDialog({ title, body, actions: [[action, kind, async () => { closeDialog(); await run(); }]] });
}

/** Asks for a name. */
export function ask({ title, label, value, run }) {
  const field = { current: null };
  const done = event => {
    event?.preventDefault();
    const name = field.current.value.trim();
    closeDialog();
    if (name) run(name);
  };
  openDialog({
    title, actions: [[t('common.save'), 'primary', () => done()]],
    body: html`<form onSubmit=${done}><input class="input wide" data-first ref=${field} aria-label=${label} defaultValue=${value} /></form>`,
  });
}

export function Dialog() {
  const element = useRef(null);
  const content = dialog.value;
  useEffect(() => {
    if (!content || !element.current || element.current.open) return;
    element.current.showModal();
    element.current.querySelector('[data-first]')?.focus();
  }, [content]);
  if (!content) return null;
  const { title, body, actions = [], wide } = content;
  return html`<dialog ref=${element} class=${wide ? 'dialog wide' : 'dialog'} aria-labelledby="dialog-title" onClose=${closeDialog}
    onClick=${event => event.target === element.current && closeDialog()}>
    <div class="dialog-head"><h2 id="dialog-title">${title}</h2><${Button} kind="quiet" icon="close" aria-label=${t('common.close')} onClick=${closeDialog} /></div>
    <div class="dialog-body">${typeof body === 'function' ? html`<${body} />` : body}</div>
    ${actions.length > 0 && html`<div class="dialog-actions"><${Button} label=${actions.some(([, kind]) => kind === 'danger') ? t('common.cancel') : t('common.close')} onClick=${closeDialog} />${actions.map(([label, kind, run, why]) => html`<${Button} key=${label} kind=${kind} label=${label} why=${why} onClick=${run} />`)}</div>`}
  </dialog>`;
}

/** A page's head: where it is, what can be done, and the request that has the same facts (`api`). */
export const PageHead = ({ title, note, api, children }) => html`<header class="page-head"><div class="page-title"><h1>${title}</h1>${note && html`<p class="note">${note}</p>`}</div><div class="row wrap">${children}${api && html`<${Button} kind="quiet" icon="copy" label="curl" title=${t('common.curl')} onClick=${() => copy(curl(api))} />`}</div></header>`;

/** Names of things, and what they are. */
export const Facts = ({ facts }) => html`<dl class="facts">${facts.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** SQL that is shown and not edited. */
export const Sql = ({ text }) => html`<div class="code-box"><pre tabindex="0">${text}</pre><${Button} small kind="quiet" icon="copy" aria-label=${t('common.copySql')} onClick=${() => copy(text)} /></div>`;

/** Why the user cannot do what needs this role; `undefined` if they can. */
export const roleWhy = (role, can) => (can ? undefined : t('common.roleNeeded', { role: t(`role.${role}`) }));
