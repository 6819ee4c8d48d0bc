/** The tasks of a job as a graph, in SVG. It is laid out once for a set of tasks; states change in place. */
import { useEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { WAYS, dependentsOf, fold, wayFor } from './fold.js';
import { Hint, Node } from './graph_node.js';
import { html } from './html.js';
import { moveFocus, useKeys } from './keys.js';
import { NODE_HEIGHT, NODE_WIDTH, criticalPath, layOut } from './layout.js';
import { TaskBadge } from './not_started.js';
import { go, hrefWith, place } from './place.js';
import { TaskParties } from './task_parties.js';
import { t } from './texts.js';
import { now } from './time.js';
import { Told } from './told.js';

/** @typedef {import('./types.js').Task} Task */
/** @typedef {import('./fold.js').Group} Group */
/** @typedef {{x: number, y: number, scale: number}} Window scale: pixels for a unit of the layout */

const LARGEST_SCALE = 2.5;
const SMALLEST_SCALE = 0.05;
const STEP = 1.3;
/** Of the canvas, in pixels. */
const LEAST_HEIGHT = 200;
/** As in style.css. */
const HINT_WIDTH = 320;
/** Below it the texts of nodes cannot be read at the first sight. */
const READABLE_SCALE = 0.7;

/** @param {{job: import('./types.js').Job}} props */
export function GraphView({ job }) {
  const { tasks } = job;
  const way = wayFor(place.value.get('fold'), tasks);
  const folding = { way, folded: new Set(place.value.getAll('folded')), open: new Set(place.value.getAll('open')) };
  const groups = fold(tasks, folding);
  const shape = JSON.stringify(groups.map(({ id, dependencies }) => [id, dependencies]));
  const [layout, setLayout] = useState(/** @type {import('./layout.js').Layout|null} */ (null));
  useEffect(() => {
    let isWanted = true;
    layOut(groups.map(({ id, dependencies }) => ({ alias: id, dependencies })))
      .then((made) => { if (isWanted) setLayout(made); });
    return () => { isWanted = false; };
  }, [shape]);
  const selected = tasks.find(({ alias }) => alias === place.value.get('task'));
  return html`<div class="graph-view">
    ${layout ? html`<${Canvas} job=${job} groups=${groups} way=${way} layout=${layout} />` : html`<p class="notice">${t('loading')}</p>`}
    ${selected && html`<${TaskPanel} job=${job} task=${selected} group=${groups.find(({ members }) => members.includes(selected))} />`}
  </div>`;
}

/** Fold what follows from a task, or unfold a group. @param {Group} group */
function toggleFold({ kind, id }) {
  const folded = place.value.getAll('folded');
  if (kind === 'alike' || kind === 'done') go(hrefWith({ open: [...place.value.getAll('open'), id] }), { replace: true });
  else go(hrefWith({ folded: folded.includes(id) ? folded.filter((each) => each !== id) : [...folded, id] }), { replace: true });
}

/** @param {{job: import('./types.js').Job, groups: Group[], way: string, layout: import('./layout.js').Layout}} props */
function Canvas({ job, groups, way, layout }) {
  const { tasks, request } = job;
  const canvas = useRef(/** @type {SVGSVGElement|null} */ (null));
  const drag = useRef(/** @type {{x: number, y: number, id: number, hasMoved: boolean}|null} */ (null));
  const [view, setView] = useState(/** @type {Window} */ ({ x: 0, y: 0, scale: 1 }));
  const [sought, setSought] = useState('');
  const [turn, setTurn] = useState(0);
  const [pointed, setPointed] = useState('');
  const byId = new Map(groups.map((group) => [group.id, group]));
  const homes = new Map(groups.flatMap(({ id, members }) => members.map(({ alias }) => [alias, id])));
  const dependents = useMemo(() => dependentsOf(tasks), [layout]);
  const tolerable = useMemo(() => new Set(request.job.tasks.filter((task) => task.tolerable).map(({ alias }) => alias)), [layout]);
  const critical = new Set([...criticalPath(tasks, now.value)].map((alias) => homes.get(alias) ?? alias));
  const found = sought ? tasks.filter(({ alias }) => alias.includes(sought)).map(({ alias }) => alias) : [];
  const homesFound = new Set(found.map((alias) => homes.get(alias)));

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
  /** @param {string} alias of a task, or the id of a group */
  const nodeOf = (alias) => layout.nodes.find((each) => each.alias === (homes.get(alias) ?? alias));
  /** Whether all of a node is in sight. @param {import('./layout.js').Node} node */
  const isInSight = ({ x, y }) => {
    const { width, height } = size();
    return x - NODE_WIDTH / 2 >= view.x && x + NODE_WIDTH / 2 <= view.x + width / view.scale
      && y - NODE_HEIGHT / 2 >= view.y && y + NODE_HEIGHT / 2 <= view.y + height / view.scale;
  };
  /** @param {string} alias of a task, or the id of a group */
  const show = (alias) => {
    const node = nodeOf(alias);
    const { width, height } = size();
    if (node) setView(({ scale }) => {
      const s = Math.max(scale, READABLE_SCALE);
      return { scale: s, x: node.x - width / s / 2, y: node.y - height / s / 2 };
    });
  };

  const choice = `${way} ${place.value.getAll('folded').length} ${place.value.getAll('open').length}`;
  const shown = useRef('');
  useEffect(() => {
    // What is folded by state changes while one looks: then the view stays where it is.
    if (shown.current === choice) return;
    shown.current = choice;
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
    f: () => {
      const group = byId.get(/** @type {HTMLElement|null} */ (document.activeElement)?.dataset.alias ?? '');
      if (group && canFold(group)) toggleFold(group);
    },
    Escape: () => setPointed(''),
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
  /** @param {Group} group */
  const canFold = ({ members, id }) => members.length > 1 || (dependents.get(id)?.length ?? 0) > 0;
  /** @param {Group} group */
  const choose = (group) => {
    if (group.kind === 'alike' || group.kind === 'done') toggleFold(group);
    else go(hrefWith({ task: group.id }), { replace: true });
  };
  /** From node to node. @param {KeyboardEvent} event @param {Group} group */
  const walk = (event, group) => {
    const after = groups.filter(({ dependencies }) => dependencies.includes(group.id)).map(({ id }) => id);
    const layer = layout.nodes.filter(({ x }) => x === nodeOf(group.id)?.x)
      .sort((a, b) => a.y - b.y).map(({ alias }) => alias);
    const at = layer.indexOf(group.id);
    /** @type {Record<string, string|undefined>} */
    const ways = { ArrowRight: after[0], ArrowLeft: group.dependencies[0], ArrowDown: layer[at + 1], ArrowUp: layer[at - 1] };
    if (event.key === 'Enter' || event.key === ' ') choose(group);
    else if (ways[event.key]) {
      const next = /** @type {string} */ (ways[event.key]);
      const node = nodeOf(next);
      if (node && !isInSight(node)) show(next);
      /** @type {SVGElement|null|undefined} */ (canvas.current?.querySelector(`[data-alias="${CSS.escape(next)}"]`))?.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
  };

  /** @param {number} step */
  const seek = (step) => {
    const next = (turn + step + found.length) % found.length;
    setTurn(next);
    show(found[next]);
  };

  const { width, height } = size();
  const isFolded = groups.length < tasks.length;
  const hinted = byId.get(pointed);
  const at = hinted && layout.nodes.find(({ alias }) => alias === pointed);
  return html`
    <div class="tools">
      <label class="find"><span class="unseen">${t('graph.find')}</span>
        <input id="find" type="search" placeholder=${t('graph.find')} value=${sought} autocomplete="off"
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter' && found.length) seek(event.shiftKey ? -1 : 1); }}
          onInput=${(/** @type {any} */ { target }) => {
            setSought(target.value);
            setTurn(0);
            const first = target.value && tasks.find(({ alias }) => alias.includes(target.value));
            if (first) show(first.alias);
          }} /></label>
      ${sought && html`<span class="hint" role="status">${t('graph.found', { count: found.length })}</span>`}
      ${found.length > 1 && html`<button type="button" onClick=${() => seek(1)}>${t('graph.next')}</button>`}
      <span class="spring"></span>
      <label class="choice">${t('graph.fold')}
        <select value=${way} onChange=${(/** @type {any} */ { target }) => go(hrefWith({ fold: target.value, open: [] }), { replace: true })}>
          ${WAYS.map((each) => html`<option key=${each} value=${each} selected=${each === way}>${foldText(each)}</option>`)}
        </select></label>
      ${isFolded && html`<button type="button" onClick=${() => go(hrefWith({ fold: 'none', folded: [], open: [] }), { replace: true })}>${t('graph.unfold')}</button>`}
      <button type="button" onClick=${() => zoom(1 / STEP)} aria-label=${t('graph.out')} title=${t('graph.out')}>−</button>
      <button type="button" onClick=${() => zoom(STEP)} aria-label=${t('graph.in')} title=${t('graph.in')}>+</button>
      <button type="button" onClick=${() => fit()}>${t('graph.fit')}</button>
    </div>
    <div class="canvas">
      <svg ref=${canvas} class="graph" role="group" aria-label=${t('graph.label', { count: tasks.length })}
        style=${{ height: `${Math.max(LEAST_HEIGHT, layout.height * 1.2)}px` }}
        viewBox="${view.x} ${view.y} ${width / view.scale} ${height / view.scale}"
        onPointerDown=${grab} onPointerMove=${pull} onPointerUp=${drop} onPointerCancel=${drop}>
        <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" orient="auto">
          <path d="M0 0 L8 4 L0 8 z" /></marker></defs>
        ${layout.edges.map(({ from, to, path }) => html`<path key=${`${from} ${to}`} d=${path} marker-end="url(#arrow)"
          class="edge ${critical.has(from) && critical.has(to) ? 'is-critical' : ''}" />`)}
        ${layout.nodes.map(({ alias, x, y }) => {
          const group = byId.get(alias);
          return group && html`<${Node} key=${alias} job=${job} group=${group} x=${x} y=${y} isCritical=${critical.has(alias)}
            isTolerable=${group.members.every((task) => tolerable.has(task.alias))} canFold=${canFold(group)}
            isFaint=${sought && !homesFound.has(alias)} isSelected=${alias === homes.get(place.value.get('task') ?? '')}
            onKeyDown=${(/** @type {KeyboardEvent} */ event) => walk(event, group)} onClick=${() => choose(group)}
            onFold=${() => toggleFold(group)} onPoint=${(/** @type {boolean} */ is) => setPointed(is ? alias : '')} />`;
        })}
      </svg>
      ${hinted && at && html`<${Hint} job=${job} group=${hinted} isTolerable=${tolerable.has(pointed)}
        left=${Math.max(0, Math.min((at.x - NODE_WIDTH / 2 - view.x) * view.scale, width - HINT_WIDTH))}
        top=${(at.y + NODE_HEIGHT / 2 - view.y) * view.scale + 8} />`}
    </div>
    <p class="hint">${t('graph.hint')} · ${t('graph.critical')}${tolerable.size ? ` · ${t('graph.tolerable')}` : ''}</p>
  `;
}

/** @param {string} way */
function foldText(way) {
  return way === 'alike' ? t('graph.fold.alike') : way === 'done' ? t('graph.fold.done') : t('graph.fold.none');
}

/** Where a graph that does not fit begins. @param {Task[]} tasks @param {string|null} chosen */
function whereToLook(tasks, chosen) {
  const of = (/** @type {string} */ state) => tasks.find((task) => task.state === state);
  const task = tasks.find(({ alias }) => alias === chosen) ?? of('Failed') ?? of('Running') ?? tasks[0];
  return task.alias;
}

/** @param {{job: import('./types.js').Job, task: Task, group: Group|undefined}} props */
function TaskPanel({ job, task, group }) {
  // Once its parties have failed, each says why below.
  const isToldBelow = task.state === 'Failed' && task.attempts.at(-1)?.parties.some(({ state }) => state === 'Failed');
  const hasMore = job.tasks.some(({ dependencies }) => dependencies.includes(task.alias));
  return html`<section class="card panel" aria-labelledby="panel">
    <h2 id="panel"><${TaskBadge} job=${job} task=${task} /> ${task.alias}
      <span class="spring"></span>
      ${hasMore && group?.id === task.alias && html`<button type="button" onClick=${() => toggleFold(group)}>${group.kind === 'branch' ? t('graph.branch.unfold') : t('graph.branch.fold')}</button>`}</h2>
    <p class="hint">${task.app_image} · ${task.task_id}</p>
    ${task.err_msg && !isToldBelow && html`<${Told} text=${task.err_msg} />`}
    <${TaskParties} job=${job} task=${task} />
  </section>`;
}
