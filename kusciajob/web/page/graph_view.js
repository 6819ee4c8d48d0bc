/** The tasks of a job as a graph, in SVG. It is laid out once for a set of tasks; states change in place. */
import { useEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';
import { moveFocus, useKeys } from './keys.js';
import { NODE_HEIGHT, NODE_WIDTH, criticalPath, layOut } from './layout.js';
import { firstLine, plain } from './plain.js';
import { go, hrefWith, place } from './place.js';
import { SIGNS, StateBadge } from './state.js';
import { TaskParties } from './task_parties.js';
import { stateName, t } from './texts.js';
import { duration, now } from './time.js';

/** @typedef {import('./types.js').Task} Task */
/** @typedef {{x: number, y: number, scale: number}} Window scale: pixels for a unit of the layout */

const LARGEST_SCALE = 2.5;
const SMALLEST_SCALE = 0.05;
const STEP = 1.3;
/** Of the canvas, in pixels. */
const LEAST_HEIGHT = 200;
/** A text of a node that is longer is cut. */
const NODE_CHARACTERS = 20;
/** Below it the texts of nodes cannot be read at the first sight. */
const READABLE_SCALE = 0.7;

/** @param {{job: import('./types.js').Job}} props */
export function GraphView({ job }) {
  const { tasks } = job;
  const shape = JSON.stringify(tasks.map(({ alias, dependencies }) => [alias, dependencies]));
  const [layout, setLayout] = useState(/** @type {import('./layout.js').Layout|null} */ (null));
  useEffect(() => {
    let isWanted = true;
    layOut(tasks).then((made) => { if (isWanted) setLayout(made); });
    return () => { isWanted = false; };
  }, [shape]);
  const selected = tasks.find(({ alias }) => alias === place.value.get('task'));
  return html`<div class="graph-view">
    ${layout ? html`<${Canvas} job=${job} layout=${layout} />` : html`<p class="notice">${t('loading')}</p>`}
    ${selected && html`<${TaskPanel} job=${job} task=${selected} />`}
  </div>`;
}

/** @param {{job: import('./types.js').Job, layout: import('./layout.js').Layout}} props */
function Canvas({ job: { tasks, request }, layout }) {
  const canvas = useRef(/** @type {SVGSVGElement|null} */ (null));
  const drag = useRef(/** @type {{x: number, y: number, id: number, hasMoved: boolean}|null} */ (null));
  const [view, setView] = useState(/** @type {Window} */ ({ x: 0, y: 0, scale: 1 }));
  const [sought, setSought] = useState('');
  const byAlias = new Map(tasks.map((task) => [task.alias, task]));
  const tolerable = useMemo(() => new Set(request.job.tasks.filter((task) => task.tolerable).map(({ alias }) => alias)), [layout]);
  const critical = criticalPath(tasks, now.value);
  const found = new Set(sought ? tasks.filter(({ alias }) => alias.includes(sought)).map(({ alias }) => alias) : []);

  const size = () => {
    const { clientWidth = 800, clientHeight = 400 } = canvas.current ?? {};
    return { width: clientWidth, height: clientHeight };
  };
  /** @param {number} [least] the smallest scale */
  const fit = (least = SMALLEST_SCALE) => {
    const { width, height } = size();
    const scale = Math.max(least, Math.min(1.2, width / layout.width, height / layout.height));
    const isWide = layout.width * scale > width;
    setView({
      scale,
      x: isWide ? 0 : (layout.width - width / scale) / 2,
      y: (layout.height - height / scale) / 2,
    });
  };
  /** @param {number} factor @param {{x: number, y: number}} [at] in pixels of the canvas */
  const zoom = (factor, at) => setView(({ x, y, scale }) => {
    const { width, height } = size();
    const { x: px, y: py } = at ?? { x: width / 2, y: height / 2 };
    const next = Math.min(LARGEST_SCALE, Math.max(SMALLEST_SCALE, scale * factor));
    return { scale: next, x: x + px / scale - px / next, y: y + py / scale - py / next };
  });
  /** @param {string} alias */
  const show = (alias) => {
    const node = layout.nodes.find((each) => each.alias === alias);
    const { width, height } = size();
    if (node) setView(({ scale }) => {
      const s = Math.max(scale, READABLE_SCALE);
      return { scale: s, x: node.x - width / s / 2, y: node.y - height / s / 2 };
    });
  };

  useEffect(() => {
    fit(READABLE_SCALE);
    const { width, height } = size();
    const isWhole = layout.width * READABLE_SCALE <= width && layout.height * READABLE_SCALE <= height;
    if (!isWhole) show(whereToLook(tasks, place.value.get('task')));
  }, [layout]);
  useEffect(() => {
    /** @param {WheelEvent} event */
    const wheel = (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.12 : 1 / 1.12, { x: event.offsetX, y: event.offsetY });
    };
    canvas.current?.addEventListener('wheel', wheel, { passive: false });
    return () => canvas.current?.removeEventListener('wheel', wheel);
  }, []);
  useKeys({
    '/': () => document.getElementById('find')?.focus(),
    '+': () => zoom(STEP),
    '-': () => zoom(1 / STEP),
    0: () => fit(),
    j: () => moveFocus('.node', 1),
    k: () => moveFocus('.node', -1),
  });

  /** @param {PointerEvent} event */
  const grab = (event) => { drag.current = { x: event.clientX, y: event.clientY, id: event.pointerId, hasMoved: false }; };
  /** @param {PointerEvent} event */
  const pull = (event) => {
    const from = drag.current;
    if (!from || from.id !== event.pointerId) return;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (!from.hasMoved && Math.hypot(dx, dy) < 4) return;
    if (!from.hasMoved) canvas.current?.setPointerCapture(event.pointerId);
    drag.current = { ...from, x: event.clientX, y: event.clientY, hasMoved: true };
    setView(({ x, y, scale }) => ({ scale, x: x - dx / scale, y: y - dy / scale }));
  };
  const drop = () => { drag.current = null; };
  /** From task to task. @param {KeyboardEvent} event @param {Task} task */
  const walk = (event, task) => {
    const after = tasks.filter(({ dependencies }) => dependencies.includes(task.alias)).map(({ alias }) => alias);
    const layer = layout.nodes.filter(({ x }) => x === layout.nodes.find(({ alias }) => alias === task.alias)?.x)
      .sort((a, b) => a.y - b.y).map(({ alias }) => alias);
    const at = layer.indexOf(task.alias);
    /** @type {Record<string, string|undefined>} */
    const ways = { ArrowRight: after[0], ArrowLeft: task.dependencies[0], ArrowDown: layer[at + 1], ArrowUp: layer[at - 1] };
    if (event.key === 'Enter' || event.key === ' ') go(hrefWith({ task: task.alias }), { replace: true });
    else if (ways[event.key]) {
      const next = /** @type {string} */ (ways[event.key]);
      show(next);
      /** @type {SVGElement|null|undefined} */ (canvas.current?.querySelector(`[data-alias="${CSS.escape(next)}"]`))?.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
  };

  const { width, height } = size();
  return html`
    <div class="tools">
      <label class="find"><span class="unseen">${t('graph.find')}</span>
        <input id="find" type="search" placeholder=${t('graph.find')} value=${sought} autocomplete="off"
          onInput=${(/** @type {any} */ { target }) => {
            setSought(target.value);
            const first = target.value && tasks.find(({ alias }) => alias.includes(target.value));
            if (first) show(first.alias);
          }} /></label>
      ${sought && html`<span class="hint" role="status">${t('graph.found', { count: found.size })}</span>`}
      <span class="spring"></span>
      <button type="button" onClick=${() => zoom(1 / STEP)} aria-label=${t('graph.out')} title=${t('graph.out')}>−</button>
      <button type="button" onClick=${() => zoom(STEP)} aria-label=${t('graph.in')} title=${t('graph.in')}>+</button>
      <button type="button" onClick=${() => fit()}>${t('graph.fit')}</button>
    </div>
    <svg ref=${canvas} class="graph" role="group" aria-label=${t('graph.label', { count: tasks.length })}
      style=${{ height: `${Math.max(LEAST_HEIGHT, layout.height * 1.2)}px` }}
      viewBox="${view.x} ${view.y} ${width / view.scale} ${height / view.scale}"
      onPointerDown=${grab} onPointerMove=${pull} onPointerUp=${drop} onPointerCancel=${drop}>
      <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
        <path d="M0 0 L8 4 L0 8 z" /></marker></defs>
      ${layout.edges.map(({ from, to, path }) => html`<path key=${`${from} ${to}`} d=${path} marker-end="url(#arrow)"
        class="edge ${critical.has(from) && critical.has(to) ? 'is-critical' : ''}" />`)}
      ${layout.nodes.map(({ alias, x, y }) => {
        const task = byAlias.get(alias);
        return task && html`<${Node} key=${alias} task=${task} x=${x} y=${y} isTolerable=${tolerable.has(alias)}
          isCritical=${critical.has(alias)} isFaint=${sought && !found.has(alias)}
          isSelected=${alias === place.value.get('task')} onKeyDown=${walk}
          onClick=${() => go(hrefWith({ task: alias }), { replace: true })} />`;
      })}
    </svg>
    <p class="hint">${t('graph.hint')} · ${t('graph.critical')}${tolerable.size ? ` · ${t('graph.tolerable')}` : ''}</p>
  `;
}

/** Where a graph that does not fit begins. @param {Task[]} tasks @param {string|null} chosen */
function whereToLook(tasks, chosen) {
  const of = (/** @type {string} */ state) => tasks.find((task) => task.state === state);
  const task = tasks.find(({ alias }) => alias === chosen) ?? of('Failed') ?? of('Running') ?? tasks[0];
  return task.alias;
}

/**
 * @param {{task: Task, x: number, y: number, isTolerable: boolean, isCritical: boolean, isFaint: boolean,
 *   isSelected: boolean, onClick: () => void, onKeyDown: (event: KeyboardEvent, task: Task) => void}} props
 */
function Node({ task, x, y, isTolerable, isCritical, isFaint, isSelected, onClick, onKeyDown }) {
  const last = task.attempts.at(-1);
  const time = duration(last?.start_time ?? null, last?.end_time ?? null);
  const classes = ['node', `state-${task.state}`, isTolerable && 'is-tolerable', isCritical && 'is-critical',
    isFaint && 'is-faint', isSelected && 'is-selected'].filter(Boolean).join(' ');
  const name = task.alias.length > NODE_CHARACTERS ? `${task.alias.slice(0, NODE_CHARACTERS - 1)}…` : task.alias;
  const below = [stateName(task.state), time].filter(Boolean).join(' · ');
  return html`<g class=${classes} data-alias=${task.alias} transform="translate(${x - NODE_WIDTH / 2} ${y - NODE_HEIGHT / 2})"
    tabindex="0" role="button" aria-pressed=${isSelected ? 'true' : 'false'}
    onClick=${onClick} onKeyDown=${(/** @type {KeyboardEvent} */ event) => onKeyDown(event, task)}>
    <title>${task.alias}: ${stateName(task.state)}${task.err_msg ? `\n${firstLine(task.err_msg, 500)}` : ''}</title>
    <rect class="box" width=${NODE_WIDTH} height=${NODE_HEIGHT} rx="8" />
    <text class="sign" x="20" y="32">${SIGNS[task.state] ?? '·'}</text>
    <text class="name" x="38" y="22">${name}</text>
    <text class="below" x="38" y="39">${below}</text>
    ${task.state === 'Running' && task.progress > 0 && html`<rect class="done" y=${NODE_HEIGHT - 4} width=${NODE_WIDTH * task.progress} height="4" rx="2" />`}
  </g>`;
}

/** @param {{job: import('./types.js').Job, task: Task}} props */
function TaskPanel({ job, task }) {
  // Once its parties have failed, each says why below.
  const isToldBelow = task.state === 'Failed' && task.attempts.at(-1)?.parties.some(({ state }) => state === 'Failed');
  return html`<section class="card panel" aria-labelledby="panel">
    <h2 id="panel"><${StateBadge} state=${task.state} /> ${task.alias}</h2>
    <p class="hint">${task.app_image} · ${task.task_id}</p>
    ${task.err_msg && !isToldBelow && html`<pre class="message">${plain(task.err_msg).slice(0, 4000)}</pre>`}
    <${TaskParties} job=${job} task=${task} />
  </section>`;
}
