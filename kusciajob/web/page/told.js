/** A text from a job or a program, of whatever length: harmless, and cut where nobody would read on. */
import { html } from './html.js';
import { plain } from './plain.js';
import { t } from './texts.js';
import { number } from './time.js';

export const LONGEST_TEXT = 4_000;

/** @param {{text: string, most?: number, kind?: string}} props `most`: characters; `kind`: of its style */
export function Told({ text, most = LONGEST_TEXT, kind = 'message' }) {
  return html`<pre class=${kind} tabindex="0">${plain(text.slice(0, most))}${text.length > most && html`…
<em class="cut">${cutText(text.length, most)}</em>`}</pre>`;
}

/** What is said of a text that was cut. @param {number} size in characters @param {number} most */
export function cutText(size, most) {
  return t('cut', { shown: number(most), all: number(size) });
}
