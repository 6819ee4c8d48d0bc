/** What surrounds every view: name, connection, language, theme, keys; and the choice of the view. */
import { useErrorBoundary } from '../vendor/preact-hooks.js';
import { ActionDialog, Told } from './action_dialog.js';
import { needsToken, token } from './api.js';
import { useOpenedView } from './focus.js';
import { html } from './html.js';
import { JobView } from './job_view.js';
import { KeyHelp, isHelpOpen, useKeys } from './keys.js';
import { ListView } from './list_view.js';
import { Login } from './login.js';
import { go, hrefOf, place } from './place.js';
import { ServerView } from './server_view.js';
import { lost } from './streams.js';
import { SubmitView } from './submit_view.js';
import { NAMES, choose, language, t } from './texts.js';
import { theme, turn } from './theme.js';

/** What is neither the list nor a job, by the parameter \`show\`. */
/** @type {Record<string, Function>} */
const OTHERS = { submit: SubmitView, server: ServerView };

export function Shell() {
  useKeys({ n: () => go(hrefOf({ show: 'submit' })), s: () => go(hrefOf({ show: 'server' })) });
  return html`
    <a class="skip" href="#content">${t('skip')}</a>
    <header class="bar">
      <a class="brand" href=${location.pathname}><${Mark} />kusciajob</a>
      <${Connection} />
      <span class="spring"></span>
      <${Views} />
      ${token.value && html`<button type="button" class="quiet" onClick=${leave}>${t('token.leave')}</button>`}
      <select aria-label=${t('language')} value=${language.value} onChange=${onLanguage}>
        ${Object.entries(NAMES).map(([code, name]) => html`<option value=${code} selected=${code === language.value}>${name}</option>`)}
      </select>
      <button type="button" class="quiet" onClick=${turn} title=${themeText()} aria-label=${themeText()}>
        <span aria-hidden="true">${{ system: '◐', light: '☀', dark: '☾' }[theme.value]}</span>
      </button>
      <button type="button" class="quiet" onClick=${openHelp} title=${t('keys')} aria-label=${t('keys')}>
        <span aria-hidden="true">?</span>
      </button>
    </header>
    <main id="content" tabindex="-1"><${View} />
      ${language.value !== 'en' && html`<p class="hint">${t('language.server')}</p>`}</main>
    <${KeyHelp} />
    <${ActionDialog} />
    <${Told} />
  `;
}

function View() {
  const [error, reset] = useErrorBoundary();
  const id = place.value.get('job') ?? '';
  const show = place.value.get('show') ?? '';
  useOpenedView(id, show);
  if (error) {
    return html`<p class="notice problem" role="alert">${t('failed', { text: String(error.message ?? error) })}
      <button type="button" onClick=${() => { go(location.pathname); reset(); }}>${t('jobs')}</button></p>`;
  }
  if (needsToken.value) return html`<${Login} />`;
  const other = OTHERS[show];
  if (other && !id) return html`<${other} />`;
  return id ? html`<${JobView} key=${id} id=${id} />` : html`<${ListView} />`;
}

function Views() {
  const show = place.value.get('show') ?? '';
  const isList = !place.value.get('job') && !(show in OTHERS);
  return html`<nav class="views" aria-label=${t('views')}>
    <a href=${location.pathname} aria-current=${isList ? 'page' : undefined}>${t('jobs')}</a>
    <a href=${hrefOf({ show: 'submit' })} aria-current=${show === 'submit' ? 'page' : undefined}>${t('submit')}</a>
    <a href=${hrefOf({ show: 'server' })} aria-current=${show === 'server' ? 'page' : undefined}>${t('server')}</a>
  </nav>`;
}

function Connection() {
  return lost.value
    ? html`<span class="connection is-lost" role="status"><span aria-hidden="true">●</span> ${t('lost')}</span>`
    : html`<span class="connection" role="status"><span aria-hidden="true">●</span> ${t('live')}</span>`;
}

function Mark() {
  return html`<svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true" class="mark">
    <path d="M9 16 L23 9 M9 16 L23 23" /><circle cx="9" cy="16" r="4" /><circle cx="23" cy="9" r="4" /><circle cx="23" cy="23" r="4" />
  </svg>`;
}

function themeText() {
  const name = { system: t('theme.system'), light: t('theme.light'), dark: t('theme.dark') }[theme.value] ?? '';
  return t('theme', { name });
}

/** @param {Event} event */
function onLanguage(event) {
  choose(/** @type {keyof typeof NAMES} */ (/** @type {HTMLSelectElement} */ (event.target).value));
}

function openHelp() {
  isHelpOpen.value = true;
}

function leave() {
  token.value = '';
  needsToken.value = true;
}
