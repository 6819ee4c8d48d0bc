/** A row for each task, a bar for each party and attempt: how long it waited, was being started, and ran. */
import { useMemo, useState } from '../vendor/preact-hooks.js';
import { html } from './html.js';
import { moveFocus, useKeys } from './keys.js';
import { plain } from './plain.js';
import { go, hrefOf } from './place.js';
import { SIGNS, StateBadge } from './state.js';
import { stateName, t } from './texts.js';
import { exactTime, now, rangeText, spanText } from './time.js';
import { Told } from './told.js';
import { partsOf, rowsOf, spanOf, ticksOf } from './timeline.js';

/**
 * @typedef {import('./timeline.js').Bar} Bar
 * @typedef {import('./timeline.js').Row} Row
 * @typedef {import('./timeline.js').Span} Span
 * @typedef {{lane: number, bar: number}} Place of a bar, lanes counted over all rows
 */

/** In pixels; the names of the parties stand beside their lanes, see style.css. */
const LANE_HEIGHT = 20;
const HEAD_HEIGHT = 24;
const HEIGHTS = { wait: 2, start: 8, run: 12 };
/** Of the width; the rest is for the sign behind the last bar. */
const USED_PERCENT = 96;
const USED_PERCENT_NARROW = 90;
const MOST_TICKS = 7;
const NARROW = matchMedia('(max-width: 760px)');
const MOST_TICKS_NARROW = 3;
/** Of a task that has more parties, only so many have a lane. */
const MOST_LANES = 24;
const STEP = 1.5;
const LARGEST_ZOOM = 60;

/** How a bar ended, with the sign behind it. */
const LEGEND = [['Succeeded', SIGNS.Succeeded], ['Failed', SIGNS.Failed], ['Cancelled', '■']];

