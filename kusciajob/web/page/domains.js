/** The domains that the person has met in lists: what is suggested for a filter that takes whole names. */
import { signal } from '../vendor/signals.js';
import { read } from './api.js';

const MOST = 200;
const MOST_MEANT = 3;

/** In the order of the alphabet. */
export const domains = signal(/** @type {string[]} */ ([]));

/** @param {{initiator: string, parties: string[]}[]} jobs */
export function meet(jobs) {
  const known = new Set(domains.peek());
  const before = known.size;
  for (const { initiator, parties } of jobs) for (const name of [initiator, ...parties]) if (known.size < MOST) known.add(name);
  if (known.size > before) domains.value = [...known].sort();
}

/** Learn those of the newest jobs, where a filter lets none through. */
export async function learn() {
  try {
    /** @type {{jobs: import('./types.js').JobSummary[]}} */
    const { jobs } = await read('/v1/jobs?page_size=200');
    meet(jobs);
  } catch {
    // They are a help only: what fails is told where it matters.
  }
}

/**
 * The names that a text may be meant for, of which it is none.
 * @param {string} text
 * @param {string[]} known
 */
export function meant(text, known) {
  const part = text.toLowerCase();
  return known.filter((name) => name.toLowerCase().includes(part)).slice(0, MOST_MEANT);
}
