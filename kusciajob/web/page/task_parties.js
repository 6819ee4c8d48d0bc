/** The parties of a task: a cell for each, wherever parties are shown. */
import { firstFailed } from './blame.js';
import { html } from './html.js';
import { whyNotStarted } from './not_started.js';
import { hrefOf } from './place.js';
import { useOutput } from './runtime.js';
import { StateBadge } from './state.js';
import { t } from './texts.js';
import { duration, fullTime } from './time.js';
import { Told } from './told.js';

/** @typedef {import('./types.js').Task} Task */
/** @typedef {import('./types.js').PartyAttempt} PartyAttempt */

/** @param {{domain_id: string, role: string}} party */
export function partyName({ domain_id, role }) {
  return role ? `${domain_id} (${role})` : domain_id;
}

/** @param {{job: import('./types.js').Job, task: Task}} props */
export function TaskParties({ job, task }) {
  const last = task.attempts.at(-1);
  if (!last) return html`<p class="hint">${whyNotStarted(job, task) || t('matrix.notyet')}</p>`;
  const first = firstFailed(last.parties);
  const parties = first ? [first, ...last.parties.filter((party) => party !== first)] : last.parties;
  return html`<ul class="parties">${parties.map((party) => html`<li key=${partyName(party)}>
    <strong>${partyName(party)}</strong>
    <${PartyCell} jobId=${job.summary.job_id} task=${task} attempt=${last.number} party=${party} first=${first} />
  </li>`)}</ul>`;
}

/**
 * What a party did in an attempt.
 * @param {{jobId: string, task: Task, attempt: number, party: PartyAttempt, first: PartyAttempt|null}} props
 *   `first`: who failed first in it
 */
export function PartyCell({ jobId, task, attempt, party, first }) {
  const isFirst = party === first;
  const hasOutput = useOutput();
  const log = hrefOf({ job: jobId, view: 'logs', task: task.alias, party: party.domain_id, role: party.role, attempt: String(attempt) });
  const code = party.signal || (party.exit_code !== null && party.state === 'Failed' ? t('why.exit', { code: party.exit_code }) : '');
  const stopped = party.was_stopped;
  const time = duration(party.start_time, party.end_time);
  return html`<div class="party ${isFirst ? 'is-first' : ''} ${stopped ? 'is-stopped' : ''}">
    <p class="line">
      ${stopped ? html`<span class="badge">${t(first ? 'matrix.stopped' : 'matrix.stopped.other')}</span>` : html`<${StateBadge} state=${party.state} />`}
      ${isFirst && html`<span class="tag first">${t('matrix.first')}</span>`}
      ${code && html`<span class="tag">${code}</span>`}
      ${time && html`<span class="hint" title=${`${fullTime(party.start_time)} – ${fullTime(party.end_time)}`}>${time}</span>`}
      ${hasOutput && html`<a class="hint" href=${log}>${t('job.logs')}</a>`}
    </p>
    ${party.err_msg && !(stopped && first) && party.err_msg !== `exit code ${party.exit_code}` && html`<${Told} text=${party.err_msg} kind="text" />`}
    ${party.endpoints.length > 0 && html`<details><summary class="hint">${t('matrix.endpoints')} (${party.endpoints.length})</summary>
      <ul>${party.endpoints.map(({ port_name, scope, endpoint }) => html`<li key=${port_name + endpoint}><code>${port_name}</code> ${scope} <code>${endpoint}</code></li>`)}</ul></details>`}
  </div>`;
}
