/** The sign and name of a state. The sign differs in form, so that nobody needs to tell colours apart. */
import { html } from './html.js';
import { stateName } from './texts.js';

/** @type {Record<string, string>} */
export const SIGNS = {
  Pending: '○',
  Running: '▶',
  Succeeded: '✓',
  Failed: '✕',
  AwaitingApproval: '?',
  ApprovalReject: '!',
  Cancelled: '⊘',
  Suspended: '‖',
};

/** @param {{state: string}} props */
export function StateBadge({ state }) {
  return html`<span class="badge state-${state}"><span class="sign" aria-hidden="true">${SIGNS[state] ?? '·'}</span>${stateName(state)}</span>`;
}
