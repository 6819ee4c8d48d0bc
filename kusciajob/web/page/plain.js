/** Texts from jobs and programs, made harmless for the eye: nothing in them moves the cursor or turns the text around. */

// eslint-disable-next-line no-control-regex
const ESCAPE_SEQUENCE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]/g;

/**
 * The text without escape sequences; other control and direction characters become a sign that can be seen.
 * @param {string} text
 */
export function plain(text) {
  return text.replace(ESCAPE_SEQUENCE, '').replace(CONTROL, '\ufffd');
}

/**
 * @param {string} text
 * @param {number} [most] characters
 */
export function firstLine(text, most = 300) {
  const line = plain(text.slice(0, most * 4)).split('\n', 1)[0];
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
