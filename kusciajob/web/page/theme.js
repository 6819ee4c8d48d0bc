/** Light, dark, or as the system has it. */
import { effect, signal } from '../vendor/signals.js';
import { recall, remember } from './memory.js';

export const THEMES = ['system', 'light', 'dark'];

export const theme = signal(recall('theme', THEMES) ?? 'system');

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});

/** The next of them. */
export function turn() {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
  remember('theme', theme.value);
}
