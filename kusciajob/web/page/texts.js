/** The texts of the page in the person's language; each language is one file. */
import { computed, effect, signal } from '../vendor/signals.js';
import { en } from './en.js';
import { recall, remember } from './memory.js';
import { zh } from './zh.js';

/** @type {Record<string, Record<keyof typeof en, string>>} */
const LANGUAGES = { en, zh };

/** What there is, by code, each named in itself. */
export const NAMES = { en: 'English', zh: '中文' };

const preferred = navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';

/** The code of the language in use. */
export const language = signal(recall('language', Object.keys(NAMES)) ?? preferred);

const texts = computed(() => LANGUAGES[language.value]);

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-Hans' : 'en';
});

/** @param {keyof typeof NAMES} code */
export function choose(code) {
  remember('language', code);
  language.value = code;
}

/**
 * A text, with `{name}` replaced by the value of that name. `one job|{count} jobs`: the first is for a count of 1.
 * @param {keyof typeof en} key
 * @param {Record<string, string|number>} [values]
 */
export function t(key, values = {}) {
  const [one, many = one] = texts.value[key].split('|');
  return (String(values.count) === '1' ? one : many).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** @param {string} state */
export function stateName(state) {
  const key = /** @type {keyof typeof en} */ (`state.${state}`);
  return key in en ? t(key) : state;
}
