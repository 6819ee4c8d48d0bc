/** What the parties of a task wrote, line by line, followed while it runs. */
import { signal } from '../vendor/signals.js';
import { CallFailed, address, ask } from './api.js';
import { linesOf, pause } from './streams.js';

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
const TAIL_LINES = '5000';
const DRAW_MS = 100;
const RETRY_MS = 1_500;

export class TaskLog {
  /**
   * @param {{taskId: string, parties: Party[], attempt: number, stream: string}} what attempt 0: the newest;
   *   stream empty: both
   */
  constructor(what) {
    this.what = what;
    this.lines = signal(/** @type {Line[]} */ ([]));
    this.hasDropped = signal(false);
    /** What the server refused, by party. */
    this.refused = signal(/** @type {Record<string, string>} */ ({}));
    this._pending = /** @type {Line[]} */ ([]);
    /** The last line of each party's streams, while its end has not come. @type {Map<string, Line>} */
    this._unended = new Map();
    this._count = 0;
    this._abort = new AbortController();
    this._timer = 0;
  }

  open() {
    for (const party of this.what.parties) this._follow(party);
  }

  close() {
    this._abort.abort();
    clearTimeout(this._timer);
  }

  /** @param {Party} party */
  async _follow(party) {
    const name = nameOf(party);
    const { signal } = this._abort;
    /** How far each stream was read, so that nothing is shown twice after a lost connection. */
    const ends = new Map();
    let isAgain = false;
    let time = '';
    while (!signal.aborted) {
      try {
        const where = address(`/v1/tasks/${encodeURIComponent(this.what.taskId)}/log`, {
          ...party,
          attempt: this.what.attempt ? String(this.what.attempt) : '',
          stream: this.what.stream,
          tail_lines: TAIL_LINES,
          follow: 'true',
        });
        for await (const line of linesOf(await ask(where, { accept: 'application/x-ndjson', signal }))) {
          if (!line) continue;
          const told = JSON.parse(line);
          if (told.error) throw new CallFailed(told.error.code, told.error.message);
          for (const each of told.lines) {
            if (isAgain && Number(each.offset) < (ends.get(each.stream) ?? 0)) continue;
            ends.set(each.stream, Number(each.end_offset));
            time = each.time || time;
            this._add({ ...each, party: name, order: time });
          }
        }
        return; // the attempt has ended
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof CallFailed && error.status < 500 && error.status !== 429) {
          this.refused.value = { ...this.refused.value, [name]: error.message };
          return;
        }
        isAgain = true;
        await pause(RETRY_MS, signal);
      }
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

/** The lines of several logs in the order of their times. @param {Line[][]} logs */
export function merged(logs) {
  return logs.length > 1 ? logs.flat().sort(byTime) : logs.flat();
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
