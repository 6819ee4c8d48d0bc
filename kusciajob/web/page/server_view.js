/** What the server is, does at present, allows and can run. */
import { signal } from '../vendor/signals.js';
import { useEffect } from '../vendor/preact-hooks.js';
import { address, read } from './api.js';
import { en } from './en.js';
import { html } from './html.js';
import { plain } from './plain.js';
import { pause } from './streams.js';
import { language, t } from './texts.js';
import { duration, fullTime } from './time.js';

/**
 * @typedef {object} Load
 * @property {string} jobs
 * @property {string} scheduled_jobs
 * @property {string} jobs_waiting_for_room
 * @property {string} running_parties
 * @property {string} store_queue_length
 * @property {string|null} commit_median
 * @property {string|null} commit_p99
 * @property {string} watch_streams
 * @property {string} watch_lag_events_max
 *
 * @typedef {object} ServerInfo
 * @property {string} version
 * @property {string} runtime
 * @property {string[]} capabilities
 * @property {Record<string, string>} limits
 * @property {Record<string, string>} used
 * @property {string} start_time
 * @property {{domain_id: string, is_master: boolean}} caller
 * @property {string} revision
 * @property {Load|null} load
 *
 * @typedef {{role: string, replicas: number, ports: {name: string, protocol: string, scope: string}[]}} Role
 * @typedef {{name: string, image: string, file: string, roles: Role[]}} AppImage
 */

const ASK_EACH_MS = 2_000;
const PAGE_SIZE = '200';

const info = signal(/** @type {ServerInfo|null} */ (null));
const images = signal(/** @type {AppImage[]} */ ([]));
const nextImages = signal(/** @type {string|null} */ (null));
const error = signal(/** @type {Error|null} */ (null));

export function ServerView() {
  useEffect(() => {
    document.title = `${t('server')} · kusciajob`;
  });
  useEffect(() => {
    const abort = new AbortController();
    info.value = null;
    images.value = [];
    follow(abort.signal);
    moreImages('', abort.signal);
    return () => abort.abort();
  }, []);
  const told = info.value;
  return html`<h1>${t('server')}</h1>
    ${error.value && html`<p class="notice problem" role="alert">${t('failed', { text: plain(error.value.message) })}</p>`}
    ${!told && !error.value && html`<p class="notice" role="status">${t('loading')}</p>`}
    ${told && html`<${Identity} info=${told} /><${Present} info=${told} /><${Limits} info=${told} /><${Images} />`}`;
}

/** @param {AbortSignal} signal */
async function follow(signal) {
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        info.value = await read('/v1/server', signal);
        error.value = null;
      } catch (problem) {
        if (signal.aborted) return;
        error.value = /** @type {Error} */ (problem);
      }
    }
    await pause(ASK_EACH_MS, signal);
  }
}

/** @param {string} pageToken @param {AbortSignal} [signal] */
async function moreImages(pageToken, signal) {
  try {
    /** @type {{app_images: AppImage[], next_page_token: string}} */
    const page = await read(address('/v1/appImages', { page_size: PAGE_SIZE, page_token: pageToken }), signal);
    images.value = [...images.value, ...page.app_images];
    nextImages.value = page.next_page_token;
  } catch (problem) {
    if (!signal?.aborted) error.value = /** @type {Error} */ (problem);
  }
}

/** @param {{info: ServerInfo}} props */
function Identity({ info: { version, runtime, start_time, caller, revision, capabilities } }) {
  return html`<dl class="facts">
    <div><dt>${t('server.version')}</dt><dd>${version}</dd></div>
    <div><dt>${t('server.runtime')}</dt><dd>${runtime}</dd></div>
    <div><dt>${t('server.uptime')}</dt><dd title=${fullTime(start_time)}>${duration(start_time, null)}</dd></div>
    <div><dt>${t('server.caller')}</dt><dd>${caller.is_master ? t('server.master') : t('server.domain', { domain: caller.domain_id })}</dd></div>
    <div><dt>${t('server.revision')}</dt><dd>${number(revision)}</dd></div>
    ${capabilities.length > 0 && html`<div><dt>${t('server.capabilities')}</dt><dd>${capabilities.join(', ')}</dd></div>`}
  </dl>`;
}

/** @param {{info: ServerInfo}} props */
function Present({ info: { load } }) {
  if (!load) return html`<h2>${t('server.now')}</h2><p class="hint">${t('server.masteronly')}</p>`;
  return html`<h2>${t('server.now')}</h2><dl class="gauges">
    <${Gauge} name=${t('server.jobs')} value=${number(load.jobs)} />
    <${Gauge} name=${t('server.scheduled')} value=${number(load.scheduled_jobs)} />
    <${Gauge} name=${t('server.waiting')} value=${number(load.jobs_waiting_for_room)} isBad=${load.jobs_waiting_for_room !== '0'} />
    <${Gauge} name=${t('server.parties')} value=${number(load.running_parties)} />
    <${Gauge} name=${t('server.queue')} value=${number(load.store_queue_length)} />
    <${Gauge} name=${t('server.commit')} value=${milliseconds(load.commit_median)} />
    <${Gauge} name=${t('server.commit99')} value=${milliseconds(load.commit_p99)} />
    <${Gauge} name=${t('server.streams')} value=${number(load.watch_streams)} />
    <${Gauge} name=${t('server.lag')} value=${number(load.watch_lag_events_max)} />
  </dl>`;
}

