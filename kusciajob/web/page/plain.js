/** Texts from jobs and programs, made harmless for the eye: nothing in them moves the cursor or turns the text around. */

// eslint-disable-next-line no-control-regex
const ESCAPE_SEQUENCE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
/** As in cli/terminal.py: what controls, turns a line around, or cannot be seen. */
// eslint-disable-next-line no-misleading-character-class
export const HOSTILE = new RegExp(`[${[
  '\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f',
  '\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\ud800-\\udfff\\u{13430}-\\u{1345f}\\u{1bca0}-\\u{1bca3}',
  '\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}',
].join('')}]`, 'gu');

/**
 * The text without escape sequences; what else would act, or hide, becomes a sign that can be seen. Line breaks and tabs stay.
 * @param {string} text
 */
export function plain(text) {
  return text.replace(ESCAPE_SEQUENCE, '').replace(HOSTILE, '\ufffd');
}

/**
 * @param {string} text
 * @param {number} [most] characters
 */
export function firstLine(text, most = 300) {
  const line = plain(text.slice(0, most * 4)).split('\n', 1)[0];
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
