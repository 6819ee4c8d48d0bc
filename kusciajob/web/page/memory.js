/** Choices of the person that outlast the tab: no more than language and theme. */

/**
 * @param {string} name
 * @param {string[]} possible
 * @returns {string|null} null where nothing, or nothing possible, is remembered
 */
export function recall(name, possible) {
  try {
    const value = localStorage.getItem(`kusciajob.${name}`);
    return value !== null && possible.includes(value) ? value : null;
  } catch { // storage can be forbidden
    return null;
  }
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`kusciajob.${name}`, value);
  } catch {
    // Then it holds for this tab.
  }
}
