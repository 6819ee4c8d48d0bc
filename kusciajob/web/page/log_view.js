/** The output of a task's parties, live. */
import { signal } from '../vendor/signals.js';
import { useEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { blameFor } from './blame.js';
import { Choice } from './choice.js';
import { html } from './html.js';
import { useKeys } from './keys.js';
import { plain } from './plain.js';
import { place } from './place.js';
import { save } from './save.js';
import { TaskLog } from './task_log.js';
import { stateName, t } from './texts.js';
import { cutText } from './told.js';

/** As in style.css. */
const LINE_HEIGHT = 20;
const SPARE_LINES = 20;
const COLOURS = 6;
const LONGEST_LINE = 4_000;

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
    parties: (chosen.length ? chosen : parties).map(({ domain_id, role }) => ({ domain_id, role })),
    attempt: attempt || newest,
    stream,
  };
  const key = JSON.stringify(what);
  return html`
    <div class="tools logtools">
      <${Choice} label=${t('log.task')} name="task" value=${task.alias} forget=${['party', 'role', 'attempt']}
        options=${job.tasks.map(({ alias, state }) => [alias, `${alias} (${stateName(state)})`])} />
      <${Choice} label=${t('log.parties')} name="party" value=${chosen.length ? chosen[0].domain_id : ''} forget=${['role']}
        options=${[['', t('log.all')], ...[...new Set(parties.map(({ domain_id }) => domain_id))].map((id) => [id, id])]} />
      ${newest > 1 && html`<${Choice} label=${t('log.attempt')} name="attempt" value=${attempt ? String(attempt) : ''}
        options=${[['', `${newest} (${t('log.newest')})`], ...Array.from({ length: newest }, (_, index) => [String(newest - index), String(newest - index)])]} />`}
      <${Choice} label=${t('log.stream')} name="stream" value=${stream}
        options=${[['', t('log.both')], ['stdout', 'stdout'], ['stderr', 'stderr']]} />
    </div>
    ${newest === 0 ? html`<p class="notice">${t('log.notyet')}</p>` : html`<${Lines} key=${key} what=${what} name=${`${job.summary.job_id}.${task.alias}`} />`}
  `;
}

/** The one in the address bar, else the one to blame, one that runs, the last that ran. @param {import('./types.js').Job} job */
function chosenTask(job) {
  const byAlias = job.tasks.find(({ alias }) => alias === place.value.get('task'));
  return byAlias ?? blameFor(job)[0]?.task ?? job.tasks.find(({ state }) => state === 'Running')
    ?? job.tasks.findLast(({ attempt }) => attempt > 0) ?? job.tasks[0];
}

/** @param {{what: ConstructorParameters<typeof TaskLog>[0], name: string}} props */
function Lines({ what, name }) {
  const log = useMemo(() => new TaskLog(what), []);
  const [sought, setSought] = useState('');
  const [held, setHeld] = useState(/** @type {import('./task_log.js').Line[]|null} */ (null));
  const box = useRef(/** @type {HTMLElement|null} */ (null));
  const top = useMemo(() => signal(0), []);
  const isAtEnd = useRef(true);
  useEffect(() => {
    log.open();
    return () => log.close();
  }, []);
  useKeys({ '/': () => document.getElementById('find')?.focus() });
  const all = held ?? log.lines.value;
  const wanted = sought.toLowerCase();
  const lines = wanted ? all.filter(({ text }) => text.toLowerCase().includes(wanted)) : all;
  useEffect(() => {
    if (box.current && isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length]);
  const scroll = () => {
    if (!box.current) return;
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    isAtEnd.current = scrollTop + clientHeight >= scrollHeight - LINE_HEIGHT;
    top.value = Math.floor(scrollTop / LINE_HEIGHT);
  };
  const names = what.parties.map((party) => (party.role ? `${party.domain_id}/${party.role}` : party.domain_id));
  const first = Math.max(0, top.value - SPARE_LINES);
  const count = Math.ceil((box.current?.clientHeight ?? 600) / LINE_HEIGHT) + 2 * SPARE_LINES;
  const isNew = held ? log.lines.value.length - held.length : 0;
  return html`
    <div class="tools">
      <label class="find"><span class="unseen">${t('log.find')}</span>
        <input id="find" type="search" placeholder=${t('log.find')} value=${sought} autocomplete="off"
          onInput=${(/** @type {any} */ { target }) => setSought(target.value)} /></label>
      <span class="hint" role="status">${t('log.shown', { count: lines.length })}</span>
      <span class="spring"></span>
      <button type="button" aria-pressed=${held ? 'true' : 'false'} onClick=${() => setHeld(held ? null : log.lines.value)}>
        ${held ? t('log.resume', { count: isNew }) : t('log.pause')}</button>
      <button type="button" onClick=${() => download(all, name)}>${t('log.download')}</button>
    </div>
    ${Object.entries(log.refused.value).map(([party, text]) => html`<p key=${party} class="notice problem">${t('log.refused', { party, text: plain(text) })}</p>`)}
    ${log.hasDropped.value && html`<p class="notice">${t('log.older')}</p>`}
    <div class="log" ref=${box} onScroll=${scroll} tabindex="0" role="log" aria-live="off" aria-label=${t('job.logs')}>
      ${lines.length === 0 && html`<p class="hint">${t('log.empty')}</p>`}
      <div class="lines" style=${{ height: `${lines.length * LINE_HEIGHT}px` }}>
        <div class="window" style=${{ transform: `translateY(${first * LINE_HEIGHT}px)` }}>
          ${lines.slice(first, first + count).map((line) => html`<${LineRow} key=${line.key} line=${line} sought=${wanted}
            colour=${names.indexOf(line.party) % COLOURS} isNamed=${names.length > 1} />`)}
        </div>
      </div>
    </div>`;
}

/** @param {{line: import('./task_log.js').Line, sought: string, colour: number, isNamed: boolean}} props */
function LineRow({ line, sought, colour, isNamed }) {
  const text = plain(line.text.slice(0, LONGEST_LINE));
  const isCut = line.size > LONGEST_LINE;
  const dropped = Number(line.dropped_bytes);
  return html`<div class="logline ${line.stream}">
    ${isNamed && html`<span class="who party-${colour}">${line.party}</span>`}
    <time>${line.time ? new Date(line.time).toLocaleTimeString('en-GB') : ''}</time>
    <span class="said">${dropped > 0 && html`<em>[${t('log.dropped', { count: dropped })}] </em>`}${marked(text, sought)}${isCut && html`<em class="cut">… ${cutText(line.size, LONGEST_LINE)}</em>`}</span>
  </div>`;
}

/** @param {string} text @param {string} sought in lower case */
function marked(text, sought) {
  const at = sought ? text.toLowerCase().indexOf(sought) : -1;
  if (at < 0) return text;
  const end = at + sought.length;
  return html`${text.slice(0, at)}<mark>${text.slice(at, end)}</mark>${text.slice(end)}`;
}

/** @param {import('./task_log.js').Line[]} lines @param {string} name */
function download(lines, name) {
  const text = lines.map(({ party, time, text }) => `${party} ${time ?? '-'} ${text}\n`).join('');
  save(text, `${name}.log`);
}
