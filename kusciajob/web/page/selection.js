/** The jobs that the person has chosen in the list, and what can be done with all of them. */
import { signal } from '../vendor/signals.js';
import { useEffect, useRef } from '../vendor/preact-hooks.js';
import { wishFor } from './action_dialog.js';
import { useKeptFocus } from './focus.js';
import { html } from './html.js';
import { OPERATIONS } from './operations.js';
import { t } from './texts.js';

/** @typedef {import('./job_list.js').JobList} JobList */
/** @typedef {import('./job_list.js').Row} Row */

/** By the number of the job. */
const chosen = signal(/** @type {Map<string, Row>} */ (new Map()));
/** Where a choice of several begins. */
let anchor = /** @type {Row|null} */ (null);

const FOR_MANY = /** @type {const} */ (['Restart', 'Stop', 'Delete']);

/** Choose none. */
export function chooseNone() {
  if (chosen.peek().size) chosen.value = new Map();
  anchor = null;
}

/** @param {Row} row */
export function isChosen(row) {
  return chosen.value.has(row.peek().number);
}

/**
 * Choose a row, or no longer; with those up to the one chosen before, if asked for.
 * @param {JobList} list
 * @param {Row} row
 * @param {{isRange?: boolean}} [how]
 */
export function toggle(list, row, { isRange = false } = {}) {
  const next = new Map(chosen.peek());
  const isOn = !next.has(row.peek().number);
  const rows = list.rows.peek();
  const [from, to] = [anchor && isRange ? rows.indexOf(anchor) : -1, rows.indexOf(row)];
  const several = from < 0 ? [row] : rows.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const each of several) {
    if (isOn) next.set(each.peek().number, each);
    else next.delete(each.peek().number);
  }
  anchor = row;
  chosen.value = next;
}

/** @param {{list: JobList}} props */
export function Selection({ list }) {
  const box = useRef(/** @type {HTMLInputElement|null} */ (null));
  const group = useRef(/** @type {HTMLElement|null} */ (null));
  useEffect(() => chooseNone, [list]);
  const rows = list.rows.value;
  // What has left the list meanwhile is not meant any more.
  const present = [...chosen.value.values()].filter((row) => list.has(row.peek().number));
  const isAll = present.length > 0 && present.length === rows.length;
  useEffect(() => { if (box.current) box.current.indeterminate = present.length > 0 && !isAll; });
  const onAll = () => {
    chosen.value = isAll ? new Map() : new Map(rows.map((row) => [row.peek().number, row]));
  };
  const jobs = present.map((row) => row.value);
  useKeptFocus(group, String(jobs.length > 0));
  return html`<div ref=${group} class="selection ${jobs.length ? 'is-active' : ''}" role="group" aria-label=${t('choice')}>
    <label><input type="checkbox" ref=${box} checked=${isAll} onChange=${onAll} /> ${t('choice.all', { count: rows.length })}</label>
    ${jobs.length > 0 && html`<span role="status">${t('choice.count', { count: jobs.length })}</span>
      ${FOR_MANY.map((operation) => html`<button type="button" key=${operation} class=${OPERATIONS[operation].isHarsh ? 'harsh' : ''}
        disabled=${!jobs.some(({ operations }) => operations.includes(operation))}
        onClick=${() => wishFor(operation, jobs)}>${t(OPERATIONS[operation].text)}…</button>`)}
      <button type="button" onClick=${chooseNone}>${t('choice.none')}</button>`}
  </div>`;
}

/** @param {{list: JobList, row: Row}} props */
export function ChoiceBox({ list, row }) {
  return html`<input type="checkbox" aria-label=${t('choice.one', { job: row.peek().job_id })} checked=${isChosen(row)}
    onClick=${(/** @type {MouseEvent} */ event) => toggle(list, row, { isRange: event.shiftKey })} />`;
}

/**
 * The key that chooses the row with the focus.
 * @param {JobList} list
 */
export function toggleFocused(list) {
  const number = /** @type {HTMLElement|null} */ (document.activeElement?.closest('tr[data-number]'))?.dataset.number;
  const row = list.rows.peek().find((each) => each.peek().number === number);
  if (row) toggle(list, row);
}
