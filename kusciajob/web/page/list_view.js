/** The table of jobs. Only the rows in sight are in the document, however many are loaded. */
import { signal } from '../vendor/signals.js';
import { useEffect, useMemo, useRef } from '../vendor/preact-hooks.js';
import { Filters, presentFilter } from './filters.js';
import { html } from './html.js';
import { JobList } from './job_list.js';
import { moveFocus, useKeys } from './keys.js';
import { firstLine } from './plain.js';
import { hrefOf } from './place.js';
import { ChoiceBox, Selection, isChosen, toggleFocused } from './selection.js';
import { StateBadge } from './state.js';
import { t } from './texts.js';
import { age, duration, fullTime } from './time.js';

/** As in style.css. */
const ROW_HEIGHT = 45;
const NARROW_ROW_HEIGHT = 92;
const NARROW = matchMedia('(max-width: 760px)');
const SPARE_ROWS = 12;
const LOAD_AHEAD_ROWS = 60;

export function ListView() {
  const filter = presentFilter();
  const key = JSON.stringify(filter);
  const list = useMemo(() => new JobList(filter), [key]);
  useEffect(() => {
    list.open();
    return () => list.close();
  }, [list]);
  useEffect(() => { document.title = `${t('jobs')} · kusciajob`; });
  useKeys({
    '/': () => document.getElementById('find')?.focus(),
    j: () => moveFocus('.jobs a.job', 1),
    k: () => moveFocus('.jobs a.job', -1),
    x: () => toggleFocused(list),
  });
  return html`
    <h1 class="unseen">${t('jobs')}</h1>
    <${Filters} />
    ${list.error.value && html`<p class="notice problem" role="alert">${t('failed', { text: list.error.value.message })}</p>`}
    <${Table} list=${list} isFiltered=${Object.keys(filter).length > 0} />
  `;
}

/** @param {{list: JobList, isFiltered: boolean}} props */
function Table({ list, isFiltered }) {
  const body = useRef(/** @type {HTMLElement|null} */ (null));
  const place = useMemo(() => signal({ first: 0, last: 40 }), [list]);
  const rows = list.rows.value;
  useEffect(() => {
    const look = () => {
      if (!body.current) return;
      const height = rowHeight();
      const above = -body.current.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(above / height) - SPARE_ROWS);
      const last = Math.ceil((above + innerHeight) / height) + SPARE_ROWS;
      const { first: f, last: l } = place.peek();
      if (f !== first || l !== last) place.value = { first, last };
      if (last + LOAD_AHEAD_ROWS > list.rows.peek().length) list.more();
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => {
      removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [list, rows.length, list.hasMore.value]);
  const { first, last } = place.value;
  const shown = rows.slice(first, last);
  const below = Math.max(0, rows.length - first - shown.length);
  if (!rows.length) {
    if (list.isLoading.value) return html`<p class="notice" role="status">${t('loading')}</p>`;
    if (list.error.value) return null;
    return html`<div class="notice" role="status"><p>${t(isFiltered ? 'list.none.filtered' : 'list.none')}</p>
      ${!isFiltered && html`<p><code>${t('list.first')}</code></p>`}</div>`;
  }
  return html`
    <${Selection} list=${list} />
    <table class="jobs" aria-rowcount=${list.hasMore.value ? -1 : rows.length + 1}>
      <thead><tr>
        <th scope="col"><span class="unseen">${t('choice')}</span></th><th scope="col">${t('column.state')}</th><th scope="col">${t('column.job')}</th>
        <th scope="col">${t('column.initiator')}</th><th scope="col">${t('column.parties')}</th>
        <th scope="col">${t('column.tasks')}</th><th scope="col">${t('column.age')}</th>
        <th scope="col">${t('column.time')}</th><th scope="col">${t('column.why')}</th>
      </tr></thead>
      <tbody ref=${body}>
        <${Spacer} rows=${Math.min(first, rows.length)} />
        ${shown.map((row, index) => html`<${Row} key=${row.peek().number} list=${list} row=${row} place=${first + index + 2} />`)}
        <${Spacer} rows=${below} />
      </tbody>
    </table>
    <p class="hint count" role="status">${list.isLoading.value
      ? t('list.more')
      : t(list.hasMore.value ? 'list.shown.more' : 'list.shown', { count: rows.length })}</p>
  `;
}

/** @param {{rows: number}} props */
function Spacer({ rows }) {
  return rows > 0 && html`<tr class="spacer" aria-hidden="true"><td colspan="9" style=${{ height: `${rows * rowHeight()}px` }}></td></tr>`;
}

/** @param {{list: JobList, row: import('./job_list.js').Row, place: number}} props */
function Row({ list, row, place }) {
  const job = row.value;
  const why = job.state === 'Succeeded' ? '' : firstLine(job.cause || job.err_msg);
  return html`<tr aria-rowindex=${place} data-number=${job.number} class=${isChosen(row) ? 'is-chosen' : ''}>
    <td class="c-choice"><${ChoiceBox} list=${list} row=${row} /></td>
    <td class="c-state"><${StateBadge} state=${job.state} /></td>
    <th scope="row" class="c-job"><a class="job" href=${hrefOf({ job: job.job_id })} title=${job.job_id}>${job.job_id}</a></th>
    <td class="c-initiator" title=${job.initiator}>${job.initiator}</td>
    <td class="c-parties" title=${job.parties.join(', ')}>${job.parties.join(', ')}</td>
    <td class="c-tasks"><${Progress} job=${job} /></td>
    <td class="c-age" title=${fullTime(job.create_time)}>${age(job.create_time)}</td>
    <td class="c-time">${duration(job.start_time, job.end_time)}</td>
    <td class="c-why" title=${why}><span>${why}</span></td>
  </tr>`;
}

/** @param {{job: import('./types.js').JobSummary}} props */
function Progress({ job }) {
  const all = Object.values(job.task_states).reduce((sum, count) => sum + count, 0);
  const ended = (job.task_states.Succeeded ?? 0) + (job.task_states.Failed ?? 0);
  const share = job.state === 'Succeeded' ? 1 : job.progress;
  return html`<span class="progress"><span class="fraction">${ended}/${all}</span>
    <svg class="meter state-${job.state}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      <rect class="rest" width="100" height="6" /><rect class="done" width=${100 * share} height="6" />
    </svg></span>`;
}

function rowHeight() {
  return NARROW.matches ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
}
