/** Who made a job fail: found in the attempts of its tasks. */

/**
 * @typedef {import('./types.js').Job} Job
 * @typedef {import('./types.js').Task} Task
 * @typedef {import('./types.js').PartyAttempt} PartyAttempt
 * @typedef {{task: Task, party: PartyAttempt|null, attempt: number, text: string}} Blame
 *   without a party where the task itself failed, such as for a time-out
 */

/**
 * The party that failed first in an attempt; null where none did by itself.
 * @param {PartyAttempt[]} parties
 */
export function firstFailed(parties) {
  return firstEnded(parties.filter((party) => party.state === 'Failed' && !party.was_stopped));
}

/** @param {PartyAttempt[]} parties */
function firstEnded(parties) {
  return parties.length ? parties.reduce((first, party) => (endOf(party) < endOf(first) ? party : first)) : null;
}

/** @param {PartyAttempt} party */
function endOf(party) {
  return party.end_time ? microseconds(party.end_time) : Infinity;
}

/**
 * Date.parse knows milliseconds only, and two parties can fail within one.
 * @param {string} time RFC 3339, in UTC
 */
function microseconds(time) {
  const fraction = /\.(\d+)/.exec(time)?.[1] ?? '';
  return Math.floor(Date.parse(time) / 1000) * 1e6 + Number(fraction.padEnd(6, '0').slice(0, 6));
}

/** As the server puts together what made a job fail: one after the other, or the command that ended it. */
const CAUSE = /^Task\[([^\]]*)\](?:-Party\[([^\]]*)\])?: ([^]*)$/;
const NEXT_CAUSE = /; Task\[[^\]]*\](?:-Party\[[^\]]*\])?: /;
const COMMAND = /^Party: (\S+) execute the cmd: (\w+)\. Reason: ([^]*)$/;

/**
 * The reason of a job in a list, in parts, so that what one looks for comes first where little can be read.
 * @param {string} text `Task[psi]-Party[bob]: disk full`, `Party: bob execute the cmd: Stop. Reason: …`, or any other
 * @returns {{party: string, what: string, text: string, others: number}} `what`: the task, or the command; empty where it
 *   is another text; `others`: how many more causes there are
 */
export function culprit(text) {
  const [, by = '', command = '', reason = ''] = COMMAND.exec(text) ?? [];
  if (command) return { party: by, what: command, text: reason, others: 0 };
  const [, task = '', party = '', rest = text] = CAUSE.exec(text) ?? [];
  const causes = task ? rest.split(NEXT_CAUSE) : [rest];
  return { party, what: task, text: causes[0], others: causes.length - 1 };
}

/**
 * The failures that made the job fail, the first one first; tolerable tasks are left out unless nothing else failed.
 * @param {Job} job
 * @returns {Blame[]}
 */
export function blameFor(job) {
  const tolerable = new Set(job.request.job.tasks.filter((task) => task.tolerable).map((task) => task.alias));
  const failed = job.tasks.filter((task) => task.state === 'Failed');
  const decisive = failed.filter((task) => !tolerable.has(task.alias));
  /** @type {(Blame & {at: number})[]} */
  const found = (decisive.length ? decisive : failed).map((task) => {
    const last = task.attempts.at(-1);
    const party = last ? firstFailed(last.parties) : null;
    const at = party ? endOf(party) : last?.end_time ? microseconds(last.end_time) : Infinity;
    // Where nobody failed by itself, whoever was stopped first tells for what.
    const told = party ?? firstEnded(last?.parties.filter(({ state }) => state === 'Failed') ?? []);
    return { task, party, attempt: last?.number ?? 0, text: told?.err_msg || task.err_msg, at };
  });
  return found.sort((a, b) => a.at - b.at);
}
