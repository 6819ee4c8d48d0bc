/** One job, whole and up to date: read again when a watch tells that it has changed. */
import { batch, signal } from '../vendor/signals.js';
import { CallFailed, read } from './api.js';
import { pause, watch } from './streams.js';

/** A job that changes often is read at most this often. */
const LEAST_INTERVAL_MS = 250;
const RETRY_MS = 3_000;

export class OpenJob {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.job = signal(/** @type {import('./types.js').Job|null} */ (null));
    this.error = signal(/** @type {Error|null} */ (null));
    this.isDeleted = signal(false);
    this._abort = new AbortController();
    this._isReading = false;
    this._isStale = false;
  }

  /** Read it and follow it, until `close`. */
  async open() {
    const { signal } = this._abort;
    while (!signal.aborted) {
      try {
        const job = await this._read();
        let ended = /** @type {Error|null} */ (null);
        await watch({ job_ids: this.id }, job.summary.revision, {
          onEvent: (event) => this._note(event),
          onGone: (error) => { ended = error; },
          signal,
        });
        if (ended instanceof CallFailed && ended.status !== 410) throw ended;
        // The log no longer reaches back to the job's last change: its present state is what counts.
        if (!signal.aborted) await this._follow();
      } catch (error) {
        if (signal.aborted) return;
        this.error.value = /** @type {Error} */ (error);
        if (error instanceof CallFailed && error.status < 500 && error.status !== 429) return;
        await pause(RETRY_MS, signal);
      }
    }
  }

  close() {
    this._abort.abort();
  }

  /** Follow from the server's present revision. */
  async _follow() {
    const { signal } = this._abort;
    const { revision } = await read('/v1/server', signal);
    await this._read();
    let ended = /** @type {Error|null} */ (null);
    await watch({ job_ids: this.id }, revision, {
      onEvent: (event) => this._note(event),
      onGone: (error) => { ended = error; },
      signal,
    });
    if (ended instanceof CallFailed && ended.status !== 410) throw ended;
  }

  /** @param {import('./types.js').JobEvent} event */
  _note({ type, job }) {
    if (!job) return;
    if (type === 'TYPE_DELETED') {
      if (job.number === this.job.value?.summary.number) this.isDeleted.value = true;
      return;
    }
    this._isStale = true;
    this._readAgain();
  }

  async _readAgain() {
    if (this._isReading) return;
    this._isReading = true;
    const { signal } = this._abort;
    while (this._isStale && !signal.aborted) {
      this._isStale = false;
      try {
        await this._read();
        await pause(LEAST_INTERVAL_MS, signal);
      } catch (error) {
        if (error instanceof CallFailed && error.status === 404) break; // its deletion is told
        this._isStale = true;
        await pause(RETRY_MS, signal);
      }
    }
    this._isReading = false;
  }

  async _read() {
    /** @type {{job: import('./types.js').Job}} */
    const { job } = await read(`/v1/jobs/${encodeURIComponent(this.id)}`, this._abort.signal);
    batch(() => {
      this.job.value = job;
      this.error.value = null;
      this.isDeleted.value = false;
    });
    return job;
  }
}
