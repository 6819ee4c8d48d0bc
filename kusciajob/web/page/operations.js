/** What can be asked of jobs. Which of it a job allows now, the server tells with the job. */
import { CallFailed, send } from './api.js';
import { pause } from './streams.js';

/** @typedef {'Accept'|'Reject'|'Suspend'|'Restart'|'Stop'|'Cancel'|'Delete'} Operation */
/** @typedef {keyof typeof import('./en.js').en} Key */
/** @typedef {{job_id: string, operations: string[]}} Target */

/** The server takes no more of a reason. */
export const MOST_REASON_CHARACTERS = 4096;
const AT_ONCE = 4;
/** For a call that was refused because of too many others. */
const MOST_TRIES = 20;
const RETRY_MS = 500;

/**
 * In the order in which they are shown.
 * @type {Record<Operation, {path: string, text: Key, hint: Key, title: Key, go: Key, done: Key, isHarsh: boolean}>}
 *   `title`, `go`, `done`: the question, the button that says yes, what is said after that; each for one job or many
 */
export const OPERATIONS = {
  Accept: { path: 'approve', text: 'do.accept', hint: 'do.accept.hint', title: 'do.accept.title', go: 'do.accept.go', done: 'do.accept.done', isHarsh: false },
  Reject: { path: 'approve', text: 'do.reject', hint: 'do.reject.hint', title: 'do.reject.title', go: 'do.reject.go', done: 'do.reject.done', isHarsh: true },
  Suspend: { path: 'suspend', text: 'do.suspend', hint: 'do.suspend.hint', title: 'do.suspend.title', go: 'do.suspend.go', done: 'do.suspend.done', isHarsh: false },
  Restart: { path: 'restart', text: 'do.restart', hint: 'do.restart.hint', title: 'do.restart.title', go: 'do.restart.go', done: 'do.restart.done', isHarsh: false },
  Stop: { path: 'stop', text: 'do.stop', hint: 'do.stop.hint', title: 'do.stop.title', go: 'do.stop.go', done: 'do.stop.done', isHarsh: true },
  Cancel: { path: 'cancel', text: 'do.cancel', hint: 'do.cancel.hint', title: 'do.cancel.title', go: 'do.cancel.go', done: 'do.cancel.done', isHarsh: true },
  Delete: { path: 'delete', text: 'do.delete', hint: 'do.delete.hint', title: 'do.delete.title', go: 'do.delete.go', done: 'do.delete.done', isHarsh: true },
};

/**
 * Those that a job allows now.
 * @param {Target} job
 */
export function possibleFor(job) {
  return /** @type {Operation[]} */ (Object.keys(OPERATIONS)).filter((operation) => job.operations.includes(operation));
}

/**
 * Ask it of jobs, a few at a time.
 * @param {Operation} operation
 * @param {string[]} jobIds
 * @param {string} reason
 * @param {{onDone: (jobId: string, refusal: string) => void, signal: AbortSignal}} to `refusal`: the server's text, empty
 *   where it did as asked; `signal`: leaves what has not been asked for yet
 */
export async function askOf(operation, jobIds, reason, { onDone, signal }) {
  const left = [...jobIds];
  const work = async () => {
    for (let id = left.shift(); id !== undefined && !signal.aborted; id = left.shift()) {
      onDone(id, await refusalOf(operation, id, reason, signal));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

/**
 * @param {Operation} operation
 * @param {string} jobId
 * @param {string} reason
 * @param {AbortSignal} signal
 */
async function refusalOf(operation, jobId, reason, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      await send(`/api/v1/job/${OPERATIONS[operation].path}`, bodyOf(operation, jobId, reason));
      return '';
    } catch (error) {
      const isCrowded = error instanceof CallFailed && error.status === 429;
      if (!isCrowded || tries === MOST_TRIES || signal.aborted) return /** @type {Error} */ (error).message;
      await pause(RETRY_MS, signal);
    }
  }
}

/** @param {Operation} operation @param {string} job_id @param {string} reason */
function bodyOf(operation, job_id, reason) {
  if (operation === 'Delete') return { job_id, header: { custom_headers: { reason } } };
  if (operation === 'Accept') return { job_id, reason, result: 'APPROVE_RESULT_ACCEPT' };
  if (operation === 'Reject') return { job_id, reason, result: 'APPROVE_RESULT_REJECT' };
  return { job_id, reason };
}
