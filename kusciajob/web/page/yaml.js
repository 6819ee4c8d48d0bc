/** Plain values as YAML, and in the form of a job file. What acts on the eye is written as an escape. */

/** @typedef {import('./types.js').SubmitJobRequest} SubmitJobRequest */

/** YAML has no such characters between quotes as they are, or they turn the text around. */
const ESCAPED = /[\u007f-\u00a0\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]/g;
const BARE = /^[A-Za-z][A-Za-z0-9_./-]*$/;
/** Some readers take them for something else than a text. */
const WORDS = /^(?:true|false|null|yes|no|on|off|y|n)$/i;
// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[\u0000-\u0009\u000b-\u001f]/;
/** Readers of YAML have limits that readers of JSON do not have. */
const MOST_YAML_CHARACTERS = 3_000_000;
const MOST_YAML_LINES = 50_000;

/** @param {string} text */
function escaped(text) {
  return text.replace(ESCAPED, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** @param {unknown} value */
function scalar(value) {
  if (typeof value === 'string' && BARE.test(value) && !WORDS.test(value)) return value;
  return escaped(JSON.stringify(value));
}

/** Whether a text reads better as a block, and stays the same in it. @param {string} text */
function isBlock(text) {
  return /["\\\n]/.test(text) && /^[^\s]/.test(text) && !/[\s]$/.test(text) && !UNPRINTABLE.test(text) && text.search(ESCAPED) < 0;
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
