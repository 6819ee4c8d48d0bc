/** Tasks that are drawn as one, so that a graph of many stays readable. */

/**
 * @typedef {import('./types.js').Task} Task
 * @typedef {'task'|'branch'|'alike'|'done'} Kind `branch`: a task with all that follows from it
 * @typedef {{id: string, kind: Kind, members: Task[], dependencies: string[]}} Group `id`: the alias of its first member
 * @typedef {{way: string, folded: Set<string>, open: Set<string>}} Folding
 *   `folded`: the tasks whose branches are folded; `open`: the groups that are not folded, whatever the way
 */

/** What can be folded at once: nothing, tasks in the same state between the same tasks, what has succeeded. */
export const WAYS = ['none', 'alike', 'done'];
/** More tasks are folded where they are alike, unless the person wants otherwise. */
const MANY_TASKS = 30;
/** Fewer tasks that are alike are as easy to read one by one. */
const LEAST_ALIKE = 3;
const LEAST_DONE = 2;

/** How to fold, by what the address bar says. @param {string|null} wanted @param {Task[]} tasks */
export function wayFor(wanted, tasks) {
  if (wanted !== null && WAYS.includes(wanted)) return wanted;
  return tasks.length > MANY_TASKS ? 'alike' : 'none';
}

/**
 * All tasks, each in one group. Dependencies of groups are groups.
 * @param {Task[]} tasks
 * @param {Folding} folding
 * @returns {Group[]}
 */
export function fold(tasks, { way, folded, open }) {
  const heads = branchHeads(tasks, folded);
  /** @type {Map<string, {kind: Kind, members: Task[]}>} */
  const gathered = new Map();
  const dependents = dependentsOf(tasks);
  for (const task of tasks) {
    const head = heads.get(task.alias) ?? task.alias;
    /** @type {[Kind, string]} */
    let [kind, name] = ['task', `task ${head}`];
    if (head !== task.alias || folded.has(head)) kind = 'branch';
    else if (way === 'done' && task.state === 'Succeeded') [kind, name] = ['done', 'done'];
    else if (way === 'alike') {
      [kind, name] = ['alike', JSON.stringify([task.state, [...task.dependencies].sort(), dependents.get(task.alias)])];
    }
    const group = gathered.get(name);
    if (group) group.members.push(task);
    else gathered.set(name, { kind, members: [task] });
  }
  return withDependencies([...gathered.values()].flatMap(({ kind, members }) => {
    if (kind === 'branch') {
      const head = members.find(({ alias }) => folded.has(alias) && !heads.has(alias)) ?? members[0];
      return [{ kind: members.length > 1 ? kind : 'task', members: [head, ...members.filter((task) => task !== head)] }];
    }
    const least = { task: Infinity, alike: LEAST_ALIKE, done: LEAST_DONE }[kind];
    if (members.length >= least && !open.has(members[0].alias)) return [{ kind, members }];
    return members.map((task) => ({ kind: /** @type {Kind} */ ('task'), members: [task] }));
  }));
}

/**
 * The folded task behind which each hidden one is: of all that it follows, the one that comes first. So no group follows
 * from one that follows from it.
 * @param {Task[]} tasks
 * @param {Set<string>} folded
 */
function branchHeads(tasks, folded) {
  const byAlias = new Map(tasks.map((task) => [task.alias, task]));
  /** The order: each task after those that it follows. @type {Map<string, number>} */
  const order = new Map();
  /** @type {Map<string, string>} */
  const hidden = new Map();
  /** @param {string} alias */
  const visit = (alias) => {
    if (order.has(alias)) return;
    let first = /** @type {string|null} */ (null);
    for (const each of byAlias.get(alias)?.dependencies ?? []) {
      visit(each);
      const head = hidden.get(each) ?? (folded.has(each) ? each : null);
      if (head !== null && (first === null || placeOf(head) < placeOf(first))) first = head;
    }
    order.set(alias, order.size);
    if (first !== null) hidden.set(alias, first);
  };
  const placeOf = (/** @type {string} */ alias) => order.get(alias) ?? 0;
  for (const { alias } of tasks) visit(alias);
  return hidden;
}

/** @param {Task[]} tasks */
export function dependentsOf(tasks) {
  /** @type {Map<string, string[]>} */
  const dependents = new Map(tasks.map(({ alias }) => [alias, []]));
  for (const { alias, dependencies } of tasks) for (const each of dependencies) dependents.get(each)?.push(alias);
  return dependents;
}

/** @param {{kind: Kind, members: Task[]}[]} groups @returns {Group[]} */
function withDependencies(groups) {
  const homes = new Map(groups.flatMap(({ members }) => members.map(({ alias }) => [alias, members[0].alias])));
  return groups.map(({ kind, members }) => {
    const id = members[0].alias;
    const before = new Set(members.flatMap(({ dependencies }) => dependencies.map((each) => homes.get(each) ?? each)));
    before.delete(id);
    return { id, kind, members, dependencies: [...before] };
  });
}

/**
 * The state that a group is shown in: what most needs to be looked at.
 * @param {Task[]} members
 */
export function stateOf(members) {
  const states = new Set(members.map(({ state }) => state));
  return ['Failed', 'Running', 'Pending'].find((state) => states.has(/** @type {any} */ (state))) ?? members[0].state;
}

/** How many are in each state. @param {Task[]} members @returns {[string, number][]} */
export function countsOf(members) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { state } of members) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts];
}
