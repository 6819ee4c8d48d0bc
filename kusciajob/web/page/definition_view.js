/** What was asked for: the job file, its AppImages, and the config files as its programs get them. */
import { useEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { address, read } from './api.js';
import { Choice } from './choice.js';
import { draft, MOST_BYTES } from './draft.js';
import { html } from './html.js';
import { useKeys } from './keys.js';
import { go, hrefOf, place } from './place.js';
import { plain } from './plain.js';
import { copy, save } from './save.js';
import { partyName } from './task_parties.js';
import { t } from './texts.js';
import { cutText } from './told.js';
import { beyondFile, jobFile, toYaml, withoutDefaults } from './yaml.js';

/** @typedef {import('./types.js').AppImage} AppImage */

/** A longer text is cut for the eye; the file is whole. */
const MOST_SHOWN = 200_000;

/** @param {{job: import('./types.js').Job}} props */
export function DefinitionView({ job }) {
  const { request, summary } = job;
  const { number } = summary;
  const file = useMemo(() => jobFile(request), [number]);
  const more = useMemo(() => beyondFile(request), [number]);
  const images = useMemo(() => [...new Set(request.job.tasks.map(({ app_image }) => app_image))], [number]);
  return html`
    <section class="card panel">
      <${TextHead} title=${t('definition.file')} text=${file.text} name=${`${summary.job_id}.${file.type}`} isMain>
        ${file.text.length <= MOST_BYTES && html`<button type="button" onClick=${() => again(file.text)}>${t('definition.again')}…</button>`}<//>
      <p class="hint"><code>kusciajob create -f ${summary.job_id}.${file.type}</code></p>
      <${Text} text=${file.text} label=${t('definition.file')} />
    </section>
    ${more && html`<section class="card panel">
      <h2>${t('definition.more')}</h2><p class="hint">${t('definition.more.hint')}</p>
      <${Text} text=${more} label=${t('definition.more')} /></section>`}
    <section class="card panel">
      <h2>${t('definition.images')}</h2>
      ${images.map((name, index) => html`<${Image} key=${name} name=${name} isOpen=${index === 0} />`)}
    </section>
    <${Config} job=${job} />`;
}

/** Begin a job with the text of another. @param {string} text */
function again(text) {
  draft.write(text);
  go(hrefOf({ show: 'submit' }));
}

/** The config files of one party. @param {{job: import('./types.js').Job}} props */
function Config({ job: { request, summary, tasks } }) {
  const params = place.value;
  const task = request.job.tasks.find(({ alias }) => alias === params.get('task')) ?? request.job.tasks[0];
  const party = task.parties.some(({ domain_id }) => domain_id === params.get('party')) ? params.get('party') ?? '' : '';
  const role = party ? params.get('role') ?? '' : '';
  // What is rendered is that of the present attempt, with its addresses.
  const { attempt, state } = /** @type {import('./types.js').Task} */ (tasks.find(({ alias }) => alias === task.alias));
  const domains = [...new Set(task.parties.map(({ domain_id }) => domain_id))];
  const roles = [...new Set(task.parties.filter(({ domain_id }) => domain_id === party).map((each) => each.role))];
  return html`<section class="card panel">
    <h2>${t('definition.config')}</h2><p class="hint">${t('definition.config.hint')}</p>
    <div class="tools logtools">
      <${Choice} label=${t('log.task')} name="task" value=${task.alias} forget=${['party', 'role']}
        options=${request.job.tasks.map(({ alias }) => [alias, plain(alias)])} />
      <${Choice} label=${t('definition.party')} name="party" value=${party} forget=${['role']}
        options=${[['', t('definition.party.first')], ...domains.map((id) => [id, id])]} />
      ${roles.length > 1 && html`<${Choice} label=${t('definition.role')} name="role" value=${role}
        options=${[['', t('definition.party.first')], ...roles.filter(Boolean).map((each) => [each, plain(each)])]} />`}
    </div>
    <${ConfigFiles} key=${`${attempt} ${state}`} where=${address(`/v1/jobs/${encodeURIComponent(summary.job_id)}/config`, { alias: task.alias, domain_id: party, role })} />
  </section>`;
}

/** @param {{where: string}} props */
function ConfigFiles({ where }) {
  const [config, error] = useAnswer(where, (/** @type {import('./types.js').TaskConfig} */ answer) => answer);
  if (error) return html`<p class="hint">${t('definition.noimage', { text: plain(error.message) })}</p>`;
  if (!config) return html`<p class="hint">${t('loading')}</p>`;
  if (config.problem) return html`<p class="notice problem">${plain(config.problem)}</p>`;
  const name = plain(partyName(config));
  if (!config.files.length) return html`<p class="hint">${t('definition.noconfig', { party: name })}</p>`;
  return config.files.map(({ container, path, text, is_cut }) => html`<h3 key=${`${container} ${path}`}>${name} <code>${plain(path)}</code></h3>
    <${Text} text=${text} label=${`${name} ${plain(path)}`} />${is_cut && html`<p class="hint">${t('definition.config.cut')}</p>`}`);
}

/** @param {{title: string, text: string, name: string, isMain?: boolean, children?: unknown}} props */
function TextHead({ title, text, name, isMain = false, children }) {
  const [told, setTold] = useState('');
  const take = async () => setTold(await copy(text) ? t('definition.copied') : t('definition.notcopied'));
  useKeys(isMain ? { c: take, d: () => save(text, name) } : {});
  return html`<div class="tools"><h2>${title}</h2><span class="spring"></span>
    <span class="hint" role="status">${told}</span>
    <button type="button" onClick=${take}>${t('definition.copy')}</button>
    <button type="button" onClick=${() => save(text, name)}>${t('log.download')}</button>${children}</div>`;
}

/** @param {{text: string, label: string}} props */
function Text({ text, label }) {
  return html`<pre class="source" tabindex="0" role="region" aria-label=${label}>${plain(text.slice(0, MOST_SHOWN))}</pre>
    ${text.length > MOST_SHOWN && html`<p class="hint">${cutText(text.length, MOST_SHOWN)}</p>`}`;
}

/** @param {{name: string, isOpen: boolean}} props */
function Image({ name, isOpen }) {
  const [isShown, setShown] = useState(isOpen);
  return html`<details open=${isOpen} onToggle=${(/** @type {any} */ { target }) => setShown(target.open)}>
    <summary>${plain(name)}</summary>${isShown && html`<${ImageDetails} name=${name} />`}</details>`;
}

/** @param {{name: string}} props */
function ImageDetails({ name }) {
  const [image, error] = useAnswer(`/v1/appImages/${encodeURIComponent(name)}`, (/** @type {{app_image: AppImage}} */ { app_image }) => app_image);
  if (error) return html`<p class="hint">${t('definition.noimage', { text: plain(error.message) })}</p>`;
  if (!image) return html`<p class="hint">${t('loading')}</p>`;
  const definition = { ...image.definition, status: null };
  return html`<p><code>${plain(image.image)}</code> ${image.file && html`<span class="hint">${plain(image.file)}</span>`}</p>
    <ul class="roles">${image.roles.map(({ role, replicas, ports }, index) => html`<li key=${index}><strong>${role ? plain(role) : t('definition.anyrole')}</strong>${replicas > 1 ? ` × ${replicas}` : ''}
      ${ports.map((port) => html` <span class="tag" key=${port.name}>${plain(port.name)} ${port.protocol} ${port.scope}</span>`)}</li>`)}</ul>
    <${Text} text=${toYaml(withoutDefaults(definition))} label=${plain(name)} />`;
}

/**
 * What the server answers, once it has.
 * @template T, U
 * @param {string} where
 * @param {(answer: T) => U} part
 * @returns {[U|null, Error|null]}
 */
function useAnswer(where, part) {
  const [answer, setAnswer] = useState(/** @type {U|null} */ (null));
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const get = useRef(part);
  useEffect(() => {
    const abort = new AbortController();
    setAnswer(null);
    setError(null);
    read(where, abort.signal).then(
      (told) => setAnswer(get.current(told)),
      (failure) => { if (!abort.signal.aborted) setError(failure); },
    );
    return () => abort.abort();
  }, [where]);
  return [answer, error];
}