/** @param {{job: import('./types.js').Job}} props */
export function TimelineView({ job }) {
  const rows = useMemo(() => rowsOf(job).map(withFewLanes), [job]);
  const [zoom, setZoom] = useState(1);
  const [current, setCurrent] = useState(/** @type {Place} */ ({ lane: 0, bar: 0 }));
  const [shown, setShown] = useState(/** @type {Place|null} */ (null));
  const present = job.summary.end_time ? Date.parse(job.summary.end_time) : now.value;
  const span = spanOf(job, rows, present);
  const lanes = rows.flatMap((row) => row.lanes);
  const at = shown && lanes[shown.lane]?.bars[shown.bar];
  const zoomBy = (/** @type {number} */ factor) => setZoom((before) => Math.min(LARGEST_ZOOM, Math.max(1, before * factor)));
  useKeys({
    '+': () => zoomBy(STEP),
    '-': () => zoomBy(1 / STEP),
    0: () => setZoom(1),
    j: () => moveFocus('.timeline .name a', 1),
    k: () => moveFocus('.timeline .name a', -1),
  });
  /** @param {number} lane @param {1|-1} step @returns {number} the next lane with bars, else this one */
  const nextLane = (lane, step) => {
    for (let at = lane + step; at in lanes; at += step) if (lanes[at].bars.length) return at;
    return lane;
  };
  /** @param {Place} place of a lane that has bars */
  const moveTo = (place) => {
    const { lane } = place;
    const bar = Math.min(Math.max(0, place.bar), lanes[lane].bars.length - 1);
    setCurrent({ lane, bar });
    const next = /** @type {SVGElement|null} */ (document.querySelector(`[data-bar="${lane}.${bar}"]`));
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  };
  /** From bar to bar. @param {KeyboardEvent} event @param {Place} place @param {Bar} of */
  const walk = (event, { lane, bar }, of) => {
    /** @type {Record<string, Place>} */
    const ways = {
      ArrowLeft: { lane, bar: bar - 1 }, ArrowRight: { lane, bar: bar + 1 },
      ArrowUp: { lane: nextLane(lane, -1), bar }, ArrowDown: { lane: nextLane(lane, 1), bar },
    };
    if (event.key === 'Enter' || event.key === ' ') go(hrefOfBar(job.summary.job_id, of));
    else if (ways[event.key]) moveTo(ways[event.key]);
    else return;
    event.preventDefault();
  };
  const focusable = lanes[current.lane]?.bars[current.bar] ? current : { lane: lanes.findIndex(({ bars }) => bars.length), bar: 0 };
  const ticks = ticksOf(span, (NARROW.matches ? MOST_TICKS_NARROW : MOST_TICKS) * zoom);
  const used = NARROW.matches ? USED_PERCENT_NARROW : USED_PERCENT;
  const scale = (/** @type {number} */ time) => (time - span.from) / (span.to - span.from) * used;
  let laneNumber = 0;
  return html`
    <div class="tools">
      <p class="hint legend">${t('timeline.from', { time: exactTime(span.from) })}
        ${/** @type {const} */ (['wait', 'start', 'run']).map((kind) => html`<span key=${kind}><svg width="26" height="12" aria-hidden="true">
          <rect class="part-${kind} state-Running" y=${6 - HEIGHTS[kind] / 2} width="26" height=${HEIGHTS[kind]} /></svg> ${t(`timeline.${kind}`)}</span>`)}
        ${LEGEND.map(([state, sign]) => html`<span key=${state} class="end state-${state} ${state === 'Cancelled' ? 'is-stopped' : ''}"><svg width="40" height="14" aria-hidden="true">
          <rect class="part-run" x="1" y="1" width="24" height="12" /><text class="sign" x="28" y="11">${sign}</text></svg> ${endName(state)}</span>`)}</p>
      <span class="spring"></span>
      <button type="button" onClick=${() => zoomBy(1 / STEP)} aria-label=${t('graph.out')} title=${t('graph.out')}>−</button>
      <button type="button" onClick=${() => zoomBy(STEP)} aria-label=${t('graph.in')} title=${t('graph.in')}>+</button>
      <button type="button" onClick=${() => setZoom(1)}>${t('graph.fit')}</button>
    </div>
    <div class="card bartold">${at ? html`<${BarTold} bar=${at} present=${present} />` : html`<p class="hint">${t('timeline.hint')}</p>`}</div>
    <div class="scroller timeline" tabindex="0" role="region" aria-label=${t('job.timeline')}>
      <div class="rows" style=${{ width: `${zoom * 100}%` }}>
        <div class="row axis" aria-hidden="true"><div class="name"></div><div class="plot">
          ${ticks.map((tick) => html`<span key=${tick} style=${{ left: `${scale(span.from + tick)}%` }}>${spanText(tick)}</span>`)}
        </div></div>
        ${rows.map((row) => {
          const first = laneNumber;
          laneNumber += row.lanes.length;
          return html`<div class="row" key=${row.task.alias}>
            <div class="name"><p><span class="state-${row.task.state} sign" aria-hidden="true">${SIGNS[row.task.state] ?? '·'}</span>
                <a href=${hrefOf({ job: job.summary.job_id, task: row.task.alias })} title=${plain(row.task.alias)}>${plain(row.task.alias)}</a></p>
              ${row.lanes.map(({ name }) => html`<p class="lane" key=${name} title=${plain(name)}>${plain(name)}</p>`)}
              ${row.left > 0 && html`<p class="lane">${t('timeline.more', { count: row.left })}</p>`}</div>
            <div class="plot"><svg width="100%" height=${HEAD_HEIGHT + (row.lanes.length + (row.left ? 1 : 0)) * LANE_HEIGHT} role="group" aria-label=${plain(row.task.alias)}>
              ${ticks.map((tick) => html`<line key=${tick} class="tick" x1="${scale(span.from + tick)}%" x2="${scale(span.from + tick)}%" y1="0" y2="100%" />`)}
              ${row.lanes.map(({ bars }, index) => bars.map((bar, number) => {
                const place = { lane: first + index, bar: number };
                const isCurrent = place.lane === focusable.lane && number === focusable.bar;
                return html`<${BarShape} key=${`${index}.${number}`} bar=${bar} place=${place} y=${HEAD_HEIGHT + (index + 0.5) * LANE_HEIGHT - 3}
                  present=${present} scale=${scale} isCurrent=${isCurrent} onShow=${() => setShown(place)}
                  onFocus=${() => { setCurrent(place); setShown(place); }} onKeyDown=${walk} onClick=${() => go(hrefOfBar(job.summary.job_id, bar))} />`;
              }))}
            </svg></div>
          </div>`;
        })}
      </div>
    </div>
  `;
}

/** Those that failed come first where not all have room; `left` counts who has none. @param {Row} row @returns {Row & {left: number}} */
function withFewLanes({ task, lanes }) {
  if (lanes.length <= MOST_LANES) return { task, lanes, left: 0 };
  const rank = (/** @type {import('./timeline.js').Lane} */ { bars }) => (bars.at(-1)?.isFirst ? 0 : bars.at(-1)?.party?.state === 'Failed' ? 1 : 2);
  return { task, lanes: [...lanes].sort((a, b) => rank(a) - rank(b)).slice(0, MOST_LANES), left: lanes.length - MOST_LANES };
}

