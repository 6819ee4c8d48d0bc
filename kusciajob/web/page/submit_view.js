/** Create a job from a file that is dropped, chosen, pasted or written here. Its problems are told as one types. */
import { useEffect, useRef, useState } from '../vendor/preact-hooks.js';
import { wishFor } from './action_dialog.js';
import { Ago } from './ago.js';
import { read } from './api.js';
import { draft, MOST_BYTES } from './draft.js';
import { html } from './html.js';
import { plain } from './plain.js';
import { go, hrefOf } from './place.js';
import { StateBadge } from './state.js';
import { t } from './texts.js';

const EXAMPLE = `job_id: my-job
initiator: alice
tasks:
  - alias: psi
    app_image: psi
    parties:
      - domain_id: alice
      - domain_id: bob
`;

export function SubmitView() {
  const editor = useRef(/** @type {HTMLTextAreaElement|null} */ (null));
  const [slip, setSlip] = useState('');
  const [isOver, setIsOver] = useState(false);
  const verdict = draft.verdict.value;
  const isGood = Boolean(verdict?.request) && verdict?.problems.length === 0;
  useEffect(() => { document.title = `${t('submit')} · kusciajob`; });
  useEffect(() => {
    if (!draft.verdict.value && draft.text.value) draft.check();
    else read('/v1/server').catch(() => {}); // so that a token is asked for before something is written
  }, []);

  /** @param {File|undefined} file */
  const take = async (file) => {
    if (!file) return;
    if (file.size > MOST_BYTES) {
      setSlip(t('submit.large', { name: plain(file.name) }));
      return;
    }
    setSlip('');
    draft.write(await file.text());
    editor.current?.focus();
  };
  /** @param {DragEvent} event */
  const drop = (event) => {
    event.preventDefault();
    setIsOver(false);
    const files = event.dataTransfer?.files;
    if (files?.length) take(files[0]);
    else draft.write(event.dataTransfer?.getData('text/plain') ?? '');
  };
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    if (isGood && !draft.isBusy.value) open(await draft.submit());
  };
  return html`<form class="submit" onSubmit=${submit}>
    <h1>${t('submit')}</h1>
    <p class="hint">${t('submit.hint')}</p>
    <div class="tools">
      <label class="file"><span>${t('submit.choose')}</span>
        <input class="unseen" type="file" accept=".yaml,.yml,.json,application/json,application/yaml" onChange=${(/** @type {any} */ { target }) => {
          take(target.files[0]);
          target.value = '';
        }} /></label>
      ${!draft.text.value && html`<button type="button" onClick=${() => draft.write(EXAMPLE)}>${t('submit.example')}</button>`}
    </div>
    ${slip && html`<p class="notice problem" role="alert">${slip}</p>`}
    <div class="sides">
      <label class="editor ${isOver ? 'is-over' : ''}"
          onDragOver=${(/** @type {Event} */ event) => { event.preventDefault(); setIsOver(true); }}
          onDragLeave=${() => setIsOver(false)} onDrop=${drop}>${t('submit.text')}
        <textarea ref=${editor} rows="24" wrap="off" spellcheck=${false} autocomplete="off" autocapitalize="off" value=${draft.text.value}
          aria-describedby="verdict" onInput=${(/** @type {any} */ { target }) => draft.write(target.value)}></textarea>
      </label>
      <section class="verdict" aria-labelledby="verdict">
        <h2 id="verdict" aria-live="polite">${headline()}</h2>
        ${draft.error.value && html`<p class="notice problem" role="alert">${plain(draft.error.value.message)}
          ${!verdict && html` <button type="button" onClick=${() => draft.check()}>${t('submit.again')}</button>`}</p>`}
        ${verdict && html`<${Problems} problems=${verdict.problems} kind="problem" onGo=${(/** @type {number} */ line) => showLine(editor.current, line)} />
          ${verdict.ignored.length > 0 && html`<h3>${t('submit.ignored')}</h3>
            <${Problems} problems=${verdict.ignored} kind="waits" onGo=${(/** @type {number} */ line) => showLine(editor.current, line)} />`}
          ${isGood && html`<${Plan} verdict=${verdict} />`}`}
      </section>
    </div>
    ${draft.existing.value && html`<${Existing} key=${draft.existing.value.number} job=${draft.existing.value} />`}
    <button type="submit" class="main" aria-disabled=${isGood && !draft.isBusy.value ? undefined : 'true'}>${isGood
      ? t('submit.go', { job: verdict?.request?.job.job_id ?? '' }) : t('submit.notyet')}</button>
  </form>`;
}

