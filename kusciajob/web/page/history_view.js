/** Who did what with a job, when and why, every reason in full. */
import { useEffect, useMemo, useState } from '../vendor/preact-hooks.js';
import { Choice } from './choice.js';
import { html } from './html.js';
import { JobHistory } from './job_history.js';
import { moveFocus, useKeys } from './keys.js';
import { plain } from './plain.js';
import { go, hrefOf, hrefWith, place } from './place.js';
import { partyName } from './task_parties.js';
import { en } from './en.js';
import { t } from './texts.js';
import { exactTime } from './time.js';

/** @typedef {import('./types.js').HistoryEntry} HistoryEntry */

const TASK_ENDS = new Set(['task_failed', 'task_retried']);
const FAILURES = new Set(['party_failed', 'task_failed', 'task_retried', 'fault', 'deadline_exceeded']);
const BAD = new Set(['party_failed', 'task_failed', 'fault', 'deadline_exceeded', 'rejected']);
const GOOD = new Set(['party_succeeded', 'task_succeeded', 'accepted']);
/** @type {Record<string, (entry: HistoryEntry) => boolean>} */
const KINDS = {
  commands: ({ caller, event }) => Boolean(caller) || event === 'deadline_exceeded' || event === 'ended',
  failures: ({ event }) => FAILURES.has(event),
};

/** @param {{job: import('./types.js').Job}} props */
export function HistoryView({ job: { summary, tasks } }) {
  const history = useMemo(() => new JobHistory(summary.job_id), [summary.number]);
  useEffect(() => () => history.close(), [history]);
  useEffect(() => { history.readOn(); }, [history, summary.revision]);
  const [isNewestFirst, setNewestFirst] = useState(false);
  useKeys({
    j: () => moveFocus('.history a', 1),
    k: () => moveFocus('.history a', -1),
  });
  const kind = place.value.get('kind') ?? '';
  const task = tasks.some(({ alias }) => alias === place.value.get('task')) ? place.value.get('task') : '';
  const passes = KINDS[kind] ?? (() => true);
  const entries = history.entries.value.filter((entry) => passes(entry) && (!task || entry.alias === task));
  /** @type {Map<string, HistoryEntry[]>} why an attempt failed: those of its parties that failed by themselves */
  const failed = new Map();
  for (const entry of history.entries.value) {
    if (entry.event === 'party_failed' && !entry.was_stopped) failed.set(attemptOf(entry), [...failed.get(attemptOf(entry)) ?? [], entry]);
  }
  const shown = isNewestFirst ? [...entries].reverse() : entries;
  return html`
    <div class="tools logtools">
      <${Choice} label=${t('history.kind')} name="kind" value=${kind}
        options=${/** @type {const} */ (['', 'commands', 'failures']).map((each) => [each, t(`history.kind.${each || 'all'}`)])} />
      <${Choice} label=${t('history.task')} name="task" value=${task}
        options=${[['', t('history.task.all')], ...tasks.map(({ alias }) => [alias, plain(alias)])]} />
      <button type="button" aria-pressed=${isNewestFirst ? 'true' : 'false'} onClick=${() => setNewestFirst(!isNewestFirst)}>${t('history.newest')}</button>
      <span class="hint" role="status">${history.isLoading.value ? t('loading') : t('history.shown', { count: shown.length })}</span>
    </div>
    ${history.error.value && html`<p class="notice problem" role="alert">${t('failed', { text: plain(history.error.value.message) })}</p>`}
    ${entries.length === 0 && (kind || task) && !history.isLoading.value && !history.error.value
      ? html`<div class="notice"><p>${t('history.none')}</p>
        <button type="button" onClick=${() => go(hrefWith({ kind: null, task: null }), { replace: true })}>${t('filter.clear')}</button></div>`
      : html`<div class="scroller" tabindex="0" role="region" aria-label=${t('job.history')}><table class="history">
      <thead><tr><th scope="col">${t('history.when')}</th><th scope="col">${t('history.what')}</th>
        <th scope="col">${t('history.who')}</th><th scope="col">${t('history.about')}</th><th scope="col">${t('history.why')}</th></tr></thead>
      <tbody>${shown.map((entry, index) => html`<${EntryRow} key=${isNewestFirst ? entries.length - index : index} jobId=${summary.job_id} entry=${entry}
        causes=${TASK_ENDS.has(entry.event) ? failed.get(attemptOf(entry)) : undefined} />`)}</tbody>
    </table></div>`}`;
}

/** @param {HistoryEntry} entry */
function attemptOf({ alias, attempt }) {
  return `${alias} ${attempt}`;
}

/**
 * @param {{jobId: string, entry: HistoryEntry, causes?: HistoryEntry[]}} props
 *   `causes`: of a task's attempt that failed, what its parties said
 */
function EntryRow({ jobId, entry, causes = [] }) {
  const { event, alias, attempt, domain_id, exit_code, progress, was_stopped, caller, peer, reason } = entry;
  const colour = was_stopped ? '' : BAD.has(event) ? 'state-Failed' : GOOD.has(event) ? 'state-Succeeded' : caller ? 'state-Running' : '';
  return html`<tr>
    <td class="h-when"><time datetime=${entry.time} title=${t('history.revision', { revision: entry.revision })}>${exactTime(entry.time)}</time></td>
    <td class="h-what"><span class="badge ${colour}">${was_stopped ? t('event.party_stopped') : eventName(event)}</span></td>
    <td class="h-who">${caller ? html`<strong>${caller}</strong>${peer && html` <span class="hint">${peer}</span>`}` : html`<span class="hint">${t('history.server')}</span>`}</td>
    <td class="h-about">${alias && html`<a href=${hrefOf({ job: jobId, task: alias })}>${plain(alias)}</a>`}
      ${domain_id && html` <span>${plain(partyName(entry))}</span>`}
      ${attempt > 0 && html` <span class="hint">${t('matrix.attempt', { number: attempt })}</span>`}
      ${alias && domain_id && attempt > 0 && html` <a class="hint" href=${hrefOf({ job: jobId, view: 'logs', task: alias, party: domain_id, role: entry.role, attempt: String(attempt) })}>${t('job.logs')}</a>`}</td>
    <td class="h-why">${exit_code !== null && html`<span class="tag">${t('why.exit', { code: exit_code })}</span> `}
      ${event === 'task_progressed' && html`<span class="tag">${Math.round(progress * 100)} %</span>`}
      ${reason && html`<pre class="reason">${plain(reason)}</pre>`}
      ${causes.map((cause) => !reason.includes(cause.reason) && html`<p key=${partyName(cause)} class="cause"><strong>${plain(partyName(cause))}</strong></p>
        <pre class="reason">${plain(cause.reason)}</pre>`)}</td>
  </tr>`;
}

/** @param {string} event */
function eventName(event) {
  const key = /** @type {keyof typeof en} */ (`event.${event}`);
  return key in en ? t(key) : event;
}
