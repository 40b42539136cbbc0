// @ts-check
/** The stretch of a song that is searched with: chosen by dragging, by keys, or in figures. */

import { clock, parseClock, spoken } from "./clock.js";
import { byId } from "./element.js";
import { edit, now, onDesk } from "./state.js";

const SHORTEST_SECONDS = 1;
const DRAG_PIXELS = 4;

/** @returns {[number, number]} the stretch on the desk, in seconds */
function stretch() {
  const example = onDesk();
  return example ? [example.from ?? 0, Math.min(example.to ?? example.duration, example.duration)] : [0, 1];
}

/**
 * Search with this stretch alone.
 *
 * @param {number | null} from seconds; null, or both ends of the song: the whole song
 * @param {number | null} to
 */
export function choose(from, to) {
  const example = onDesk();
  if (!example) return;
  const first = Math.max(0, Math.min(from ?? 0, example.duration - SHORTEST_SECONDS));
  const last = Math.min(example.duration, Math.max(to ?? example.duration, first + SHORTEST_SECONDS));
  const whole = first < 0.05 && last > example.duration - 0.05;
  const round = (/** @type {number} */ seconds) => Math.round(seconds * 10) / 10;
  edit(now().active, { from: whole ? null : round(first), to: whole ? null : round(last) });
}

/** Show the stretch on the desk: veils over what is left out, handles, figures. */
export function showStretch() {
  const example = onDesk();
  if (!example) return;
  const [from, to] = stretch();
  const share = (/** @type {number} */ seconds) => `${(100 * seconds) / example.duration}%`;
  byId("veil-before").style.width = share(from);
  byId("veil-after").style.left = share(to);
  for (const [id, seconds, low, high] of /** @type {[string, number, number, number][]} */ ([
    ["handle-from", from, 0, to],
    ["handle-to", to, from, example.duration],
  ])) {
    const handle = byId(id);
    handle.style.left = share(seconds);
    handle.setAttribute("aria-valuemin", String(Math.round(low)));
    handle.setAttribute("aria-valuemax", String(Math.round(high)));
    handle.setAttribute("aria-valuenow", String(Math.round(seconds)));
    handle.setAttribute("aria-valuetext", spoken(seconds));
  }
  const whole = example.from === null && example.to === null;
  byId("stretch").classList.toggle("whole", whole);
  byId("whole").hidden = whole;
  for (const [id, seconds] of /** @type {[string, number][]} */ ([["from", from], ["to", to]])) {
    if (document.activeElement !== byId(id)) byId(id).value = clock(seconds);
  }
}

/** @param {PointerEvent} event @returns {number} seconds at the pointer */
function secondsAt(event) {
  const box = byId("stretch").getBoundingClientRect();
  const share = (event.clientX - box.left) / Math.max(1, box.width);
  return Math.min(1, Math.max(0, share)) * (onDesk()?.duration ?? 0);
}

/** @param {(seconds: number) => void} onClick called where it was clicked, not dragged */
function followPointer(onClick) {
  /** @type {HTMLElement} */
  const field = byId("stretch");
  /** @type {{x: number, seconds: number, end: "from" | "to" | null, moved: boolean} | null} */
  let drag = null;
  field.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const handle = /** @type {HTMLElement} */ (event.target).id;
    const end = handle === "handle-from" ? "from" : handle === "handle-to" ? "to" : null;
    drag = { x: event.clientX, seconds: secondsAt(event), end, moved: false };
    field.setPointerCapture(event.pointerId);
    if (end) byId(handle).focus();
  });
  field.addEventListener("pointermove", (event) => {
    if (!drag || (!drag.moved && Math.abs(event.clientX - drag.x) < DRAG_PIXELS)) return;
    drag.moved = true;
    const here = secondsAt(event);
    const [from, to] = stretch();
    if (drag.end === "from") choose(Math.min(here, to - SHORTEST_SECONDS), to);
    else if (drag.end === "to") choose(from, Math.max(here, from + SHORTEST_SECONDS));
    else choose(Math.min(here, drag.seconds), Math.max(here, drag.seconds));
  });
  field.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved && !drag.end) onClick(secondsAt(event));
    drag = null;
  });
  field.addEventListener("pointercancel", () => {
    drag = null;
  });
}

/** @param {"from" | "to"} end @param {KeyboardEvent} event */
function moveHandle(end, event) {
  const [from, to] = stretch();
  const step = event.shiftKey ? 10 : 1;
  const moves = /** @type {Record<string, number>} */ ({
    ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageDown: -10, PageUp: 10,
    Home: -Infinity, End: Infinity,
  });
  const move = moves[event.key];
  if (move === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  const duration = onDesk()?.duration ?? 0;
  if (end === "from") choose(Math.min(Math.max(0, from + move), to - SHORTEST_SECONDS), to);
  else choose(from, Math.max(Math.min(duration, to + move), from + SHORTEST_SECONDS));
}

/** @param {(seconds: number) => void} onClick called where the song is clicked */
export function startStretch(onClick) {
  followPointer(onClick);
  for (const end of /** @type {("from" | "to")[]} */ (["from", "to"])) {
    byId(`handle-${end}`).addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => moveHandle(end, event));
    const field = byId(end);
    field.addEventListener("change", () => {
      const seconds = parseClock(field.value);
      const [from, to] = stretch();
      if (seconds !== null) choose(end === "from" ? Math.min(seconds, to - SHORTEST_SECONDS) : from, end === "to" ? seconds : to);
      field.value = clock(stretch()[end === "from" ? 0 : 1]);
    });
    field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") field.dispatchEvent(new Event("change"));
    });
  }
  byId("whole").addEventListener("click", () => {
    choose(null, null);
    byId("handle-from").focus();
  });
}
