/** One job: what it is, why it failed or waits, and its views. */
import { useEffect, useMemo, useRef } from '../vendor/preact-hooks.js';
import { Actions } from './action_dialog.js';
import { Ago } from './ago.js';
import { CallFailed } from './api.js';
import { blameFor } from './blame.js';
import { DefinitionView } from './definition_view.js';
import { GraphView } from './graph_view.js';
import { HistoryView } from './history_view.js';
import { useLoadedHeading } from './focus.js';
import { html } from './html.js';
import { useKeys } from './keys.js';
import { LogView } from './log_view.js';
import { MatrixView } from './matrix_view.js';
import { TaskCounts } from './not_started.js';
import { OpenJob } from './open_job.js';
import { firstLine, plain } from './plain.js';
import { go, hrefOf, hrefWith, place } from './place.js';
import { useOutput } from './runtime.js';
import { StateBadge } from './state.js';
import { stateName, t } from './texts.js';
import { TimelineView } from './timeline_view.js';
import { duration, restartText } from './time.js';
import { Told } from './told.js';

/** Of a field or label, in characters. */
const LONGEST_FACT = 120;

/** @type {Record<string, {text: keyof typeof import('./en.js').en, show: Function}>} */
const VIEWS = {
  graph: { text: 'job.graph', show: GraphView },
  parties: { text: 'job.parties', show: MatrixView },
  timeline: { text: 'job.timeline', show: TimelineView },
  logs: { text: 'job.logs', show: LogView },
  history: { text: 'job.history', show: HistoryView },
  definition: { text: 'job.definition', show: DefinitionView },
};

/** @param {{id: string}} props */
export function JobView({ id }) {
  const open = useMemo(() => new OpenJob(id), [id]);
  useEffect(() => {
    open.open();
    return () => open.close();
  }, [open]);
  const job = open.job.value;
  useEffect(() => {
    document.title = job ? `${stateName(job.summary.state)} · ${id} · kusciajob` : `${plain(id)} · kusciajob`;
  });
  useKeys(Object.fromEntries(Object.keys(VIEWS).map((name, index) => [String(index + 1), () => go(hrefWith({ view: name }))])));
  const tabs = useRef(/** @type {HTMLElement|null} */ (null));
  useEffect(() => {
    // In a narrow window the tabs scroll, by themselves.
    const [bar, chosen] = [tabs.current, tabs.current?.querySelector('[aria-current]')];
    if (bar && chosen) bar.scrollLeft = /** @type {HTMLElement} */ (chosen).offsetLeft - bar.offsetLeft - bar.clientWidth / 3;
  }, [place.value.get('view'), Boolean(job)]);
  useLoadedHeading(Boolean(job));
  const error = open.error.value;
  if (!job) {
    if (!error) return html`<h1 class="unseen">${plain(id)}</h1><p class="notice" role="status">${t('loading')}</p>`;
    const isMissing = error instanceof CallFailed && error.status === 404;
    return html`<h1 class="unseen">${plain(id)}</h1><div class="notice problem" role="alert"><p>${isMissing ? t('job.missing') : t('failed', { text: plain(error.message) })}</p>
      <p><a href=${location.pathname}>${t('jobs')}</a></p></div>`;
  }
  const chosen = place.value.get('view') ?? '';
  const view = chosen in VIEWS ? chosen : 'graph';
  return html`
    <nav class="crumbs"><a href=${location.pathname}>${t('jobs')}</a> <span aria-hidden="true">›</span> <span aria-current="page" title=${job.summary.job_id}>${job.summary.job_id}</span></nav>
    <${Head} job=${job} />
    ${!open.isDeleted.value && html`<${Actions} job=${job.summary} />`}
    ${open.isDeleted.value && html`<p class="notice problem" role="alert">${t('job.gone')}</p>`}
    <${Why} job=${job} />
    <nav class="tabs" ref=${tabs} aria-label=${id}>
      ${Object.entries(VIEWS).map(([name, { text }]) => html`<a key=${name} href=${hrefOf({ job: id, view: name, task: name === 'history' ? null : place.value.get('task') })}
        aria-current=${name === view ? 'page' : undefined}>${t(text)}</a>`)}
    </nav>
    <${VIEWS[view].show} job=${job} />
  `;
}

