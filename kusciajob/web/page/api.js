/** Calls of kusciajob.v1 over HTTP, with the token that the person gave, which is kept in memory only. */
import { signal } from '../vendor/signals.js';

/** The token in use; empty where the server asks for none. */
export const token = signal('');
/** Whether the server has refused a call for want of a token. */
export const needsToken = signal(false);

/** An answer that is no success; the text is the server's. */
export class CallFailed extends Error {
  /** @param {number} status @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {Record<string, string|string[]|undefined>} [fields] parameters; empty ones are left out
 */
export function address(path, fields = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each) query.append(name, each);
    }
  }
  return query.size ? `${path}?${query}` : path;
}

/**
 * Ask for a path. Throws CallFailed, or a TypeError where the server cannot be reached.
 * @param {string} where
 * @param {{accept?: string, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 */
export async function ask(where, { accept = 'application/json', headers = {}, signal } = {}) {
  /** @type {Record<string, string>} */
  const own = token.value ? { Token: token.value } : {};
  const response = await fetch(where, {
    headers: { Accept: accept, ...own, ...headers },
    credentials: 'omit',
    cache: 'no-store',
    signal,
  });
  if (response.ok) {
    needsToken.value = false;
    return response;
  }
  if (response.status === 401) needsToken.value = true;
  throw new CallFailed(response.status, await errorText(response));
}

/**
 * @template T
 * @param {string} where
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function read(where, signal) {
  return (await ask(where, { signal })).json();
}

/** @param {Response} response */
async function errorText(response) {
  const fallback = `HTTP ${response.status}`;
  try {
    const told = await response.json();
    return told.error?.message || told.status?.message || fallback;
  } catch {
    return fallback;
  }
}
