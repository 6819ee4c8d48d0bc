/** Where the focus is: with the heading of a view that was opened, then back where it was before. */
import { useLayoutEffect, useRef } from '../vendor/preact-hooks.js';
import { place } from './place.js';

/** Whether a view was opened from another: who has just loaded the page begins at its top, as everywhere. */
let hasMoved = false;
/** The id of the job whose row gets the focus once it is there. */
let awaited = '';

/** Give the focus to the heading of the present view. */
export function focusHeading() {
  const heading = /** @type {HTMLElement|null} */ (document.querySelector('main h1'));
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/** Whether nobody has the focus, such as after the one who had it has gone. */
function isLost() {
  return document.activeElement === document.body || document.activeElement === null;
}

/** For what surrounds the views. @param {string} id of the job that is shown; empty: another view @param {string} show which */
export function useOpenedView(id, show) {
  const before = useRef(/** @type {string|null} */ (null));
  useLayoutEffect(() => {
    const left = before.current;
    before.current = id;
    if (left === null) return;
    hasMoved = true;
    awaited = id || show ? '' : left;
    focusHeading();
  }, [id, show]);
}

/** For a view whose heading comes anew once it has loaded. @param {boolean} isLoaded */
export function useLoadedHeading(isLoaded) {
  useLayoutEffect(() => { if (isLoaded && hasMoved && isLost()) focusHeading(); }, [isLoaded]);
}

/** The id of the job that was shown before, while its row is to get the focus; empty: none is. */
export function awaitedRow() {
  const isWith = isLost() || document.activeElement?.matches('main h1');
  return isWith ? awaited : '';
}

/** For a row. @param {string} id of its job @param {{current: HTMLElement|null}} link */
export function useAwaited(id, link) {
  useLayoutEffect(() => {
    if (awaitedRow() !== id) return;
    awaited = '';
    link.current?.focus();
  }, []);
}

/**
 * For buttons of which those vanish that mean nothing any more: the heading gets the focus of one that does.
 * @param {{current: HTMLElement|null}} group
 * @param {string} shown what changes with them
 */
export function useKeptFocus(group, shown) {
  const hadIt = useRef(false);
  useLayoutEffect(() => {
    if (hadIt.current && isLost()) focusHeading();
    const note = () => { hadIt.current = Boolean(group.current?.contains(document.activeElement)); };
    document.addEventListener('focusin', note);
    return () => document.removeEventListener('focusin', note);
  }, [shown, place.value]);
}
