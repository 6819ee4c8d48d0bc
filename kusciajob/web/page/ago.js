/** A moment: how long ago it was, and to whom points at it, when. */
import { html } from './html.js';
import { age, zonedTime } from './time.js';

/** @param {{time: string, isWhole?: boolean}} props `isWhole`: both are to be read */
export function Ago({ time, isWhole = false }) {
  const when = zonedTime(time);
  return html`<time datetime=${time} title=${when}>${isWhole ? `${when} (${age(time)})` : age(time)}</time>`;
}
