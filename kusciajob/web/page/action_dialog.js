/** Asks for the reason of an operation, then shows how far it is, and what the server refused and why. */
import { signal } from '../vendor/signals.js';
import { useEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { useKeptFocus } from './focus.js';
import { html } from './html.js';
import { MOST_REASON_CHARACTERS, OPERATIONS, askOf, possibleFor } from './operations.js';
import { plain } from './plain.js';
import { t } from './texts.js';

/**
 * @typedef {import('./operations.js').Operation} Operation
 * @typedef {import('./operations.js').Target} Target
 * @typedef {{operation: Operation, jobs: Target[], onDone?: () => void}} Wish
 * @typedef {{jobId: string, text: string}} Refusal
 */

const wish = signal(/** @type {Wish|null} */ (null));
/** What was done last, for a moment. */
const told = signal('');

const TOLD_MS = 8_000;
const MOST_LISTED = 8;
const MOST_REFUSALS = 200;

/**
 * Ask the person for a reason, then the server.
 * @param {Operation} operation
 * @param {Target[]} jobs those that do not allow it are left out
 * @param {() => void} [onDone] once the server has done it to all
 */
export function wishFor(operation, jobs, onDone) {
  wish.value = { operation, jobs, onDone };
}

/** @param {{job: Target}} props */
export function Actions({ job }) {
  const group = useRef(/** @type {HTMLElement|null} */ (null));
  const possible = possibleFor(job);
  useKeptFocus(group, possible.join());
  return html`<div ref=${group} class="actions" role="group" aria-label=${t('do')}>
    ${possible.map((operation) => html`<button type="button" key=${operation}
      class=${OPERATIONS[operation].isHarsh ? 'harsh' : ''} onClick=${() => wishFor(operation, [job])}>${t(OPERATIONS[operation].text)}…</button>`)}
  </div>`;
}

/** What was done last. */
export function Told() {
  useEffect(() => {
    if (!told.value) return undefined;
    const timer = setTimeout(() => { told.value = ''; }, TOLD_MS);
    return () => clearTimeout(timer);
  }, [told.value]);
  return html`<p class="told" role="status">${told.value}</p>`;
}

export function ActionDialog() {
  const present = wish.value;
  return present && html`<${Asking} key=${present} ...${present} />`;
}

/** @param {Wish} props */
function Asking({ operation, jobs, onDone }) {
  const dialog = useRef(/** @type {HTMLDialogElement|null} */ (null));
  const abort = useRef(new AbortController());
  const [ids] = useState(() => jobs.filter((job) => possibleFor(job).includes(operation)).map(({ job_id }) => job_id));
  const [reason, setReason] = useState('');
  const [phase, setPhase] = useState(/** @type {'asks'|'works'|'ended'} */ ('asks'));
  const [done, setDone] = useState(0);
  const [refusals, setRefusals] = useState(/** @type {Refusal[]} */ ([]));
  useEffect(() => {
    dialog.current?.showModal();
    return () => abort.current.abort();
  }, []);
  const { title, go, done: doneText, hint, isHarsh } = OPERATIONS[operation];

  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    setPhase('works');
    let count = 0;
    /** @type {Refusal[]} */
    const refused = [];
    await askOf(operation, ids, reason.trim(), {
      signal: abort.current.signal,
      onDone: (jobId, refusal) => {
        setDone(count += 1);
        if (!refusal) return;
        refused.push({ jobId, text: refusal });
        setRefusals([...refused]);
      },
    });
    const succeeded = count - refused.length;
    told.value = succeeded ? t(doneText, { job: ids[0], count: succeeded }) : '';
    if (succeeded < ids.length) {
      setPhase('ended');
      return;
    }
    dialog.current?.close();
    onDone?.();
  };
  const leave = () => {
    abort.current.abort();
    if (phase !== 'works') dialog.current?.close();
  };
  const leftOut = jobs.length - ids.length;
  return html`<dialog ref=${dialog} class="asking" aria-labelledby="asking-title" onClose=${() => { wish.value = null; }}
      onCancel=${(/** @type {Event} */ event) => { if (phase === 'works') { event.preventDefault(); leave(); } }}>
    <form onSubmit=${submit}>
      <h2 id="asking-title">${t(title, { job: ids[0] ?? '', count: ids.length })}</h2>
      <p>${t(hint)}</p>
      ${ids.length > 1 && html`<ul class="ids">${ids.slice(0, MOST_LISTED).map((id) => html`<li key=${id}>${id}</li>`)}
        ${ids.length > MOST_LISTED && html`<li>${t('do.more', { count: ids.length - MOST_LISTED })}</li>`}</ul>`}
      ${leftOut > 0 && html`<p class="hint">${t('do.leftout', { count: leftOut })}</p>`}
      ${phase === 'asks' && ids.length > 0 && html`<label>${t('do.reason')}
        <textarea rows="3" required autofocus maxlength=${MOST_REASON_CHARACTERS} value=${reason}
          onInput=${(/** @type {any} */ { target }) => setReason(target.value)}></textarea></label>`}
      ${phase !== 'asks' && html`<label>${t('do.progress', { done, count: ids.length })}
        <progress value=${done} max=${ids.length}></progress></label>`}
      ${refusals.length > 0 && html`<div class="notice problem" role="alert"><p>${t('do.refused', { count: refusals.length })}</p>
        <dl class="refusals" tabindex="0" aria-label=${t('do.refused', { count: refusals.length })}>${refusals.slice(0, MOST_REFUSALS).map(({ jobId, text: why }) =>
          html`<div key=${jobId}><dt>${jobId}</dt><dd>${plain(why)}</dd></div>`)}</dl></div>`}
      <p class="buttons">
        ${phase === 'asks' && ids.length > 0 && html`<button type="submit" class=${isHarsh ? 'main harsh' : 'main'} disabled=${!reason.trim()}>${t(go, { count: ids.length })}</button>`}
        <button type="button" onClick=${leave}>${t(phase === 'works' ? 'do.breakoff' : phase === 'ended' ? 'do.close' : 'do.leave', { count: ids.length })}</button>
      </p>
    </form>
  </dialog>`;
}
