/** Plain values as YAML, and in the form of a job file. What acts on the eye is written as an escape. */
import { HOSTILE } from './plain.js';

/** @typedef {import('./types.js').SubmitJobRequest} SubmitJobRequest */

/** YAML has no such characters between quotes as they are. */
const UNWRITABLE = /[\u0085\u00a0\ufffe\uffff]/g;
const BARE = /^[A-Za-z][A-Za-z0-9_./-]*$/;
/** Some readers take them for something else than a text. */
const WORDS = /^(?:true|false|null|yes|no|on|off|y|n)$/i;
/** Readers of YAML have limits that readers of JSON do not have. */
const MOST_YAML_CHARACTERS = 3_000_000;
const MOST_YAML_LINES = 50_000;

/** A text in JSON or between quotes in YAML, with signs in place of what acts on the eye. @param {string} text @param {boolean} [isYaml] */
function escaped(text, isYaml = false) {
  const escape = (/** @type {string} */ sign) => {
    const code = /** @type {number} */ (sign.codePointAt(0));
    if (isYaml && code > 0xffff) return `\\U${code.toString(16).padStart(8, '0')}`;
    return Array.from({ length: sign.length }, (_, at) => `\\u${sign.charCodeAt(at).toString(16).padStart(4, '0')}`).join('');
  };
  return text.replace(HOSTILE, escape).replace(UNWRITABLE, escape);
}

/** @param {unknown} value */
function scalar(value) {
  if (typeof value === 'string' && BARE.test(value) && !WORDS.test(value)) return value;
  return escaped(JSON.stringify(value), true);
}

/** Whether a text reads better as a block, and stays the same in it. @param {string} text */
function isBlock(text) {
  return /["\\\n]/.test(text) && /^[^\s]/.test(text) && !/[\s]$/.test(text) && !text.includes('\t')
    && text.search(HOSTILE) < 0 && text.search(UNWRITABLE) < 0;
}

/**
 * @param {unknown} value
 * @param {string} [indent]
 * @returns {string} lines, each with its end
 */
export function toYaml(value, indent = '') {
  if (Array.isArray(value) && value.length) {
    return value.map((item) => {
      const lines = toYaml(item, `${indent}  `);
      return isNested(item) ? `${indent}- ${lines.slice(indent.length + 2)}` : `${indent}- ${lines}`;
    }).join('');
  }
  if (isNested(value) && !Array.isArray(value)) {
    return Object.entries(/** @type {object} */ (value)).map(([name, item]) => {
      const key = `${indent}${scalar(name)}:`;
      if (isNested(item)) return `${key}\n${toYaml(item, `${indent}  `)}`;
      if (typeof item === 'string' && isBlock(item)) return `${key} |-\n${item.split('\n').map((line) => (line ? `${indent}  ${line}` : '')).join('\n')}\n`;
      return `${key} ${toYaml(item)}`;
    }).join('');
  }
  return `${scalar(value)}\n`;
}

/** @param {unknown} value */
function isNested(value) {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

/**
 * The value without what says nothing: fields that have their default.
 * @param {any} value
 * @param {string} [name] of its field
 * @returns {any}
 */
export function withoutDefaults(value, name) {
  if (Array.isArray(value)) return value.map((item) => withoutDefaults(item));
  if (typeof value !== 'object' || value === null) return value;
  // The keys of a map are anybody's, and their values are values even where they are empty.
  if (MAPS.has(name ?? '')) return value;
  return Object.fromEntries(Object.entries(value)
    .map(([field, item]) => [field, withoutDefaults(item, field)])
    .filter(([field, item]) => field === 'schedule_config' ? item !== null : !isDefault(item)));
}

const MAPS = new Set(['custom_fields', 'custom_headers', 'labels', 'config_templates']);

/** @param {unknown} value */
function isDefault(value) {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === null || value === '' || value === 0 || value === '0' || value === false;
}

/**
 * The job as a file that `kusciajob create -f` takes: YAML, or JSON where it is large for YAML. Ids that the server gave
 * to its tasks are left out.
 * @param {SubmitJobRequest} request
 * @returns {{text: string, type: 'yaml'|'json'}}
 */
export function jobFile({ job }) {
  const tasks = job.tasks.map((task) => (isGiven(job.job_id, task.task_id) ? { ...task, task_id: '' } : task));
  const spec = withoutDefaults({ ...job, tasks });
  const text = toYaml(spec);
  if (text.length <= MOST_YAML_CHARACTERS && text.split('\n', MOST_YAML_LINES + 1).length <= MOST_YAML_LINES) return { text, type: 'yaml' };
  return { text: escaped(`${JSON.stringify(spec, null, 2)}\n`), type: 'json' };
}

/** Whether the server made up the id of a task. @param {string} jobId @param {string} taskId */
function isGiven(jobId, taskId) {
  const made = /^(.*)-[0-9a-f]{12}$/.exec(taskId);
  return made !== null && jobId.startsWith(made[1]);
}

/** What a job file cannot say, and SubmitJob can; empty where there is none. @param {SubmitJobRequest} request */
export function beyondFile({ task_policies, deadline, ttl, labels }) {
  const more = withoutDefaults({ task_policies, deadline, ttl, labels });
  return isNested(more) ? toYaml(more) : '';
}
