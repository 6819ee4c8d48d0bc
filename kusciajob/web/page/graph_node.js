/** A task, or several that are folded, in the graph; and what is told of it while one points at it. */
import { countsOf, stateOf } from './fold.js';
import { html } from './html.js';
import { NODE_HEIGHT, NODE_WIDTH } from './layout.js';
import { UNSTARTED_SIGN, taskStateName, whyNotStarted } from './not_started.js';
import { firstLine } from './plain.js';
import { SIGNS } from './state.js';
import { stateName, t } from './texts.js';
import { duration } from './time.js';

/**
 * @typedef {import('./types.js').Job} Job
 * @typedef {import('./types.js').Task} Task
 * @typedef {import('./fold.js').Group} Group
 */

/** A text of a node that is longer is cut. */
const NODE_CHARACTERS = 20;
const HINT_CHARACTERS = 400;
/** Of the sign that says how many are folded. */
const COUNT_WIDTH = 78;

/**
 * @param {{job: Job, group: Group, x: number, y: number, isTolerable: boolean, isCritical: boolean, isFaint: boolean,
 *   isSelected: boolean, canFold: boolean, onClick: () => void, onFold: () => void,
 *   onKeyDown: (event: KeyboardEvent) => void, onPoint: (is: boolean) => void}} props
 */
export function Node({ job, group, x, y, isTolerable, isCritical, isFaint, isSelected, canFold, onClick, onFold, onKeyDown, onPoint }) {
  const { members, kind } = group;
  const isStack = members.length > 1;
  const [task] = members;
  const isUnstarted = !isStack && whyNotStarted(job, task) !== '';
  const state = isUnstarted ? 'Pending' : stateOf(members);
  const classes = ['node', `state-${state}`, isStack && 'is-stack', isTolerable && 'is-tolerable', isCritical && 'is-critical',
    isFaint && 'is-faint', isSelected && 'is-selected'].filter(Boolean).join(' ');
  const progress = !isStack && task.state === 'Running' ? task.progress : 0;
  const name = shortened(kind === 'task' || kind === 'branch' ? task.alias : t('graph.tasks', { count: members.length }));
  const below = isStack ? countsText(group) : timeText(job, task);
  /** @param {Event} event */
  const toggle = (event) => {
    event.stopPropagation();
    onFold();
  };
  return html`<g class=${classes} data-alias=${group.id} transform="translate(${x - NODE_WIDTH / 2} ${y - NODE_HEIGHT / 2})"
    tabindex="0" role="button" aria-pressed=${isSelected ? 'true' : 'false'} aria-label=${`${name} ${below}. ${moreSpoken(group)}`}
    onClick=${onClick} onKeyDown=${onKeyDown} onFocus=${() => onPoint(true)} onBlur=${() => onPoint(false)}
    onPointerEnter=${() => onPoint(true)} onPointerLeave=${() => onPoint(false)}>
    ${isStack && html`<rect class="box behind" x="6" y="6" width=${NODE_WIDTH} height=${NODE_HEIGHT} rx="8" />`}
    <rect class="box" width=${NODE_WIDTH} height=${NODE_HEIGHT} rx="8" />
    <text class="sign" x="20" y="32">${isUnstarted ? UNSTARTED_SIGN : SIGNS[state] ?? '·'}</text>${' '}
    <text class="name" x="38" y="22">${name}</text>${' '}
    <text class="below" x="38" y="39">${below}</text>
    ${progress > 0 && html`<rect class="done" y=${NODE_HEIGHT - 4} width=${NODE_WIDTH * progress} height="4" rx="2" />`}
    ${kind === 'branch' && html`<g class="count" transform="translate(${NODE_WIDTH - 8} 0)"><rect x=${-COUNT_WIDTH} y="-9" width=${COUNT_WIDTH} height="18" rx="9" />
      <text x=${-COUNT_WIDTH / 2} y="4">${t('graph.folded', { count: members.length - 1 })}</text></g>`}
    ${canFold && html`<g class="fold ${isStack ? 'is-on' : ''}" aria-hidden="true" transform="translate(${NODE_WIDTH} ${NODE_HEIGHT / 2})" onClick=${toggle}>
      <circle r="10" /><text y="4.5">${isStack ? '+' : '−'}</text></g>`}
  </g>`;
}

/** How many of a group are in each state. @param {Group} group */
function countsText({ members }) {
  return countsOf(members).map(([state, count]) => `${SIGNS[state] ?? '·'} ${count}`).join('  ');
}

/** @param {Job} job @param {Task} task */
function timeText(job, task) {
  const last = task.attempts.at(-1);
  const time = duration(last?.start_time ?? null, last?.end_time ?? null);
  return [taskStateName(job, task), time].filter(Boolean).join(' · ');
}

/** @param {string} text */
function shortened(text) {
  return text.length > NODE_CHARACTERS ? `${text.slice(0, NODE_CHARACTERS - 1)}…` : text;
}

/** What a screen reader says beyond the texts of the node. @param {Group} group */
function moreSpoken({ members }) {
  const [task] = members;
  if (members.length > 1) return `${namesText(members)}: ${statesText(members)}`;
  return [task.alias.length > NODE_CHARACTERS && task.alias, task.err_msg && firstLine(task.err_msg, HINT_CHARACTERS)].filter(Boolean).join('. ');
}

/** @param {Task[]} members */
function statesText(members) {
  return countsOf(members).map(([state, count]) => `${count} ${stateName(state)}`).join(', ');
}

/** @param {Task[]} members */
function namesText(members) {
  const [first, last] = [members[0].alias, members[members.length - 1].alias];
  return `${t('graph.tasks', { count: members.length })} (${first} … ${last})`;
}

/**
 * Beside a node, in pixels of the canvas.
 * @param {{job: Job, group: Group, left: number, top: number, isTolerable: boolean}} props
 */
export function Hint({ job, group: { members }, left, top, isTolerable }) {
  const [task] = members;
  const isStack = members.length > 1;
  return html`<div class="nodehint card" role="tooltip" style=${{ left: `${left}px`, top: `${top}px` }}>
    <strong>${isStack ? namesText(members) : task.alias}</strong>
    <p>${isStack ? statesText(members) : timeText(job, task)}</p>
    ${!isStack && task.err_msg && html`<p class="why-not">${firstLine(task.err_msg, HINT_CHARACTERS)}</p>`}
    ${!isStack && isTolerable && html`<p class="hint">${t('graph.tolerable')}</p>`}
  </div>`;
}
