/** Where the person is: the query of the address bar. So every view, with its filters, can be bookmarked. */
import { computed, signal } from '../vendor/signals.js';

const query = signal(location.search);

/** The parameters of the present view. */
export const place = computed(() => new URLSearchParams(query.value));

addEventListener('popstate', () => { query.value = location.search; });

/**
 * The address of a view.
 * @param {Record<string, string|string[]|undefined|null>} fields empty ones are left out
 */
export function hrefOf(fields) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const each of Array.isArray(value) ? value : [value]) if (each) params.append(name, each);
  }
  return params.size ? `?${params}` : location.pathname;
}

/**
 * The present parameters, but for these.
 * @param {Record<string, string|string[]|undefined|null>} changes
 */
export function hrefWith(changes) {
  /** @type {Record<string, string[]>} */
  const fields = {};
  for (const name of new Set(place.value.keys())) fields[name] = place.value.getAll(name);
  return hrefOf({ ...fields, ...changes });
}

/**
 * Go there.
 * @param {string} href
 * @param {{replace?: boolean}} [how] `replace`: without a step for the back button
 */
export function go(href, { replace = false } = {}) {
  if (replace) history.replaceState(null, '', href);
  else history.pushState(null, '', href);
  query.value = location.search;
  if (!replace) scrollTo(0, 0);
}

/** Follow links to views without loading the page again. */
export function followLinks() {
  document.addEventListener('click', (event) => {
    const target = /** @type {Element} */ (event.target);
    const link = /** @type {HTMLAnchorElement|null} */ (target.closest('a[href]'));
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || link.target || link.download || link.origin !== location.origin) return;
    if (link.pathname !== location.pathname) return;
    event.preventDefault();
    go(link.search || link.pathname);
  });
}
