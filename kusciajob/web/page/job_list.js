/** The jobs that pass a filter: pages from the newest on, kept up to date by a watch. Without a view, so tests can run it. */
import { batch, signal } from '../vendor/signals.js';
import { CallFailed, address, read } from './api.js';
import { meet } from './domains.js';
import { pause, watch } from './streams.js';

/** @typedef {import('./types.js').JobSummary} JobSummary */
/** @typedef {import('./types.js').JobEvent} JobEvent */
/** @typedef {import('../vendor/signals.js').Signal<JobSummary>} Row */

const PAGE_SIZE = '200';
/** A page may be short or empty: so many are asked for at a time. */
const MOST_PAGES = 5;
const RETRY_MS = 3_000;

export class JobList {
  /** @param {Record<string, string|string[]|undefined>} filter of ListJobs */
  constructor(filter) {
    this.filter = filter;
    /** Newest first. Each row is a signal of its own: a change draws one row again. */
    this.rows = signal(/** @type {Row[]} */ ([]));
    this.isLoading = signal(true);
    this.hasMore = signal(false);
    this.error = signal(/** @type {Error|null} */ (null));
    /** @type {Map<string, Row>} by the number of the job, which no other job ever has */
    this._byNumber = new Map();
    this._nextPage = '';
    /** @type {Map<string, JobEvent>|null} what was told while a page was fetched: the page may be older */
    this._meanwhile = null;
    this._abort = new AbortController();
  }

  /** Load the first page and follow from there, until `close`. */
  async open() {
    const { signal } = this._abort;
    while (!signal.aborted) {
      try {
        const page = await this._fetch('');
        batch(() => {
          this._byNumber.clear();
          this.rows.value = [];
          this._add(page);
          this.error.value = null;
          this.isLoading.value = false;
        });
        let ended = /** @type {Error|null} */ (null);
        await watch(this.filter, page.revision, {
          onEvent: (event) => this.apply(event),
          onGone: (error) => { ended = error; },
          signal,
        });
        // The log no longer reaches back: begin again. Anything else is for the person to see.
        if (ended instanceof CallFailed && ended.status !== 410) throw ended;
      } catch (error) {
        if (signal.aborted) return;
        batch(() => {
          this.error.value = /** @type {Error} */ (error);
          this.isLoading.value = false;
        });
        if (error instanceof CallFailed && error.status < 500 && error.status !== 429) return;
        await pause(RETRY_MS, signal);
      }
    }
  }

  close() {
    this._abort.abort();
  }

  /**
   * Whether it has the job of that number.
   * @param {string} number
   */
  has(number) {
    return this._byNumber.has(number);
  }

  /** Load older jobs, if there are any and none are being loaded. */
  async more() {
    if (!this._nextPage || this.isLoading.value) return;
    this.isLoading.value = true;
    this._meanwhile = new Map();
    try {
      for (let count = 0; count < MOST_PAGES && this._nextPage; count += 1) {
        const before = this._byNumber.size;
        this._add(await this._fetch(this._nextPage));
        if (this._byNumber.size > before) break;
      }
      const told = this._meanwhile;
      this._meanwhile = null;
      batch(() => { for (const event of told.values()) this.apply(event); });
    } catch (error) {
      if (!this._abort.signal.aborted) this.error.value = /** @type {Error} */ (error);
    } finally {
      this._meanwhile = null;
      this.isLoading.value = false;
    }
  }

  /**
   * Apply what a watch tells.
   * @param {JobEvent} event
   */
  apply({ type, job, revision }) {
    if (!job || type === 'TYPE_ERROR' || type === 'TYPE_BOOKMARK') return;
    this._meanwhile?.set(job.number, { type, job, revision });
    if (type === 'TYPE_DELETED' || type === 'TYPE_LEFT') this._remove(job.number);
    else this._put(job);
  }

  /** @param {string} pageToken */
  async _fetch(pageToken) {
    const where = address('/v1/jobs', { ...this.filter, page_size: PAGE_SIZE, page_token: pageToken });
    return /** @type {Promise<{jobs: JobSummary[], next_page_token: string, revision: string}>} */ (
      read(where, this._abort.signal)
    );
  }

  /** @param {{jobs: JobSummary[], next_page_token: string}} page */
  _add(page) {
    meet(page.jobs);
    const added = [];
    for (const job of page.jobs) {
      const known = this._byNumber.get(job.number);
      if (known) {
        refresh(known, job);
        continue;
      }
      const row = signal(job);
      this._byNumber.set(job.number, row);
      added.push(row);
    }
    this._nextPage = page.next_page_token;
    this.hasMore.value = Boolean(page.next_page_token);
    this.rows.value = merged(this.rows.value, added);
  }

  /** @param {JobSummary} job */
  _put(job) {
    const known = this._byNumber.get(job.number);
    if (known) {
      refresh(known, job);
      return;
    }
    const rows = this.rows.value;
    const oldest = rows.at(-1)?.peek();
    // What is older than all that is loaded comes with its page.
    if (this._nextPage && (!oldest || order(job, oldest) > 0)) return;
    const row = signal(job);
    meet([job]);
    this._byNumber.set(job.number, row);
    this.rows.value = merged([row], rows);
  }

  /** @param {string} number */
  _remove(number) {
    const row = this._byNumber.get(number);
    if (!row) return;
    this._byNumber.delete(number);
    this.rows.value = this.rows.value.filter((each) => each !== row);
  }
}

/**
 * @param {Row} row
 * @param {JobSummary} job
 */
function refresh(row, job) {
  if (BigInt(job.revision) >= BigInt(row.peek().revision)) row.value = job;
}

/**
 * Newest first.
 * @param {JobSummary} a
 * @param {JobSummary} b
 */
function order(a, b) {
  return Number(BigInt(b.number) - BigInt(a.number));
}

/**
 * Both in order, and nearly always the first before the second: then nothing is compared but their ends.
 * @param {Row[]} first
 * @param {Row[]} second
 */
function merged(first, second) {
  const rows = [...first, ...second];
  if (!first.length || !second.length || order(first[first.length - 1].peek(), second[0].peek()) < 0) return rows;
  return rows.sort((a, b) => order(a.peek(), b.peek()));
}
