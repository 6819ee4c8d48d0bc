/** Times and durations as people read them. */
import { signal } from '../vendor/signals.js';
import { language, t } from './texts.js';

/** The present time in ms, told once a second. */
export const now = signal(Date.now());
setInterval(() => { if (!document.hidden) now.value = Date.now(); }, 1000);

/** @type {[number, Intl.RelativeTimeFormatUnit][]} */
const UNITS = [[86_400, 'day'], [3_600, 'hour'], [60, 'minute'], [1, 'second']];

/**
 * How long ago, in the person's language.
 * @param {string} time RFC 3339
 */
export function age(time) {
  const seconds = Math.max(0, (now.value - Date.parse(time)) / 1000);
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? UNITS[3];
  const format = new Intl.RelativeTimeFormat(language.value, { style: 'narrow', numeric: 'always' });
  return format.format(-Math.floor(seconds / size), unit);
}

/**
 * From one time to the other, or to now; empty where it has not begun.
 * @param {string|null} from
 * @param {string|null} to
 */
export function duration(from, to) {
  if (!from) return '';
  const milliseconds = Math.max(0, (to ? Date.parse(to) : now.value) - Date.parse(from));
  return to ? spanText(milliseconds) : spanText(Math.floor(milliseconds / 1000) * 1000);
}

/** @param {number} milliseconds */
export function spanText(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds > 0 && seconds < 1) return `${Math.round(milliseconds)} ms`;
  if (seconds >= 60 && seconds % 60 === 0 && seconds < 3_600) return `${seconds / 60} min`;
  if (seconds < 60) return `${seconds < 10 && !Number.isInteger(seconds) ? seconds.toFixed(1) : Math.floor(seconds)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}

/** @param {string|null} time RFC 3339 */
export function fullTime(time) {
  if (!time) return '';
  return new Intl.DateTimeFormat(language.value, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(time));
}

/** With the time zone. @param {string} time RFC 3339 */
export function zonedTime(time) {
  return new Intl.DateTimeFormat(language.value, {
    year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZoneName: 'short',
  }).format(new Date(time));
}

/**
 * What is said of a duration that is that of the last run only; empty where there was one.
 * @param {import('./types.js').JobSummary} job
 */
export function restartText({ restart_time, start_time }) {
  if (!restart_time) return '';
  const since = t('restarted', { time: zonedTime(restart_time) });
  return start_time ? `${since} ${t('restarted.first', { time: zonedTime(start_time) })}` : since;
}

/** With its milliseconds. @param {number|string} time in ms since the epoch, or RFC 3339 */
export function exactTime(time) {
  return `${day(time)} ${clockTime(time)}`;
}

/**
 * The days are told where they are two.
 * @param {number} from in ms since the epoch
 * @param {number|null} to null: not yet
 * @param {string} open what stands for `to` then
 */
export function rangeText(from, to, open) {
  if (to === null) return `${clockTime(from)} – ${open}`;
  return day(from) === day(to) ? `${clockTime(from)} – ${clockTime(to)}` : `${exactTime(from)} – ${exactTime(to)}`;
}

/** @param {number|string} time */
function day(time) {
  return new Intl.DateTimeFormat(language.value, { dateStyle: 'medium' }).format(new Date(time));
}

/** @param {number|string} time */
function clockTime(time) {
  return new Intl.DateTimeFormat(language.value, {
    hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hourCycle: 'h23',
  }).format(new Date(time));
}

/** As the person's language writes it. @param {number} value */
export function number(value) {
  return new Intl.NumberFormat(language.value).format(value);
}
