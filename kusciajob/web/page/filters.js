/** The filters of the list: what the address bar says, and a form that changes it. */
import { useRef } from '../vendor/preact-hooks.js';
import { domains } from './domains.js';
import { html } from './html.js';
import { go, hrefWith, place } from './place.js';
import { SIGNS } from './state.js';
import { stateName, t } from './texts.js';

/** Parameters of the address bar that are filters: the fields of ListJobsRequest. */
export const FILTERS = [
  'states', 'initiator', 'party', 'job_id_prefix', 'app_image', 'custom_fields', 'labels', 'created_after', 'created_before',
];
const STATES = Object.keys(SIGNS);
const TYPING_MS = 250;

/** What the address bar says, for ListJobs and WatchJobs. */
export function presentFilter() {
  return Object.fromEntries(
    FILTERS.map((name) => /** @type {[string, string[]]} */ ([name, place.value.getAll(name).filter(Boolean)]))
      .filter(([, values]) => values.length),
  );
}

export function Filters() {
  const filter = presentFilter();
  const states = filter.states ?? [];
  const isSpecial = ['app_image', 'custom_fields', 'labels', 'created_after', 'created_before'].some((name) => name in filter);
  /** @param {string} state */
  const toggle = (state) => {
    const next = states.includes(state) ? states.filter((each) => each !== state) : [...states, state];
    go(hrefWith({ states: next }), { replace: true });
  };
  return html`<form class="filters" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()} role="search">
    <fieldset class="chips"><legend class="unseen">${t('filter.state')}</legend>
      ${STATES.map((state) => html`<button type="button" key=${state} class="chip state-${state}"
        aria-pressed=${states.includes(state) ? 'true' : 'false'} onClick=${() => toggle(state)}>
        <span class="sign" aria-hidden="true">${SIGNS[state]}</span>${stateName(state)}</button>`)}
    </fieldset>
    <div class="fields">
      <${Field} name="job_id_prefix" label=${t('filter.prefix')} id="find" />
      <${Field} name="initiator" label=${t('filter.initiator')} isDomain />
      <${Field} name="party" label=${t('filter.party')} isDomain />
      <datalist id="domains">${domains.value.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      ${Object.keys(filter).length > 0 && html`<a class="clear" href=${location.pathname}>${t('filter.clear')}</a>`}
    </div>
    <details open=${isSpecial}><summary>${t('filter.more')}</summary>
      <div class="fields">
        <${Field} name="app_image" label=${t('filter.image')} />
        <${Field} name="custom_fields" label=${t('filter.field')} />
        <${Field} name="labels" label=${t('filter.label')} />
        <${TimeField} name="created_after" label=${t('filter.after')} />
        <${TimeField} name="created_before" label=${t('filter.before')} />
      </div>
    </details>
  </form>`;
}

/** @param {{name: string, label: string, id?: string, isDomain?: boolean}} props */
function Field({ name, label, id, isDomain = false }) {
  const timer = useRef(0);
  /** @param {string} value */
  const set = (value) => go(hrefWith({ [name]: value.trim() }), { replace: true });
  return html`<label>${label}
    <input type="search" id=${id} value=${place.value.get(name) ?? ''} spellcheck=${false} autocomplete="off"
      list=${isDomain ? 'domains' : undefined} placeholder=${isDomain ? t('filter.whole') : undefined}
      onInput=${(/** @type {any} */ { target }) => {
        clearTimeout(timer.current);
        timer.current = setTimeout(() => set(target.value), TYPING_MS);
      }} />
  </label>`;
}

/** @param {{name: string, label: string}} props */
function TimeField({ name, label }) {
  return html`<label>${label}
    <input type="datetime-local" value=${localTime(place.value.get(name))}
      onChange=${(/** @type {any} */ { target }) => {
        go(hrefWith({ [name]: target.value ? new Date(target.value).toISOString() : '' }), { replace: true });
      }} />
  </label>`;
}

/** @param {string|null} time RFC 3339 */
function localTime(time) {
  const at = time ? new Date(time) : null;
  if (!at || Number.isNaN(at.getTime())) return '';
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
