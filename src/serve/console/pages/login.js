/** The login: a user and a password, or a token. */
import { html, useEffect, useRef, useSignal } from '../vendor/preact.js';
import { epoch, request, session } from '../parts/api.js';
import { t } from '../parts/i18n.js';
import { Mark } from '../parts/icons.js';
import { language } from '../parts/preferences.js';
import { Choice, Failure } from '../parts/ui.js';

export default function Login() {
  const kind = useSignal('password');
  const error = useSignal(null);
  const busy = useSignal(false);
  const first = useRef(null);
  useEffect(() => { first.current?.focus(); }, [kind.value]);
  const send = async event => {
    event.preventDefault();
    const form = new FormData(event.target);
    busy.value = true;
    error.value = null;
    try {
      const body = kind.value === 'token' ? { token: form.get('token') } : { user: form.get('user'), password: form.get('password') };
      session.value = await request('/api/v1/session', { method: 'POST', body });
      epoch.value += 1;
    } catch (failure) {
      error.value = failure.status === 401 ? new Error(t('login.wrong')) : failure;
    }
    busy.value = false;
  };
  return html`<main class="login"><form class="login-box" onSubmit=${send}><div class="login-brand"><${Mark} size=${36} /><h1>Tidegate</h1></div>
    <${Choice} label=${t('login.how')} value=${kind.value} onChange=${value => { kind.value = value; }} options=${[['password', t('login.password')], ['token', t('login.token')]]} />
    ${kind.value === 'password' ? html`<label class="field"><span>${t('login.user')}</span><input ref=${first} class="input" name="user" autocomplete="username" required /></label>
      <label class="field"><span>${t('login.password')}</span><input class="input" name="password" type="password" autocomplete="current-password" required /></label>`
    : html`<label class="field"><span>${t('login.token')}</span><input ref=${first} class="input mono" name="token" type="password" autocomplete="off" required /></label>`}
    <${Failure} error=${error.value} />
    <button class="button primary wide" type="submit" disabled=${busy.value}>${t('login.enter')}</button>
    <p class="login-foot"><button type="button" class="link" lang=${language.value === 'en' ? 'ko' : 'en'} onClick=${() => { language.value = language.value === 'en' ? 'ko' : 'en'; }}>${language.value === 'en' ? '한국어' : 'English'}</button></p></form></main>`;
}
