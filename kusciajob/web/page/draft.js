/** A job file that is being written: the server reads and judges it as it changes. Without a view. */
import { batch, signal } from '../vendor/signals.js';
import { send } from './api.js';

/**
 * @typedef {{field: string, description: string, line: number, column: number}} Problem
 * @typedef {{domain_id: string, role: string, containers: {command: string[], args: string[]}[]}} PartyPreview
 * @typedef {{alias: string, parties: PartyPreview[]}} Preview
 * @typedef {object} Verdict
 * @property {Problem[]} problems
 * @property {Problem[]} ignored
 * @property {{aliases: string[]}[]} waves
 * @property {Preview[]} tasks
 * @property {{job: {job_id: string}}|null} request what the file asks for
 */

/** The server takes no larger file. */
export const MOST_BYTES = 4 * 1024 * 1024;
const TYPING_MS = 350;

export class Draft {
  constructor() {
    this.text = signal('');
    /** Of the present text; null while it is not known. */
    this.verdict = signal(/** @type {Verdict|null} */ (null));
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
      this.error.value = null;
      this.isBusy.value = Boolean(text.trim());
    });
    if (text.trim()) this._timer = setTimeout(() => this.check(), TYPING_MS);
  }

  /** Have the present text judged. */
  async check() {
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
   * @returns {Promise<string>} its id; empty where it was refused, `error` says why
   */
  async submit() {
    const request = this.verdict.value?.request;
    if (!request) return '';
    this.isBusy.value = true;
    try {
      /** @type {{job: {job_id: string}}} */
      const { job } = await send('/v1/jobs', request);
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
