/** Tasks that never ran though their job has ended, and how many tasks have come how far. */
import { html } from './html.js';
import { StateBadge } from './state.js';
import { stateName, t } from './texts.js';

/** @typedef {import('./types.js').Job} Job */
/** @typedef {import('./types.js').Task} Task */
/** @typedef {keyof typeof import('./en.js').en} Key */

/** By the last command. The server fails what a command keeps from starting. @type {Record<string, Key>} */
const ENDED_BY = { Stop: 'unstarted.stopped', Cancel: 'unstarted.cancelled', Suspend: 'unstarted.suspended' };
/** By the state of the job. What nothing keeps from starting but a failure stays Pending. @type {Record<string, Key>} */
const LEFT_BY = { Failed: 'unstarted.failed', Cancelled: 'unstarted.cancelled', ApprovalReject: 'unstarted.rejected', Succeeded: 'unstarted.needed' };

/** As SIGNS of the states. */
export const UNSTARTED_SIGN = '–';

/**
 * Why a task did not start, and will not without a restart; empty where it did, or where it may yet.
 * @param {Job} job
 * @param {Task} task
 */
export function whyNotStarted(job, task) {
  if (task.state === 'Failed') return !task.attempts.length && job.stage in ENDED_BY ? t(ENDED_BY[job.stage]) : '';
  const left = task.state === 'Pending' && LEFT_BY[job.summary.state];
  if (!left) return '';
  return task.attempts.length ? t('unstarted.again') : t(left);
}

/** The state of a task, in words that tell what failed from what never began. @param {{job: Job, task: Task}} props */
export function TaskBadge({ job, task }) {
  const why = whyNotStarted(job, task);
  if (!why) return html`<${StateBadge} state=${task.state} />`;
  return html`<span class="badge"><span class="sign" aria-hidden="true">${UNSTARTED_SIGN}</span>${t('unstarted')}</span> <span class="hint">${why}</span>`;
}

/** The same as a name alone. @param {Job} job @param {Task} task */
export function taskStateName(job, task) {
  return whyNotStarted(job, task) ? t('unstarted') : stateName(task.state);
}

/** How many of a job's tasks have succeeded; apart from them, what failed and what never began. @param {{job: Job}} props */
export function TaskCounts({ job }) {
  const { tasks, stage } = job;
  const succeeded = tasks.filter(({ state }) => state === 'Succeeded').length;
  const unstarted = tasks.filter((task) => whyNotStarted(job, task)).length;
  const failed = tasks.filter((task) => task.state === 'Failed' && !whyNotStarted(job, task)).length;
  return html`${t('count.succeeded', { done: succeeded, all: tasks.length })}
    ${failed > 0 && html`, <span class="bad">${t(stage in ENDED_BY ? 'count.ended' : 'count.failed', { count: failed })}</span>`}
    ${unstarted > 0 && html`, ${t('count.unstarted', { count: unstarted })}`}`;
}