/** Its log, or its task where there is none yet. @param {string} job @param {Bar} bar */
function hrefOfBar(job, { task, party, attempt }) {
  if (!party) return hrefOf({ job, task: task.alias });
  return hrefOf({ job, view: 'logs', task: task.alias, party: party.domain_id, role: party.role, attempt: String(attempt) });
}

/**
 * @param {{bar: Bar, place: Place, y: number, present: number, scale: (time: number) => number, isCurrent: boolean,
 *   onShow: () => void, onFocus: () => void, onClick: () => void,
 *   onKeyDown: (event: KeyboardEvent, place: Place, bar: Bar) => void}} props `y`: of its middle
 */
function BarShape({ bar, place, y, present, scale, isCurrent, onShow, onFocus, onClick, onKeyDown }) {
  const parts = partsOf(bar, present);
  if (!parts.length) return null;
  const state = stateOf(bar);
  const from = scale(parts[0].from);
  const to = scale(/** @type {{to: number}} */ (parts.at(-1)).to);
  return html`<g class="timebar state-${state} ${bar.party?.was_stopped ? 'is-stopped' : ''}" data-bar=${`${place.lane}.${place.bar}`} role="link"
    tabindex=${isCurrent ? '0' : '-1'} aria-label=${labelOf(bar, present)} onFocus=${onFocus} onMouseEnter=${onShow} onClick=${onClick}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => onKeyDown(event, place, bar)}>
    <rect class="hit" x="${from}%" y=${y - LANE_HEIGHT / 2 + 1} width="${Math.max(0.4, to - from)}%" height=${LANE_HEIGHT - 2} rx="3" />
    ${parts.map((part) => html`<rect key=${part.kind} class="part-${part.kind}" x="${scale(part.from)}%" y=${y - HEIGHTS[part.kind] / 2}
      width="${scale(part.to) - scale(part.from)}%" height=${HEIGHTS[part.kind]} />`)}
    ${bar.party && bar.ended !== null && html`<text class="sign" x="${to}%" dx="4" y=${y + 4}>${bar.party.was_stopped ? '■' : SIGNS[bar.party.state]}</text>`}
  </g>`;
}

/** @param {Bar} bar */
function stateOf({ party, task, ended }) {
  if (party) return party.was_stopped ? 'Cancelled' : party.state;
  return ended === null ? task.state : 'Cancelled';
}

/** @param {string} state of a bar */
function endName(state) {
  return state === 'Cancelled' ? t('matrix.stopped.other') : stateName(state);
}

/** What became of it, in words. @param {Bar} bar */
function endTexts({ party, isFirst, ended }) {
  if (!party) return [t(ended === null ? 'timeline.awaited' : 'timeline.never')];
  const code = party.signal || (party.exit_code !== null && party.state === 'Failed' ? t('why.exit', { code: party.exit_code }) : '');
  return [party.was_stopped ? t('matrix.stopped.other') : stateName(party.state), isFirst ? t('matrix.first') : '', code].filter(Boolean);
}

/** The times of a bar, each with how long it took. @param {Bar} bar @param {number} present */
function timesOf(bar, present) {
  return partsOf(bar, present).map(({ kind, from, to }) => {
    const isGoingOn = to === present && bar.ended === null;
    return { kind, text: `${spanText(to - from)}: ${rangeText(from, isGoingOn ? null : to, t('timeline.now'))}` };
  });
}

/** For who hears it. @param {Bar} bar @param {number} present */
function labelOf(bar, present) {
  const times = timesOf(bar, present).map(({ kind, text }) => `${t(`timeline.${kind}`)} ${text}`);
  return [`${plain(bar.task.alias)}, ${plain(bar.name)}, ${t('matrix.attempt', { number: bar.attempt })}`, endTexts(bar).join(', '), ...times].join('; ');
}

/** @param {{bar: Bar, present: number}} props */
function BarTold({ bar, present }) {
  const hasBadge = bar.party !== null && !bar.party.was_stopped;
  const text = bar.party ? bar.party.err_msg : bar.task.err_msg;
  return html`
    <p class="line"><strong>${plain(bar.task.alias)}</strong> ${plain(bar.name)} <span class="tag">${t('matrix.attempt', { number: bar.attempt })}</span>
      ${hasBadge && html`<${StateBadge} state=${bar.party?.state} />`}
      ${(hasBadge ? endTexts(bar).slice(1) : endTexts(bar)).map((each) => html`<span class="tag" key=${each}>${each}</span>`)}</p>
    <dl class="keys">${timesOf(bar, present).map(({ kind, text: time }) => html`<dt key=${kind}>${t(`timeline.${kind}`)}</dt><dd>${time}</dd>`)}</dl>
    ${text && html`<${Told} text=${text} />`}`;
}