/** @param {{name: string, value: string, isBad?: boolean}} props */
function Gauge({ name, value, isBad = false }) {
  return html`<div class="card ${isBad ? 'is-bad' : ''}"><dt>${name}</dt><dd>${value}</dd></div>`;
}

/** @param {{info: ServerInfo}} props */
function Limits({ info: { limits, used, caller } }) {
  const names = Object.keys(limits).sort();
  return html`<h2>${t('server.limits')}</h2>
    <div class="scroller" tabindex="0" role="region" aria-label=${t('server.limits')}><table class="plain">
      <thead><tr><th scope="col">${t('server.limit')}</th><th scope="col" class="number">${t('server.most')}</th>
        <th scope="col" class="number">${t('server.used')}</th><th scope="col">${t('server.share')}</th></tr></thead>
      <tbody>${names.map((name) => html`<tr key=${name}>
        <th scope="row"><code>${name}</code>${limitText(name) && html`<p class="hint">${limitText(name)}</p>`}</th>
        <td class="number">${limits[name] === '0' ? t('server.nolimit') : number(limits[name])}</td>
        ${name in used ? html`<td class="number">${number(used[name])}</td>
        <td>${limits[name] !== '0' && html`<${Share} part=${Number(used[name]) / Number(limits[name])} />`}</td>`
          : html`<td colspan="2" class="hint uncounted">${uncountedText(name, caller)}</td>`}
      </tr>`)}</tbody>
    </table></div>`;
}

/** They hold for each program, request or log by itself: there is no sum to tell. */
const OF_EACH = new Set(['max_processes', 'max_restarts', 'max_message_mib', 'output_limit_mib']);
const KEPT = new Set(['log_retention_events', 'log_retention_mib']);

/** What it limits, who is hit, and what happens there. @param {string} name of a setting */
function limitText(name) {
  const key = /** @type {keyof typeof en} */ (`limit.${name}`);
  return key in en ? t(key) : '';
}

/** Why nothing is told of how much is used. @param {string} name @param {ServerInfo['caller']} caller */
function uncountedText(name, { is_master }) {
  if (OF_EACH.has(name)) return t('server.each');
  if (KEPT.has(name)) return t('server.kept');
  return is_master ? t('server.bydomain') : t('server.bymaster');
}

/** @param {{part: number}} props 0 to 1 */
function Share({ part }) {
  const state = part >= 0.95 ? 'Failed' : part >= 0.8 ? 'Suspended' : 'Running';
  return html`<span class="progress"><svg class="meter state-${state}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rest" width="100" height="6" /><rect class="done" width=${100 * Math.min(1, part)} height="6" />
  </svg><span class="fraction">${new Intl.NumberFormat(language.value, { style: 'percent', maximumFractionDigits: 1 }).format(part)}</span></span>`;
}

function Images() {
  return html`<h2>${t('server.images')}</h2>
    ${images.value.length === 0 ? html`<p class="hint">${t('server.noimages')}</p>` : html`<div class="scroller" tabindex="0" role="region"
        aria-label=${t('server.images')}><table class="plain">
      <thead><tr><th scope="col">${t('filter.image')}</th><th scope="col">${t('server.image')}</th>
        <th scope="col">${t('server.roles')}</th><th scope="col">${t('server.file')}</th></tr></thead>
      <tbody>${images.value.map(({ name, image, file, roles }) => html`<tr key=${name}>
        <th scope="row">${plain(name)}</th><td>${plain(image)}</td>
        <td>${roles.map((role, index) => html`<p key=${index}>${roleText(role)}</p>`)}</td>
        <td>${file ? html`<code>${plain(file)}</code>` : t('server.api')}</td>
      </tr>`)}</tbody>
    </table></div>`}
    ${nextImages.value && html`<p><button type="button" onClick=${() => moreImages(nextImages.value ?? '')}>${t('server.more')}</button></p>`}`;
}

/** @param {Role} role */
function roleText({ role, replicas, ports }) {
  const name = role ? plain(role) : t('server.anyrole');
  const many = replicas > 1 ? ` × ${replicas}` : '';
  return `${name}${many}${ports.length ? `: ${ports.map((port) => `${plain(port.name)} ${port.protocol} ${port.scope}`).join(', ')}` : ''}`;
}

/** @param {string} value a 64-bit integer */
function number(value) {
  return new Intl.NumberFormat(language.value).format(BigInt(value));
}

/** @param {string|null} seconds such as `0.0012s` */
function milliseconds(seconds) {
  if (!seconds) return '–';
  return `${new Intl.NumberFormat(language.value, { maximumSignificantDigits: 3 }).format(Number(seconds.slice(0, -1)) * 1000)} ms`;
}
