/** What the server's runtime means for what is offered. */
import { signal } from '../vendor/signals.js';
import { useEffect } from '../vendor/preact-hooks.js';
import { read } from './api.js';

/** Its name; empty while it is not known. */
const runtime = signal('');

/** Whether programs run, so that there can be output; null while it is not known. */
export function useOutput() {
  useEffect(() => {
    if (runtime.peek()) return;
    read('/v1/server').then((/** @type {any} */ told) => { runtime.value = told.runtime; }, () => {}); // the views tell what fails
  }, []);
  return runtime.value ? runtime.value !== 'simulated' : null;
}
