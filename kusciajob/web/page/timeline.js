/** When the tasks of a job waited, were started and ran. Times are in ms since the epoch. */
import { firstFailed } from './blame.js';
import { partyName } from './task_parties.js';

/**
 * @typedef {import('./types.js').Job} Job
 * @typedef {import('./types.js').Task} Task
 * @typedef {import('./types.js').Attempt} Attempt
 * @typedef {import('./types.js').PartyAttempt} PartyAttempt
 *
 * @typedef {object} Bar what a party did in an attempt, or that an attempt is awaited; null: not yet, or not known
 * @property {Task} task
 * @property {string} name of the party
 * @property {number} attempt the number; of one that is awaited, that which it will have
 * @property {PartyAttempt|null} party null where the attempt is awaited
 * @property {boolean} isFirst whether the party failed first in its attempt
 * @property {number|null} waited since when it waited for its addresses
 * @property {number|null} placed when its programs began to be started
 * @property {number|null} started
 * @property {number|null} ended
 *
 * @typedef {{name: string, bars: Bar[]}} Lane the attempts of a party
 * @typedef {{task: Task, lanes: Lane[]}} Row
 * @typedef {{from: number, to: number}} Span
 */

/**
 * A row for each task, with a lane for each of its parties.
 * @param {Job} job
 * @returns {Row[]}
 */
export function rowsOf(job) {
  const planned = new Map(job.request.job.tasks.map(({ alias, parties }) => [alias, parties.map(partyName)]));
  return job.tasks.map((task) => {
    const names = planned.get(task.alias) ?? [];
    const lanes = [...new Set(names)].map((name) => ({ name, bars: /** @type {Bar[]} */ ([]) }));
    const byName = new Map(lanes.map((lane) => [lane.name, lane]));
    for (const attempt of task.attempts) {
      const first = firstFailed(attempt.parties);
      for (const party of attempt.parties) {
        byName.get(partyName(party))?.bars.push(barOf(task, attempt, party, party === first));
      }
    }
    if (task.state === 'Pending' && task.attempts.at(-1)?.state !== 'Pending') {
      for (const lane of lanes) lane.bars.push(awaited(task, lane.name, timeOf(job.summary.end_time)));
    }
    return { task, lanes };
  });
}

/** @param {Task} task @param {Attempt} attempt @param {PartyAttempt} party @param {boolean} isFirst @returns {Bar} */
function barOf(task, attempt, party, isFirst) {
  return {
    task,
    name: partyName(party),
    attempt: attempt.number,
    party,
    isFirst,
    waited: timeOf(attempt.wait_time),
    placed: timeOf(attempt.place_time),
    started: timeOf(party.start_time),
    ended: timeOf(party.end_time) ?? timeOf(attempt.end_time),
  };
}

/** @param {Task} task @param {string} name @param {number|null} ended @returns {Bar} */
function awaited(task, name, ended) {
  const waited = timeOf(task.wait_time);
  return { task, name, attempt: task.attempt + 1, party: null, isFirst: false, waited, placed: null, started: null, ended };
}

/** @param {string|null} time */
function timeOf(time) {
  return time ? Date.parse(time) : null;
}

/**
 * The parts of a bar that took time.
 * @param {Bar} bar
 * @param {number} now
 * @returns {{kind: 'wait'|'start'|'run', from: number, to: number}[]}
 */
export function partsOf({ waited, placed, started, ended }, now) {
  const end = ended ?? now;
  /** @type {['wait'|'start'|'run', number|null, number][]} */
  const parts = [
    ['wait', waited, placed ?? started ?? end],
    ['start', placed, started ?? end],
    ['run', started, end],
  ];
  return parts.flatMap(([kind, from, to]) => (from === null ? [] : [{ kind, from, to: Math.max(from, to) }]));
}

/**
 * From the first that is known of a job to its end, or to now.
 * @param {Job} job
 * @param {Row[]} rows
 * @param {number} now
 * @returns {Span}
 */
export function spanOf(job, rows, now) {
  let from = Date.parse(job.summary.create_time);
  let to = timeOf(job.summary.end_time) ?? now;
  for (const { lanes } of rows) {
    for (const { bars } of lanes) {
      for (const bar of bars) {
        for (const part of partsOf(bar, now)) {
          from = Math.min(from, part.from);
          to = Math.max(to, part.to);
        }
      }
    }
  }
  return { from, to: Math.max(to, from + 1) };
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((count) => count * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 7, 14, 30, 60, 120, 360].map((count) => count * DAY),
];

/**
 * Round distances from the beginning of a span, at most so many.
 * @param {Span} span
 * @param {number} most
 * @returns {number[]} in ms after its beginning
 */
export function ticksOf({ from, to }, most) {
  const length = to - from;
  const step = STEPS.find((each) => length / each < most) ?? length;
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, index) => index * step);
}
