/** What the parties of a task wrote, line by line, followed while it runs. */
import { signal } from '../vendor/signals.js';
import { CallFailed, address, ask } from './api.js';
import { connectionFor, inSight, linesOf, pause } from './streams.js';

/** @typedef {import('./types.js').LogLine} LogLine */
/**
 * @typedef {LogLine & {party: string, order: string, key: number, size: number}} Line
 *   `order`: its time, or that of a line before it; `size`: its characters, of which `text` may have the first only
 */
/** @typedef {{domain_id: string, role: string}} Party */

/** Of a line so much is kept, in characters; what is longer is counted. */
const MOST_OF_LINE = 1_000_000;
/** The view keeps so many lines; the oldest go first. */
export const MOST_LINES = 20_000;
/** Of each party, so many of its last lines are asked for, fewer where there are many parties. */
const TAIL_LINES = 5_000;
const DRAW_MS = 100;
const RETRY_MS = 1_500;

/** All of its parties come in one stream: a browser opens six connections to a server, for all of its tabs. */
export class TaskLog {
  /**
   * @param {{taskId: string, domainId: string, role: string, parties: Party[], attempt: number, stream: string}} what
   *   domainId, role empty: all; parties: those that this means; attempt 0: the newest; stream empty: both
   */
  constructor(what) {
    this.what = what;
    this.lines = signal(/** @type {Line[]} */ ([]));
    this.hasDropped = signal(false);
    /** What the server refused; empty: nothing. */
    this.refused = signal('');
    /** The parties whose logs are told, by name; null: not yet known. */
    this.told = signal(/** @type {Set<string>|null} */ (null));
    this._pending = /** @type {Line[]} */ ([]);
    /** The last line of each party's streams, while its end has not come. @type {Map<string, Line>} */
    this._unended = new Map();
    /** How far each stream was read, so that nothing is shown twice after a lost connection. @type {Map<string, number>} */
    this._ends = new Map();
    /** The last time that is known of each party. @type {Map<string, string>} */
    this._times = new Map();
    this._count = 0;
    this._abort = new AbortController();
    this._timer = 0;
  }

  close() {
    this._abort.abort();
    clearTimeout(this._timer);
  }

  /** Read on until the attempt ends, or `close`. */
  async open() {
    const { signal } = this._abort;
    const { taskId, domainId, role, parties, attempt, stream } = this.what;
    const where = address(`/v1/tasks/${encodeURIComponent(taskId)}/log`, {
      all_parties: 'true',
      domain_id: domainId,
      role,
      attempt: attempt ? String(attempt) : '',
      stream,
      tail_lines: String(Math.min(TAIL_LINES, Math.floor(MOST_LINES / parties.length))),
      follow: 'true',
    });
    for (let isAgain = false; !signal.aborted; isAgain = true) {
      await inSight(signal);
      const connection = connectionFor(signal);
      try {
        const starts = new Set();
        for await (const line of linesOf(await ask(where, { accept: 'application/x-ndjson', signal: connection.signal }))) {
          if (!line) continue;
          const told = JSON.parse(line);
          if (told.error) throw new CallFailed(told.error.code, told.error.message);
          this._take(nameOf(told), told.lines, isAgain ? starts : null);
        }
        if (!connection.signal.aborted) return; // the attempt has ended
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof CallFailed && error.status < 500 && error.status !== 429) {
          this.refused.value = error.message;
          return;
        }
        if (!document.hidden) await pause(RETRY_MS, signal);
      } finally {
        connection.close();
      }
    }
  }

  /**
   * @param {string} party
   * @param {LogLine[]} lines
   * @param {Set<string>|null} starts the streams of which this connection has told something new; null: of the first one
   */
  _take(party, lines, starts) {
    if (!this.told.value?.has(party)) this.told.value = new Set([...this.told.value ?? [], party]);
    for (const line of lines) {
      const source = `${party} ${line.stream}`;
      const end = this._ends.get(source) ?? 0;
      const offset = Number(line.offset);
      let dropped = Number(line.dropped_bytes);
      if (starts) {
        if (offset < end) continue;
        // More was written meanwhile than is asked for.
        if (!starts.has(source)) dropped = Math.max(dropped, offset - end);
        starts.add(source);
      }
      this._ends.set(source, Number(line.end_offset));
      this._times.set(party, line.time || (this._times.get(party) ?? ''));
      this._add({ ...line, dropped_bytes: String(dropped), party, order: this._times.get(party) ?? '' });
    }
  }

  /** @param {LogLine & {party: string, order: string}} line */
  _add(line) {
    const source = `${line.party} ${line.stream}`;
    const before = this._unended.get(source);
    if (before && !Number(line.dropped_bytes)) {
      before.size += line.text.length;
      if (before.text.length < MOST_OF_LINE) before.text += line.text;
      if (!line.is_partial) this._unended.delete(source);
    } else {
      this._count += 1;
      const begun = { ...line, key: this._count, size: line.text.length };
      this._pending.push(begun);
      if (line.is_partial) this._unended.set(source, begun);
      else this._unended.delete(source);
    }
    if (!this._timer) this._timer = setTimeout(() => this._draw(), DRAW_MS);
  }

  /** Lines of several parties are put in the order of their times, where they have them. */
  _draw() {
    this._timer = 0;
    const several = this.what.parties.length > 1;
    const all = [...this.lines.value, ...this._pending];
    this._pending = [];
    if (several) all.sort(byTime);
    if (all.length > MOST_LINES) this.hasDropped.value = true;
    this.lines.value = all.slice(-MOST_LINES);
  }
}

/** @param {Party} party */
export function nameOf({ domain_id, role }) {
  return role ? `${domain_id}/${role}` : domain_id;
}

/** @param {Line} a @param {Line} b */
function byTime(a, b) {
  return compare(a.order, b.order) || a.key - b.key;
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
