/** A choice of the person that is kept in the address bar. */
import { html } from './html.js';
import { go, hrefWith } from './place.js';

/**
 * @param {{label: string, name: string, value: string, options: string[][], forget?: string[]}} props
 *   `name`: of its parameter; `options`: each a value and its text; `forget`: parameters that mean nothing with another value
 */
export function Choice({ label, name, value, options, forget = [] }) {
  const forgotten = Object.fromEntries(forget.map((each) => [each, '']));
  return html`<label>${label}
    <select value=${value} onChange=${(/** @type {any} */ { target }) => go(hrefWith({ ...forgotten, [name]: target.value }), { replace: true })}>
      ${options.map(([code, text]) => html`<option key=${code} value=${code} selected=${code === value}>${text}</option>`)}
    </select></label>`;
}
