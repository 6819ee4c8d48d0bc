/** A job file that is being written: the server reads and judges it as it changes. Without a view. */
import { batch, signal } from '../vendor/signals.js';
import { CallFailed, read, send } from './api.js';

/**
 * @typedef {{job: {job_id: string}}} Request of SubmitJob
 * @typedef {import('./types.js').JobSummary} JobSummary
 * @typedef {{field: string, description: string, line: number, column: number}} Problem
 * @typedef {{domain_id: string, role: string, containers: {command: string[], args: string[]}[]}} PartyPreview
 * @typedef {{alias: string, parties: PartyPreview[]}} Preview
 * @typedef {object} Verdict
 * @property {Problem[]} problems
 * @property {Problem[]} ignored
 * @property {{aliases: string[]}[]} waves
 * @property {Preview[]} tasks
 * @property {Request|null} request what the file asks for
 */

/** The server takes no larger file. */
export const MOST_BYTES = 4 * 1024 * 1024;
const TYPING_MS = 350;
const LONGEST_ID = 63;
const MOST_TRIED = 100;

export class Draft {
  constructor() {
    this.text = signal('');
    /** Of the present text; null while it is not known. */
    this.verdict = signal(/** @type {Verdict|null} */ (null));
    /** The job that the present text asks for, where it was there before. */
    this.existing = signal(/** @type {JobSummary|null} */ (null));
    this.isBusy = signal(false);
    this.error = signal(/** @type {Error|null} */ (null));
    this._timer = 0;
    this._abort = new AbortController();
  }

  /** @param {string} text */
  write(text) {
    this._abort.abort();
    clearTimeout(this._timer);
    batch(() => {
      this.text.value = text;
      this.verdict.value = null;
      this.existing.value = null;
      this.error.value = null;
      this.isBusy.value = Boolean(text.trim());
    });
    if (text.trim()) this._timer = setTimeout(() => this.check(), TYPING_MS);
  }

  /** Have the present text judged. */
  async check() {
    clearTimeout(this._timer); // a check that comes later would take the verdict away from whoever is about to submit
    this._abort.abort();
    this._abort = new AbortController();
    const { signal } = this._abort;
    this.isBusy.value = true;
    try {
      const verdict = await send('/v1/jobs:validate', { file: this.text.value }, signal);
      if (signal.aborted) return;
      batch(() => {
        this.verdict.value = /** @type {Verdict} */ (verdict);
        this.error.value = null;
        this.isBusy.value = false;
      });
    } catch (error) {
      if (!signal.aborted) this._fail(error);
    }
  }

  /**
   * Create the job.
   * @param {{isFresh?: boolean}} [how] `isFresh`: under an id that no job has
   * @returns {Promise<string>} its id; empty where it was refused, `error` says why, or where it is there, see `existing`
   */
  async submit({ isFresh = false } = {}) {
    const wanted = this.verdict.value?.request;
    if (!wanted) return '';
    this.isBusy.value = true;
    try {
      const request = isFresh ? { ...wanted, job: { ...wanted.job, job_id: await freshId(wanted.job.job_id) } } : wanted;
      const before = await find(request.job.job_id);
      // The server takes a job that is there for the same call once more: it answers with that job, and starts nothing.
      /** @type {{job: JobSummary}} */
      const { job } = await send('/v1/jobs', request);
      if (job.number === before?.number) {
        batch(() => {
          this.existing.value = job;
          this.isBusy.value = false;
        });
        return '';
      }
      this.write('');
      return job.job_id;
    } catch (error) {
      this._fail(error);
      return '';
    }
  }

  /** @param {unknown} error */
  _fail(error) {
    batch(() => {
      this.error.value = /** @type {Error} */ (error);
      this.isBusy.value = false;
    });
  }
}

/** What is written stays while other views are shown. */
export const draft = new Draft();

/**
 * The job of that id; null where there is none that the caller may see.
 * @param {string} id
 * @returns {Promise<JobSummary|null>}
 */
async function find(id) {
  try {
    /** @type {{job: import('./types.js').Job}} */
    const { job } = await read(`/v1/jobs/${encodeURIComponent(id)}`);
    return job.summary;
  } catch (error) {
    if (error instanceof CallFailed && (error.status === 404 || error.status === 403)) return null;
    throw error;
  }
}

/**
 * An id like that one which no job has, as far as the caller may know: `train`, `train-2`, `train-3`.
 * @param {string} id
 */
async function freshId(id) {
  const [, base, last = '1'] = /** @type {RegExpExecArray} */ (/^(.*?)(?:-([1-9]\d{0,3}))?$/s.exec(id));
  let fresh = id;
  for (let number = Number(last) + 1; number <= Number(last) + MOST_TRIED; number += 1) {
    fresh = `${base.slice(0, LONGEST_ID - 1 - String(number).length)}-${number}`;
    if (!await find(fresh)) break;
  }
  return fresh;
}