/** @param {string} id of a job; empty: of none */
function open(id) {
  if (id) go(hrefOf({ job: id }));
}

/** Nothing was started, as the job is there: what the person may have meant. @param {{job: import('./types.js').JobSummary}} props */
function Existing({ job }) {
  const box = useRef(/** @type {HTMLElement|null} */ (null));
  useEffect(() => {
    box.current?.focus({ preventScroll: true });
    box.current?.scrollIntoView({ block: 'nearest' });
  }, []);
  const isRestartable = job.operations.includes('Restart');
  return html`<section ref=${box} class="notice waits existing" tabindex="-1" aria-labelledby="existing">
    <h2 id="existing">${t('submit.exists', { job: job.job_id })}</h2>
    <p><${StateBadge} state=${job.state} /> <${Ago} time=${job.end_time || job.create_time} /> · ${t('submit.exists.hint')}</p>
    <div class="tools"><a class="button" href=${hrefOf({ job: job.job_id })}>${t('submit.exists.open')}</a>
      ${isRestartable && html`<button type="button" onClick=${() => wishFor('Restart', [job], () => open(job.job_id))}>${t('submit.exists.restart')}…</button>`}
      <button type="button" onClick=${async () => open(await draft.submit({ isFresh: true }))}>${t('submit.exists.fresh')}</button></div>
  </section>`;
}

function headline() {
  if (draft.isBusy.value) return t('submit.checking');
  const verdict = draft.verdict.value;
  if (!verdict) return t('submit.empty');
  if (draft.existing.value) return t('submit.there');
  if (draft.error.value) return t('submit.refused');
  return verdict.problems.length ? t('submit.problems', { count: verdict.problems.length }) : t('submit.good');
}

/** @param {{problems: import('./draft.js').Problem[], kind: string, onGo: (line: number) => void}} props */
function Problems({ problems, kind, onGo }) {
  return problems.length > 0 && html`<ol class="problems">${problems.map(({ field, description, line, column }, index) => html`<li
      key=${index} class="notice ${kind === 'problem' ? 'problem' : 'waits'}">
    <p class="line">${line > 0 && html`<button type="button" onClick=${() => onGo(line)}>${t('submit.place', { line, column })}</button>`}
      ${field && html`<code>${plain(field)}</code>`}</p>
    <p>${plain(description)}</p>
  </li>`)}</ol>`;
}

/** How the job would run. @param {{verdict: import('./draft.js').Verdict}} props */
function Plan({ verdict }) {
  const { waves, tasks } = verdict;
  const isKnown = tasks.some(({ parties }) => parties.some(({ containers }) => containers.length));
  const wave = new Map(waves.flatMap(({ aliases }, index) => aliases.map((alias) => [alias, index + 1])));
  return html`<div class="scroller" tabindex="0" role="region" aria-label=${t('submit.plan')}><table class="plain">
    <thead><tr><th scope="col">${t('submit.wave')}</th><th scope="col">${t('matrix.task')}</th>
      <th scope="col">${t('column.parties')}</th>${isKnown && html`<th scope="col">${t('submit.command')}</th>`}</tr></thead>
    <tbody>${[...tasks].sort((a, b) => (wave.get(a.alias) ?? 0) - (wave.get(b.alias) ?? 0)).map(({ alias, parties }) => html`<tr key=${alias}>
      <td>${wave.get(alias)}</td><th scope="row">${plain(alias)}</th>
      <td>${parties.map(({ domain_id, role }) => (role ? `${domain_id} (${role})` : domain_id)).join(', ')}</td>
      ${isKnown && html`<td>${[...new Set(parties.flatMap(({ containers }) => containers.map(({ command, args }) => [...command, ...args].join(' '))))].map((line) =>
        html`<code class="command" key=${line}>${plain(line).slice(0, 300)}</code>`)}</td>`}
    </tr>`)}</tbody>
  </table></div>`;
}

/**
 * Bring a line of the text into sight, chosen.
 * @param {HTMLTextAreaElement|null} editor
 * @param {number} line from 1 on
 */
function showLine(editor, line) {
  if (!editor) return;
  const lines = editor.value.split('\n');
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  editor.focus();
  editor.setSelectionRange(start, start + (lines[line - 1] ?? '').length);
  editor.scrollTop = (line - 1) * (editor.scrollHeight / lines.length) - editor.clientHeight / 2;
}
