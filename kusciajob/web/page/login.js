/** Asks for the token where the server wants one. */
import { useState } from '../vendor/preact-hooks.js';
import { CallFailed, needsToken, read, token } from './api.js';
import { html } from './html.js';
import { t } from './texts.js';

export function Login() {
  const [text, setText] = useState('');
  const [problem, setProblem] = useState('');

  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    token.value = text.trim();
    try {
      await read('/v1/server');
    } catch (error) {
      token.value = '';
      setProblem(/** @type {Error} */ (error).message);
      if (!(error instanceof CallFailed)) return;
      needsToken.value = true;
    }
  };

  return html`<form class="card login" onSubmit=${submit}>
    <h1>${t('token.title')}</h1>
    <label>${t('token.label')}
      <input type="password" autocomplete="off" autofocus required value=${text}
        onInput=${(/** @type {any} */ event) => setText(event.target.value)} />
    </label>
    <p class="hint">${t('token.hint')}</p>
    ${problem && html`<p class="notice problem" role="alert">${problem}</p>`}
    <button type="submit" class="main">${t('token.go')}</button>
  </form>`;
}
