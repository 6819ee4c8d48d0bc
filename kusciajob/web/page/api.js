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
 * Ask for a path, or send it a body in JSON. Throws CallFailed, or a TypeError where the server cannot be reached.
 * @param {string} where
 * @param {{accept?: string, headers?: Record<string, string>, body?: object, signal?: AbortSignal}} [options]
 */
export async function ask(where, { accept = 'application/json', headers = {}, body, signal } = {}) {
  /** @type {Record<string, string>} */
  const own = token.value ? { Token: token.value } : {};
  if (body) own['Content-Type'] = 'application/json';
  const response = await fetch(where, {
    method: body ? 'POST' : 'GET',
    body: body && JSON.stringify(body),
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

/**
 * Make a call that takes a body. Of Kuscia's own calls, a refusal is an HTTP success whose status has a code.
 * @template T
 * @param {string} where
 * @param {object} body
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function send(where, body, signal) {
  const response = await ask(where, { body, signal });
  const told = await response.json();
  if (told.status?.code) throw new CallFailed(response.status, told.status.message);
  return told;
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
