/** Streams of the server: lines, server-sent events, and a watch that connects again without a hole or a repeat. */
import { signal } from '../vendor/signals.js';
import { CallFailed, address, ask } from './api.js';

/** How many watches are without a connection at present. */
export const lost = signal(0);

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 5_000;
/** The server says something every 10 s. */
const SILENCE_MS = 25_000;

/**
 * The lines of a response, without their ends.
 * @param {Response} response
 * @param {() => void} [note] called for whatever comes
 * @returns {AsyncGenerator<string>}
 */
export async function* linesOf(response, note = () => {}) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let parts = /** @type {string[]} */ ([]);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      note();
      const [first, ...others] = decoder.decode(value, { stream: true }).split('\n');
      parts.push(first);
      for (const next of others) {
        yield parts.join('');
        parts = [next];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * @typedef {{event: string, id: string, data: string}} SentEvent
 * @param {AsyncIterable<string>} lines
 * @returns {AsyncGenerator<SentEvent>}
 */
export async function* eventsOf(lines) {
  let id = '';
  let event = 'message';
  let data = '';
  for await (const line of lines) {
    if (line === '') {
      if (data) yield { event, id, data };
      event = 'message';
      data = '';
      continue;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'id') id = value;
    else if (name === 'event') event = value;
    else if (name === 'data') data = data ? `${data}\n${value}` : value;
  }
}

/**
 * For one connection: its signal is aborted with the other, by `close`, and once nobody sees the tab. A browser opens
 * six connections to a server, for all of its tabs: streams of those that are out of sight would starve the others.
 * @param {AbortSignal} signal
 */
export function connectionFor(signal) {
  const connection = new AbortController();
  const close = () => {
    signal.removeEventListener('abort', close);
    document.removeEventListener('visibilitychange', look);
    connection.abort();
  };
  const look = () => { if (document.hidden) close(); };
  signal.addEventListener('abort', close);
  document.addEventListener('visibilitychange', look);
  return { signal: connection.signal, close };
}

/**
 * Wait until somebody sees the tab.
 * @param {AbortSignal} signal ends it early
 */
export function inSight(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', look);
      signal.removeEventListener('abort', look);
      resolve(undefined);
    };
    document.addEventListener('visibilitychange', look);
    signal.addEventListener('abort', look);
  });
}

/**
 * Watch jobs until `signal` is aborted. What is told is in order and whole, over lost connections too, and over times in
 * which nobody sees the tab: then it has no connection.
 * @param {Record<string, string|string[]|undefined>} filter
 * @param {string} revision what was known already
 * @param {{onEvent: (event: import('./types.js').JobEvent) => void, onGone: (error: Error) => void, signal: AbortSignal}} to
 *   `onGone`: the server no longer knows what came after the revision, or refuses the watch
 */
export async function watch(filter, revision, { onEvent, onGone, signal }) {
  let last = revision;
  let wait = FIRST_WAIT_MS;
  let isLost = false;
  /** @param {boolean} now */
  const setLost = (now) => {
    if (now !== isLost) lost.value += now ? 1 : -1;
    isLost = now;
  };
  try {
    while (!signal.aborted) {
      await inSight(signal);
      if (signal.aborted) return;
      const connection = connectionFor(signal);
      let silence = setTimeout(connection.close, SILENCE_MS);
      const note = () => {
        clearTimeout(silence);
        silence = setTimeout(connection.close, SILENCE_MS);
      };
      try {
        const where = address('/v1/jobs:watch', { ...filter, after_revision: last });
        const response = await ask(where, { accept: 'text/event-stream', signal: connection.signal });
        setLost(false);
        wait = FIRST_WAIT_MS;
        for await (const sent of eventsOf(linesOf(response, note))) {
          if (sent.event === 'end' || sent.event === 'broken') break;
          if (sent.id) last = sent.id;
          onEvent(JSON.parse(sent.data));
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof CallFailed && error.status >= 400 && error.status < 500 && error.status !== 429) {
          onGone(error);
          return;
        }
      } finally {
        clearTimeout(silence);
        connection.close();
      }
      if (signal.aborted) return;
      if (document.hidden) continue;
      setLost(true);
      await pause(wait * (0.75 + Math.random() / 2), signal);
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    }
  } finally {
    setLost(false);
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal ends it early
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(undefined); }, { once: true });
  });
}