/** @param {{job: import('./types.js').Job}} props */
function Head({ job }) {
  const { summary, stage, stage_caller, stage_reason } = job;
  const isToldBelow = summary.state === 'Failed' && stage === 'Stop';
  const restarted = restartText(summary);
  return html`<header class="head">
    <h1><${StateBadge} state=${summary.state} /> <span class="id">${summary.job_id}</span></h1>
    <dl class="facts">
      <div><dt>${t('job.initiator')}</dt><dd>${summary.initiator}</dd></div>
      <div><dt>${t('job.between')}</dt><dd>${summary.parties.join(', ')}</dd></div>
      <div><dt>${t('job.created')}</dt><dd><${Ago} time=${summary.create_time} isWhole /></dd></div>
      <div><dt>${t('job.duration')}</dt><dd title=${restarted}>${duration(summary.restart_time || summary.start_time, summary.end_time) || '–'}
        ${restarted && html` <span class="hint">${t('restarted.since')}</span>`}</dd></div>
      <div><dt>${t('job.tasks')}</dt><dd><${TaskCounts} job=${job} /></dd></div>
      ${[...Object.entries(summary.custom_fields), ...Object.entries(summary.labels)].map(([key, value]) =>
        html`<div key=${key}><dt>${firstLine(key, LONGEST_FACT)}</dt><dd title=${plain(value)}>${firstLine(value, LONGEST_FACT)}</dd></div>`)}
    </dl>
    ${stage_reason && !isToldBelow && html`<p class="hint">${t('job.by', { stage, caller: stage_caller || 'master', reason: plain(stage_reason) })}</p>`}
  </header>`;
}

/** Which party made it fail, and why; or what it waits for. @param {{job: import('./types.js').Job}} props */
function Why({ job }) {
  const { state } = job.summary;
  const hasOutput = useOutput();
  if (state === 'ApprovalReject') return html`<div class="notice problem"><${Told} text=${job.summary.err_msg} /></div>`;
  if (state !== 'Failed') {
    return job.waiting ? html`<p class="notice waits">${t('job.waits', { text: plain(job.waiting) })}</p>` : null;
  }
  if (job.stage === 'Stop') {
    return html`<section class="why" aria-labelledby="why">
      <h2 id="why">${t('why.stopped', { caller: job.stage_caller || 'master' })}</h2>
      <${Told} text=${job.stage_reason} /></section>`;
  }
  const [first] = blameFor(job);
  if (!first) return html`<div class="notice problem"><${Told} text=${job.summary.err_msg} /></div>`;
  const { task, party, attempt, text } = first;
  const code = party?.signal || (party && party.exit_code !== null ? t('why.exit', { code: party.exit_code }) : '');
  const log = hrefOf({ job: job.summary.job_id, view: 'logs', task: task.alias, party: party?.domain_id, attempt: String(attempt) });
  return html`<section class="why" aria-labelledby="why">
    <h2 id="why">${party
      ? t('why.failed', { party: party.role ? `${party.domain_id} (${party.role})` : party.domain_id, task: task.alias })
      : t('why.task', { task: task.alias })}</h2>
    ${text !== `exit code ${party?.exit_code}` && html`<${Told} text=${text} />`}
    <p>${code && html`<span class="tag">${code}</span> `}
      ${attempt > 1 && html`<span class="tag">${t('why.attempt', { number: attempt })}</span> `}
      ${attempt > 0 && hasOutput && html`<a href=${log}>${t('why.log')}</a>`}
      ${hasOutput === false && html`<span class="hint">${t('why.nolog')}</span>`}</p>
  </section>`;
}
