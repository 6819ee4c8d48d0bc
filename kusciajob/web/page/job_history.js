/** What happened to a job, in order, page by page, and on from there as it goes on. Without a view, so tests can run it. */
import { batch, signal } from '../vendor/signals.js';
import { CallFailed, address, read } from './api.js';
import { pause } from './streams.js';

/** @typedef {import('./types.js').HistoryEntry} HistoryEntry */

const PAGE_SIZE = '200';
const RETRY_MS = 3_000;

export class JobHistory {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    /** Oldest first. */
    this.entries = signal(/** @type {HistoryEntry[]} */ ([]));
    this.isLoading = signal(true);
    this.error = signal(/** @type {Error|null} */ (null));
    /** The pages that are over, and where the last one begins, which is read again. */
    this._before = /** @type {HistoryEntry[]} */ ([]);
    this._token = '';
    this._isStale = false;
    this._isReading = false;
    this._abort = new AbortController();
  }

  /** Read what there is; called again, what came since then. */
  async readOn() {
    this._isStale = true;
    if (this._isReading) return;
    this._isReading = true;
    const { signal } = this._abort;
    while (this._isStale && !signal.aborted) {
      this._isStale = false;
      try {
        await this._readPages();
      } catch (error) {
        if (signal.aborted) return;
        batch(() => {
          this.error.value = /** @type {Error} */ (error);
          this.isLoading.value = false;
        });
        if (error instanceof CallFailed && error.status < 500 && error.status !== 429) break;
        this._isStale = true;
        await pause(RETRY_MS, signal);
      }
    }
    this._isReading = false;
  }

  close() {
    this._abort.abort();
  }

  /** Up to the last page. It is read again later: more may be on it by then. */
  async _readPages() {
    for (;;) {
      const where = address(`/v1/jobs/${encodeURIComponent(this.id)}/history`, { page_size: PAGE_SIZE, page_token: this._token });
      /** @type {{entries: HistoryEntry[], next_page_token: string}} */
      const page = await read(where, this._abort.signal);
      const entries = [...this._before, ...page.entries];
      batch(() => {
        this.entries.value = entries;
        this.error.value = null;
        this.isLoading.value = Boolean(page.next_page_token);
      });
      if (!page.next_page_token) return;
      this._before = entries;
      this._token = page.next_page_token;
    }
  }
}
