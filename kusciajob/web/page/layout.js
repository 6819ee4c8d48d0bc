/** Where the tasks of a job stand in its graph, and which way through it has taken longest. */

/**
 * @typedef {import('./types.js').Task} Task
 * @typedef {{alias: string, x: number, y: number}} Node the centre
 * @typedef {{from: string, to: string, path: string}} Edge
 * @typedef {{nodes: Node[], edges: Edge[], width: number, height: number}} Layout
 */

export const NODE_WIDTH = 176;
export const NODE_HEIGHT = 52;
const MARGIN = 16;

/**
 * Left to right, in layers. The library is loaded when the first graph is drawn.
 * @param {{alias: string, dependencies: string[]}[]} tasks
 * @returns {Promise<Layout>}
 */
export async function layOut(tasks) {
  const { Graph, layout } = await import('../vendor/dagre.js');
  const graph = new Graph().setGraph({ rankdir: 'LR', nodesep: 16, ranksep: 56, edgesep: 6, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  // The library puts what came last on top.
  for (const { alias } of [...tasks].reverse()) graph.setNode(alias, { width: NODE_WIDTH, height: NODE_HEIGHT });
  for (const { alias, dependencies } of [...tasks].reverse()) {
    for (const dependency of dependencies) graph.setEdge(dependency, alias);
  }
  layout(graph);
  const { width, height } = graph.graph();
  return {
    nodes: tasks.map(({ alias }) => ({ alias, x: graph.node(alias).x, y: graph.node(alias).y })),
    edges: graph.edges().map(({ v, w }) => ({ from: v, to: w, path: pathThrough([
      { x: graph.node(v).x + NODE_WIDTH / 2, y: graph.node(v).y },
      ...graph.edge(v, w).points.slice(1, -1),
      { x: graph.node(w).x - NODE_WIDTH / 2, y: graph.node(w).y },
    ]) })),
    width: Math.max(width, NODE_WIDTH + 2 * MARGIN),
    height: Math.max(height, NODE_HEIGHT + 2 * MARGIN),
  };
}

/**
 * A line that leaves to the right and arrives from the left, smooth between its points.
 * @param {{x: number, y: number}[]} points
 */
function pathThrough([first, ...others]) {
  let path = `M${first.x.toFixed(1)} ${first.y.toFixed(1)}`;
  let from = first;
  for (const to of others) {
    const middle = ((from.x + to.x) / 2).toFixed(1);
    path += ` C${middle} ${from.y.toFixed(1)} ${middle} ${to.y.toFixed(1)} ${to.x.toFixed(1)} ${to.y.toFixed(1)}`;
    from = to;
  }
  return path;
}

/**
 * The tasks on the way that has taken longest, in time that its tasks ran; empty before anything has run.
 * @param {Task[]} tasks
 * @param {number} now in ms, for what still runs
 * @returns {Set<string>}
 */
export function criticalPath(tasks, now) {
  const byAlias = new Map(tasks.map((task) => [task.alias, task]));
  /** @type {Map<string, {length: number, before: string|null}>} */
  const longest = new Map();
  /** @param {Task} task @returns {{length: number, before: string|null}} */
  const measure = (task) => {
    const known = longest.get(task.alias);
    if (known) return known;
    let best = { length: 0, before: /** @type {string|null} */ (null) };
    for (const alias of task.dependencies) {
      const dependency = byAlias.get(alias);
      if (!dependency) continue;
      const { length } = measure(dependency);
      if (best.before === null || length > best.length) best = { length, before: alias };
    }
    const whole = { length: best.length + runTime(task, now), before: best.before };
    longest.set(task.alias, whole);
    return whole;
  };
  let end = /** @type {string|null} */ (null);
  for (const task of tasks) {
    if (measure(task).length > (end === null ? 0 : measure(/** @type {Task} */ (byAlias.get(end))).length)) end = task.alias;
  }
  /** @type {Set<string>} */
  const path = new Set();
  for (let alias = end; alias !== null; alias = longest.get(alias)?.before ?? null) path.add(alias);
  return path;
}

/** @param {Task} task @param {number} now */
function runTime(task, now) {
  return task.attempts.reduce((sum, { start_time, end_time }) => {
    if (!start_time) return sum;
    return sum + Math.max(0, (end_time ? Date.parse(end_time) : now) - Date.parse(start_time));
  }, 0);
}
