/** Task × party: who did what, who failed first, who was only stopped for it. */
import { blameFor, firstFailed } from './blame.js';
import { html } from './html.js';
import { moveFocus, useKeys } from './keys.js';
import { TaskBadge } from './not_started.js';
import { firstLine } from './plain.js';
import { hrefOf } from './place.js';
import { PartyCell, partyName } from './task_parties.js';
import { t } from './texts.js';
import { fullTime } from './time.js';

/** @typedef {import('./types.js').Task} Task */

/** @param {{job: import('./types.js').Job}} props */
export function MatrixView({ job }) {
  useKeys({ j: () => moveFocus('.matrix th a', 1), k: () => moveFocus('.matrix th a', -1) });
  /** @type {Map<string, Set<string>>} the parties of each task, by the names of its row and of its columns */
  const planned = new Map(job.request.job.tasks.map((task) => [task.alias, new Set(task.parties.map(partyName))]));
  // Who made it fail comes first: in a narrow window there is room for one.
  const blamed = blameFor(job).flatMap(({ party }) => (party ? [partyName(party)] : []));
  const columns = [...new Set([...blamed, ...[...planned.values()].flatMap((names) => [...names])])];
  return html`<div class="scroller" tabindex="0" role="region" aria-label=${t('job.parties')}><table class="matrix">
    <thead><tr><th scope="col">${t('matrix.task')}</th>${columns.map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    ${job.tasks.map((task) => html`<${TaskRows} key=${task.alias} job=${job} task=${task} columns=${columns}
      planned=${planned.get(task.alias) ?? new Set()} />`)}
  </table></div>`;
}

/**
 * A row for each attempt, newest first.
 * @param {{job: import('./types.js').Job, task: Task, columns: string[], planned: Set<string>}} props
 */
function TaskRows({ job, task, columns, planned }) {
  const attempts = [...task.attempts].reverse();
  const head = html`<a href=${hrefOf({ job: job.summary.job_id, task: task.alias })}>${task.alias}</a>
    <p class="line"><${TaskBadge} job=${job} task=${task} /></p>
    ${task.retry_time && html`<p class="hint">${t('matrix.retry', { time: fullTime(task.retry_time) })}</p>`}`;
  if (!attempts.length) {
    return html`<tbody><tr><th scope="row">${head}</th>${columns.map((name) => html`<td key=${name}>${planned.has(name)
      ? html`<p class="hint">${(task.state === 'Pending' && firstLine(task.err_msg)) || t('matrix.notyet')}</p>`
      : html`<${Nothing} />`}</td>`)}</tr></tbody>`;
  }
  return html`<tbody>${attempts.map((attempt, index) => {
    const first = firstFailed(attempt.parties);
    return html`<tr key=${attempt.number}><th scope="row">${index === 0 && head}
        ${attempts.length > 1 && html`<p class="hint">${t('matrix.attempt', { number: attempt.number })}</p>`}</th>
      ${columns.map((name) => {
        const party = attempt.parties.find((each) => partyName(each) === name);
        return html`<td key=${name}>${party
          ? html`<${PartyCell} jobId=${job.summary.job_id} task=${task} attempt=${attempt.number} party=${party} first=${first} />`
          : html`<${Nothing} />`}</td>`;
      })}</tr>`;
  })}</tbody>`;
}

function Nothing() {
  return html`<span class="hint" aria-label=${t('matrix.none')} title=${t('matrix.none')}>–</span>`;
}
