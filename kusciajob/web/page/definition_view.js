/** What was asked for: the job file, its AppImages, and the config files as its programs get them. */
import { useEffect, useMemo, useRef, useState } from '../vendor/preact-hooks.js';
import { read } from './api.js';
import { html } from './html.js';
import { useKeys } from './keys.js';
import { plain } from './plain.js';
import { copy, save } from './save.js';
import { t } from './texts.js';
import { cutText } from './told.js';
import { beyondFile, jobFile, toYaml, withoutDefaults } from './yaml.js';

/** @typedef {import('./types.js').AppImage} AppImage */

/** A longer text is cut for the eye; the file is whole. */
const MOST_SHOWN = 200_000;

/** @param {{job: import('./types.js').Job}} props */
export function DefinitionView({ job: { request, summary } }) {
  const { number } = summary;
  const file = useMemo(() => jobFile(request), [number]);
  const more = useMemo(() => beyondFile(request), [number]);
  const images = useMemo(() => [...new Set(request.job.tasks.map(({ app_image }) => app_image))], [number]);
  return html`
    <section class="card panel">
      <${TextHead} title=${t('definition.file')} text=${file.text} name=${`${summary.job_id}.${file.type}`} isMain />
      <p class="hint"><code>kusciajob create -f ${summary.job_id}.${file.type}</code></p>
      <${Text} text=${file.text} label=${t('definition.file')} />
    </section>
    ${more && html`<section class="card panel">
      <h2>${t('definition.more')}</h2><p class="hint">${t('definition.more.hint')}</p>
      <${Text} text=${more} label=${t('definition.more')} /></section>`}
    <section class="card panel">
      <h2>${t('definition.images')}</h2>
      ${images.map((name, index) => html`<${Image} key=${name} name=${name} isOpen=${index === 0} />`)}
    </section>`;
}

/** @param {{title: string, text: string, name: string, isMain?: boolean}} props */
function TextHead({ title, text, name, isMain = false }) {
  const [told, setTold] = useState('');
  const take = async () => setTold(await copy(text) ? t('definition.copied') : t('definition.notcopied'));
  useKeys(isMain ? { c: take, d: () => save(text, name) } : {});
  return html`<div class="tools"><h2>${title}</h2><span class="spring"></span>
    <span class="hint" role="status">${told}</span>
    <button type="button" onClick=${take}>${t('definition.copy')}</button>
    <button type="button" onClick=${() => save(text, name)}>${t('log.download')}</button></div>`;
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
    read(where, abort.signal).then(
      (told) => setAnswer(get.current(told)),
      (failure) => { if (!abort.signal.aborted) setError(failure); },
    );
    return () => abort.abort();
  }, [where]);
  return [answer, error];
}
