/** The table of jobs. Only the rows in sight are in the document, however many are loaded. */
import { signal } from '../vendor/signals.js';
import { useEffect, useLayoutEffect, useMemo, useRef } from '../vendor/preact-hooks.js';
import { Filters, presentFilter } from './filters.js';
import { Ago } from './ago.js';
import { culprit } from './blame.js';
import { domains, learn, meant } from './domains.js';
import { awaitedRow, useAwaited } from './focus.js';
import { html } from './html.js';
import { JobList } from './job_list.js';
import { moveFocus, useKeys } from './keys.js';
import { firstLine, plain } from './plain.js';
import { hrefOf, hrefWith } from './place.js';
import { ChoiceBox, Selection, isChosen, toggleFocused } from './selection.js';
import { SIGNS, StateBadge } from './state.js';
import { t } from './texts.js';
import { duration, restartText } from './time.js';

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
  useLayoutEffect(() => {
    const at = rows.findIndex((row) => row.peek().job_id === awaitedRow());
    const top = body.current && at >= 0 ? body.current.getBoundingClientRect().top + at * rowHeight() : 0;
    if (top > innerHeight - rowHeight()) scrollBy(0, top - innerHeight / 2);
  }, [rows.length > 0]);
  const { first, last } = place.value;
  const shown = rows.slice(first, last);
  const below = Math.max(0, rows.length - first - shown.length);
  if (!rows.length) {
    if (list.isLoading.value) return html`<p class="notice" role="status">${t('loading')}</p>`;
    if (list.error.value) return null;
    if (isFiltered) return html`<${NothingFits} filter=${list.filter} />`;
    return html`<div class="notice" role="status"><p>${t('list.none')}</p><p><code>${t('list.first')}</code></p></div>`;
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

/** No job passes the filters: maybe a name in them is not whole. @param {{filter: JobList['filter']}} props */
function NothingFits({ filter }) {
  const names = [['initiator', 'filter.initiator'], ['party', 'filter.party']].flatMap(([field, label]) =>
    [filter[field] ?? []].flat().map((name) => ({ field, label: t(/** @type {'filter.party'} */ (label)), name })));
  useEffect(() => { if (names.length) learn(); }, []);
  return html`<div class="notice" role="status">
    <p>${t('list.none.filtered')} <a href=${location.pathname}>${t('list.none.clear')}</a></p>
    ${names.filter(({ name }) => domains.value.length && !domains.value.includes(name)).map(({ field, label, name }) => {
      const near = meant(name, domains.value);
      return html`<p key=${field}>${t('filter.unknown', { label, name: plain(name) })} ${near.length > 0 && t('filter.meant')}
        ${near.map((each) => html` <a key=${each} href=${hrefWith({ [field]: each })}>${each}</a>`)}</p>`;
    })}
  </div>`;
}

/** @param {{rows: number}} props */
function Spacer({ rows }) {
  return rows > 0 && html`<tr class="spacer" aria-hidden="true"><td colspan="9" style=${{ height: `${rows * rowHeight()}px` }}></td></tr>`;
}

/** @param {{list: JobList, row: import('./job_list.js').Row, place: number}} props */
function Row({ list, row, place }) {
  const job = row.value;
  const why = job.state === 'Succeeded' ? '' : job.cause || job.err_msg;
  const link = useRef(/** @type {HTMLElement|null} */ (null));
  useAwaited(job.job_id, link);
  return html`<tr aria-rowindex=${place} data-number=${job.number} class=${isChosen(row) ? 'is-chosen' : ''}>
    <td class="c-choice"><${ChoiceBox} list=${list} row=${row} /></td>
    <td class="c-state"><${StateBadge} state=${job.state} /></td>
    <th scope="row" class="c-job"><a ref=${link} class="job" href=${hrefOf({ job: job.job_id })} title=${job.job_id}>${job.job_id}</a></th>
    <td class="c-initiator" title=${job.initiator}>${job.initiator}</td>
    <td class="c-parties" title=${job.parties.join(', ')}>${job.parties.join(', ')}</td>
    <td class="c-tasks"><${Progress} job=${job} /></td>
    <td class="c-age"><${Ago} time=${job.create_time} /></td>
    <td class="c-time" title=${restartText(job)}>${duration(job.restart_time || job.start_time, job.end_time)}</td>
    <td class="c-why" title=${firstLine(why)}><${Reason} text=${why} /></td>
  </tr>`;
}

/** In one line, the party first. @param {{text: string}} props */
function Reason({ text }) {
  const { party, what, text: rest, others } = culprit(text);
  if (!what) return firstLine(text);
  return html`${party && html`<strong>${party}</strong> · `}${what}${rest && `: ${firstLine(rest)}`}${others > 0 && ` (+${others})`}`;
}

// Somebody ended these jobs: that their tasks did not succeed is no fault.
const PERSONS_END = new Set(['Suspended', 'Cancelled']);

/** @param {{job: import('./types.js').JobSummary}} props */
function Progress({ job }) {
  const all = Object.values(job.task_states).reduce((sum, count) => sum + count, 0);
  const { Succeeded: succeeded = 0, Failed: failed = 0 } = job.task_states;
  const share = job.state === 'Succeeded' ? 1 : job.progress;
  return html`<span class="progress"><span class="fraction" title=${t('count.succeeded', { done: succeeded, all })}>${succeeded}/${all}</span>
    ${failed > 0 && html`<span class=${PERSONS_END.has(job.state) ? 'hint' : 'bad'} title=${t('count.ended', { count: failed })}><span aria-hidden="true">${SIGNS.Failed}${failed}</span>
      <span class="unseen">${t('count.ended', { count: failed })}</span></span>`}
    <svg class="meter state-${job.state}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
      <rect class="rest" width="100" height="6" /><rect class="done" width=${100 * share} height="6" />
    </svg></span>`;
}

function rowHeight() {
  return NARROW.matches ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
}
