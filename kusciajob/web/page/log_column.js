/** A box of a log's lines: those of all parties interleaved, or those of one beside the others. */
import { signal } from '../vendor/signals.js';
import { useEffect, useMemo, useRef } from '../vendor/preact-hooks.js';
import { html } from './html.js';
import { plain } from './plain.js';
import { t } from './texts.js';
import { cutText } from './told.js';

/** As in style.css. */
const LINE_HEIGHT = 20;
const SPARE_LINES = 20;
const COLOURS = 6;
const LONGEST_LINE = 4_000;

/**
 * It has the rows in sight in its document, and stays at its end while one is there.
 * @param {{lines: import('./task_log.js').Line[], parties: string[], sought: string, title?: string}} props
 *   `parties`: of the task, each has a colour by its place; `sought`: in lower case;
 *   `title`: the only party that these lines are of, where others stand beside it
 */
export function LogColumn({ lines, parties, sought, title }) {
  const box = useRef(/** @type {HTMLElement|null} */ (null));
  const top = useMemo(() => signal(0), []);
  const isAtEnd = useRef(true);
  useEffect(() => {
    if (box.current && isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length]);
  const scroll = () => {
    if (!box.current) return;
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    isAtEnd.current = scrollTop + clientHeight >= scrollHeight - LINE_HEIGHT;
    top.value = Math.floor(scrollTop / LINE_HEIGHT);
  };
  // Columns that stand beside it may hide it; the focus alone does not bring it back.
  const reveal = () => box.current?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  const first = Math.max(0, top.value - SPARE_LINES);
  const count = Math.ceil((box.current?.clientHeight ?? 600) / LINE_HEIGHT) + 2 * SPARE_LINES;
  return html`<div class="column">
    ${title && html`<h2><span class="who party-${parties.indexOf(title) % COLOURS}">${plain(title)}</span>
      <span class="hint">${t('log.shown', { count: lines.length })}</span></h2>`}
    <div class="log" ref=${box} onScroll=${scroll} onFocus=${reveal} tabindex="0" role="log" aria-live="off"
      aria-label=${title ? `${t('job.logs')}: ${plain(title)}` : t('job.logs')}>
      ${lines.length === 0 && html`<p class="hint">${t(sought ? 'log.unfound' : 'log.empty')}</p>`}
      <div class="lines" style=${{ height: `${lines.length * LINE_HEIGHT}px` }}>
        <div class="window" style=${{ transform: `translateY(${first * LINE_HEIGHT}px)` }}>
          ${lines.slice(first, first + count).map((line) => html`<${LineRow} key=${line.key} line=${line} sought=${sought}
            colour=${parties.indexOf(line.party) % COLOURS} isNamed=${!title && parties.length > 1} />`)}
        </div>
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
