/** The output of a task's parties, live. */
import { useEffect, useMemo, useState } from '../vendor/preact-hooks.js';
import { blameFor } from './blame.js';
import { Choice } from './choice.js';
import { html } from './html.js';
import { useKeys } from './keys.js';
import { LogColumn } from './log_column.js';
import { taskStateName } from './not_started.js';
import { plain } from './plain.js';
import { place } from './place.js';
import { save } from './save.js';
import { TaskLog, nameOf } from './task_log.js';
import { t } from './texts.js';

/** @typedef {import('./task_log.js').Line} Line */

const SPLIT = 'split';

/** @param {{job: import('./types.js').Job}} props */
export function LogView({ job }) {
  const task = chosenTask(job);
  const params = place.value;
  const parties = job.request.job.tasks.find(({ alias }) => alias === task.alias)?.parties ?? [];
  const chosen = parties.filter(({ domain_id, role }) => domain_id === params.get('party') && (!params.get('role') || role === params.get('role')));
  const newest = task.attempt;
  const attempt = Math.min(Number(params.get('attempt')) || 0, newest);
  const stream = params.get('stream') ?? '';
  const what = {
    taskId: task.task_id,
    domainId: chosen.length ? (params.get('party') ?? '') : '',
    role: chosen.length ? (params.get('role') ?? '') : '',
    parties: (chosen.length ? chosen : parties).map(({ domain_id, role }) => ({ domain_id, role })),
    attempt: attempt || newest,
    stream,
  };
  const isSplit = what.parties.length > 1 && params.get('layout') === SPLIT;
  const key = JSON.stringify([what, isSplit]);
  return html`
    <div class="tools logtools">
      <${Choice} label=${t('log.task')} name="task" value=${task.alias} forget=${['party', 'role', 'attempt']}
        options=${job.tasks.map((each) => [each.alias, `${each.alias} (${taskStateName(job, each)})`])} />
      <${Choice} label=${t('log.parties')} name="party" value=${chosen.length ? chosen[0].domain_id : ''} forget=${['role']}
        options=${[['', t('log.all')], ...[...new Set(parties.map(({ domain_id }) => domain_id))].map((id) => [id, id])]} />
      ${what.parties.length > 1 && html`<${Choice} label=${t('log.layout')} name="layout" value=${isSplit ? SPLIT : ''}
        options=${[['', t('log.interleaved')], [SPLIT, t('log.split')]]} />`}
      ${newest > 1 && html`<${Choice} label=${t('log.attempt')} name="attempt" value=${attempt && attempt < newest ? String(attempt) : ''}
        options=${[['', `${newest} (${t('log.newest')})`], ...Array.from({ length: newest - 1 }, (_, index) => [String(newest - 1 - index), String(newest - 1 - index)])]} />`}
      <${Choice} label=${t('log.stream')} name="stream" value=${stream}
        options=${[['', t('log.both')], ['stdout', 'stdout'], ['stderr', 'stderr']]} />
    </div>
    ${newest === 0 ? html`<p class="notice">${t('log.notyet')}</p>` : html`<${Lines} key=${key} what=${what} isSplit=${isSplit} name=${`${job.summary.job_id}.${task.alias}`} />`}
  `;
}

/** The one in the address bar, else the one to blame, one that runs, the last that ran. @param {import('./types.js').Job} job */
function chosenTask(job) {
  const byAlias = job.tasks.find(({ alias }) => alias === place.value.get('task'));
  return byAlias ?? blameFor(job)[0]?.task ?? job.tasks.find(({ state }) => state === 'Running')
    ?? job.tasks.findLast(({ attempt }) => attempt > 0) ?? job.tasks[0];
}

/**
 * Finding, pausing and downloading are for all columns at once.
 * @param {{what: ConstructorParameters<typeof TaskLog>[0], isSplit: boolean, name: string}} props
 *   `isSplit`: each party has a column of its own
 */
function Lines({ what, isSplit, name }) {
  const log = useMemo(() => new TaskLog(what), []);
  const [sought, setSought] = useState('');
  const [held, setHeld] = useState(/** @type {Line[]|null} */ (null));
  useEffect(() => {
    log.open();
    return () => log.close();
  }, []);
  useKeys({ '/': () => document.getElementById('find')?.focus() });
  const present = log.lines.value;
  const all = held ?? present;
  const wanted = sought.toLowerCase();
  const found = wanted ? all.filter(({ text }) => text.toLowerCase().includes(wanted)) : all;
  const names = [...new Set(what.parties.map(nameOf))];
  const told = log.told.value;
  const untold = told ? names.filter((name) => !told.has(name)) : [];
  const titles = names.filter((name) => !untold.includes(name));
  const columns = isSplit ? titles.map((name) => found.filter(({ party }) => party === name)) : [found];
  return html`
    <div class="tools">
      <label class="find"><span class="unseen">${t('log.find')}</span>
        <input id="find" type="search" placeholder=${t('log.find')} value=${sought} autocomplete="off"
          onInput=${(/** @type {any} */ { target }) => setSought(target.value)} /></label>
      <span class="hint" role="status">${t('log.shown', { count: found.length })}</span>
      <span class="spring"></span>
      <button type="button" aria-pressed=${held ? 'true' : 'false'} onClick=${() => setHeld(held ? null : present)}>
        ${held ? t('log.resume', { count: Math.max(0, present.length - held.length) }) : t('log.pause')}</button>
      <button type="button" onClick=${() => download(all, name)}>${t('log.download')}</button>
    </div>
    ${log.refused.value && html`<p class="notice problem">${plain(log.refused.value)}</p>`}
    ${untold.length > 0 && html`<p class="notice">${t('log.untold', { parties: untold.map(plain).join(', ') })}</p>`}
    ${log.hasDropped.value && html`<p class="notice">${t('log.older')}</p>`}
    <div class="columns">${columns.map((lines, index) => html`<${LogColumn} key=${isSplit ? titles[index] : ''} lines=${lines} parties=${names} sought=${wanted}
      title=${isSplit ? titles[index] : undefined} />`)}</div>`;
}

/** @param {Line[]} lines @param {string} name */
function download(lines, name) {
  const text = lines.map(({ party, time, text }) => `${party} ${time ?? '-'} ${text}\n`).join('');
  save(text, `${name}.log`);
}
