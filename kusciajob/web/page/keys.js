/** The keyboard: single keys that act where nobody is typing. */
import { signal } from '../vendor/signals.js';
import { useEffect, useRef } from '../vendor/preact-hooks.js';
import { html } from './html.js';
import { t } from './texts.js';
import { turn } from './theme.js';
import { go } from './place.js';

export const isHelpOpen = signal(false);

/**
 * Let keys act while a view is shown.
 * @param {Record<string, (event: KeyboardEvent) => void>} actions by key
 */
export function useKeys(actions) {
  const present = useRef(actions);
  present.current = actions;
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const act = (event) => {
      const action = present.current[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
      event.preventDefault();
      action(event);
    };
    document.addEventListener('keydown', act);
    return () => document.removeEventListener('keydown', act);
  }, []);
}

/** @param {KeyboardEvent} event */
function isTyping(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  const isText = ['SELECT', 'TEXTAREA'].includes(target.tagName) || (target.tagName === 'INPUT' && !target.matches('[type=checkbox]'));
  return isText || target.isContentEditable || document.querySelector('dialog[open]') !== null;
}

/**
 * Move the focus among the elements that fit.
 * @param {string} selector
 * @param {1|-1} step
 */
export function moveFocus(selector, step) {
  const all = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(selector)]);
  const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = at < 0 ? all[step > 0 ? 0 : all.length - 1] : all[at + step];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

export function KeyHelp() {
  const dialog = useRef(/** @type {HTMLDialogElement|null} */ (null));
  useKeys({
    '?': () => { isHelpOpen.value = true; },
    t: turn,
    h: () => go(location.pathname),
  });
  useEffect(() => {
    if (isHelpOpen.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [isHelpOpen.value]);
  const close = () => { isHelpOpen.value = false; };
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="keys-title">
    <h2 id="keys-title">${t('keys.title')}</h2>
    <dl class="keys">
      <dt><kbd>/</kbd></dt><dd>${t('keys.find')}</dd>
      <dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>${t('keys.rows')}</dd>
      <dt><kbd>Enter</kbd></dt><dd>${t('keys.open')}</dd>
      <dt><kbd>h</kbd></dt><dd>${t('keys.jobs')}</dd>
      <dt><kbd>x</kbd></dt><dd>${t('keys.choose')}</dd>
      <dt><kbd>n</kbd></dt><dd>${t('keys.submit')}</dd>
      <dt><kbd>s</kbd></dt><dd>${t('keys.server')}</dd>
      <dt><kbd>1</kbd> … <kbd>6</kbd></dt><dd>${t('keys.views')}</dd>
      <dt><kbd>f</kbd></dt><dd>${t('keys.fold')}</dd>
      <dt><kbd>t</kbd></dt><dd>${t('keys.theme')}</dd>
      <dt><kbd>?</kbd></dt><dd>${t('keys.help')}</dd>
    </dl>
    <button type="button" class="main" onClick=${close}>${t('keys.close')}</button>
  </dialog>`;
}
