// @ts-check
/** The map of the collection, part by part: pointing, playing, searching from it. */

import * as api from "./api.js";
import { Chart } from "./chart.js";
import { byId, element } from "./element.js";
import { trackRow } from "./match.js";
import { say } from "./notices.js";
import { LABELS, PARTS } from "./parts.js";
import { play, sourceOfTrack, toggle } from "./player.js";
import { askWith, showPlaying } from "./results.js";
import { detailsOf } from "./songs.js";
import { now, on, set } from "./state.js";

/** @typedef {import("./chart.js").Point} Point */

const AGAIN_MILLISECONDS = 1500;
const LISTED = 40;
/** @type {Chart} */
let chart;
/** @type {Map<string, {final: boolean, points: Point[]}>} */
const known = new Map();
let running = new AbortController();
let shown = "";
/** @type {string | null} */
let chosen = null;

/** @param {Point} point */
async function hear(point) {
  if (now().playing?.sources.b?.key === point.id) {
    toggle();
    return;
  }
  const match = now().answer?.matches.find((/** @type {any} */ one) => one.track.id === point.id);
  const track = match?.track ?? (await detailsOf(point.id).catch(() => null));
  if (track) play(null, sourceOfTrack(track, match?.passage.match_seconds ?? 0), "b");
}

/** @param {Point} point */
function search(point) {
  void askWith(point.id, "alone");
}

/** @param {Point | null} point @param {boolean} [pinned] whether it was chosen, not only pointed at */
function tip(point, pinned = false) {
  const box = byId("chart-tip");
  box.hidden = !point;
  if (!point) return;
  box.replaceChildren(element("strong", {}, point.title));
  if (point.artist) box.append(element("span", {}, point.artist));
  if (pinned) box.append(element("button.quiet", { type: "button", onclick: () => search(point) }, "Search from this"));
  box.classList.toggle("pinned", pinned);
  const [px, py] = chart.toScreen(point.x, point.y);
  const { clientWidth: width } = chart.canvas;
  box.style.left = `${Math.min(Math.max(px, 100), width - 100)}px`;
  box.style.top = `${py}px`;
  box.classList.toggle("below", py < 110);
}

/** @param {Point | null} point */
function choose(point) {
  chosen = point?.id ?? null;
  mark();
  tip(point, true);
  showList();
  if (point) say(`${point.title}${point.artist ? `, ${point.artist}` : ""}`);
}

/** Mark the query, the matches and what is heard. */
function mark() {
  const { examples, answer, playing, mapPart } = now();
  chart.marks = {
    query: new Set(examples.filter((one) => !one.away && one.track).map((one) => /** @type {string} */ (one.track))),
    matches: new Map(examples.length ? (answer?.matches ?? []).map((/** @type {any} */ one, /** @type {number} */ i) => [one.track.id, i]) : []),
    playing: playing?.sources.b?.key ?? null,
    chosen,
    hue: `--${mapPart}`,
  };
  chart.draw();
}

/** Ask for the map of the part, and again while the server makes a better one. */
async function load() {
  const { mapPart, view } = now();
  running.abort();
  if (view !== "map") return;
  const mine = new AbortController();
  running = mine;
  const there = known.get(mapPart);
  if (there) showPoints(there);
  if (there?.final) return;
  if (!there) word(`Laying out the map by ${LABELS[mapPart].toLowerCase()}…`);
  try {
    for (;;) {
      const answer = await api.map(mapPart, mine.signal);
      if (mine.signal.aborted) return;
      known.set(mapPart, answer);
      showPoints(answer);
      if (answer.final) return;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLISECONDS));
      if (mine.signal.aborted) return;
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    const { code, message, hint } = /** @type {any} */ (error);
    if (code === undefined) throw error;
    word(`${message} ${hint}`.trim());
  }
}

/** @param {string} text over the map; empty for nothing */
function word(text) {
  byId("chart-word").textContent = text;
  byId("chart-word").hidden = !text;
}

/** @param {{final: boolean, points: Point[]}} answer */
function showPoints({ final, points }) {
  const { mapPart, health } = now();
  const key = `${mapPart}/${final}/${points.length}`;
  const part = LABELS[mapPart].toLowerCase();
  const silent = (health?.tracks ?? points.length) - points.length;
  const missing = silent > 0 ? `; no ${part.replace("the rest", "other instrument")} sounds in ${silent} more` : "";
  byId("map-about").textContent = `${points.length} songs${missing}. Close together: alike in ${part}.${final ? "" : " A better map is being made…"}`;
  word(points.length ? "" : `There is no song in which ${part} sounds. Choose another part.`);
  if (shown !== key) chart.show(points);
  shown = key;
  mark();
  pin();
  showList();
}

/** Show the name of the chosen song where it is now. */
function pin() {
  tip((chosen && chart.byId.get(chosen)?.point) || null, true);
}

/** List the songs nearest to the query, or to the chosen song, on the map. */
function showList() {
  const points = known.get(now().mapPart)?.points ?? [];
  const from = points.find((one) => one.id === chosen) ?? points.find((one) => chart.marks.query.has(one.id));
  const far = (/** @type {Point} */ one) => (from ? Math.hypot(one.x - from.x, one.y - from.y) : 0);
  const sorted = [...points].sort((a, b) => far(a) - far(b)).slice(0, LISTED);
  byId("map-list-title").textContent = from ? `Nearest to “${from.title}” on the map` : "On the map";
  byId("map-songs").replaceChildren(...sorted.map((point) =>
    trackRow({ id: point.id, title: point.title, artist: point.artist, duration_seconds: null }, { play: () => void hear(point), search: () => search(point), add: null, away: null })));
  showPlaying();
}

/** Zoom by wheel, move by dragging, both by two fingers; click plays, twice searches. */
function followPointers() {
  const { canvas } = chart;
  /** @type {Map<number, {x: number, y: number}>} */
  const fingers = new Map();
  let moved = 0;
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (fingers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const old = fingers.get(event.pointerId);
    if (!old) {
      const point = chart.at(event.offsetX, event.offsetY);
      canvas.classList.toggle("pointing", Boolean(point));
      if (point) tip(point, point.id === chosen);
      else if (!byId("chart-tip").classList.contains("pinned")) tip(null);
      return;
    }
    const before = fingers.size === 2 ? spread() : null;
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    moved += Math.hypot(event.offsetX - old.x, event.offsetY - old.y);
    if (moved < 4) return;
    tip(null);
    if (before) {
      const after = spread();
      chart.pan(after.x - before.x, after.y - before.y);
      chart.zoom(after.apart / Math.max(1, before.apart), after.x, after.y);
    } else {
      chart.pan(event.offsetX - old.x, event.offsetY - old.y);
    }
  });
  const up = (/** @type {PointerEvent} */ event) => {
    fingers.delete(event.pointerId);
  };
  canvas.addEventListener("click", (event) => {
    if (moved >= 4 || event.detail > 1) return;
    const point = chart.at(event.offsetX, event.offsetY);
    choose(point);
    if (point) void hear(point);
  });
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("dblclick", (event) => {
    const point = chart.at(event.offsetX, event.offsetY);
    if (point) search(point);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    tip(null);
    chart.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), event.offsetX, event.offsetY);
  }, { passive: false });
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  const ways = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] });
  const point = chosen ? chart.byId.get(chosen)?.point : null;
  if (ways[event.key]) {
    const next = chart.next(point ? chosen : null, ...ways[event.key]);
    if (next) {
      chart.reveal(next);
      choose(next);
    }
  } else if (event.key === "+" || event.key === "=") chart.zoom(1.4);
  else if (event.key === "-") chart.zoom(1 / 1.4);
  else if (event.key === "0") chart.reset();
  else if (event.key === " " && point) void hear(point);
  else if (event.key === "Enter" && point) search(point);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** Draw again: the colours changed. */
export const drawMap = () => chart?.draw();

/** @returns {Chart} the drawing */
export const mapChart = () => chart;

/** Forget the maps: the collection changed. */
export function forgetMaps() {
  known.clear();
  shown = "";
}

/** Show which part the map is drawn by. */
function showParts() {
  for (const button of byId("map-parts").children) {
    button.setAttribute("aria-pressed", String(button.dataset.part === now().mapPart));
  }
}

/** Keep the map as the state is. */
export function startMap() {
  chart = new Chart(byId("chart"));
  byId("map-parts").append(...PARTS.map((part) => element(`button.map-part.lane-${part}`, { type: "button", data: { part }, onclick: () => set({ mapPart: part }) }, element("span.swatch"), LABELS[part])));
  followPointers();
  chart.canvas.addEventListener("keydown", pressed);
  byId("zoom-in").addEventListener("click", () => chart.zoom(1.5));
  byId("zoom-out").addEventListener("click", () => chart.zoom(1 / 1.5));
  byId("zoom-all").addEventListener("click", () => chart.reset());
  on(["view", "mapPart"], () => {
    showParts();
    void load();
  });
  on(["examples", "answer", "playing"], mark);
  on(["examples"], showList);
  new ResizeObserver(() => {
    pin();
    chart.draw();
  }).observe(byId("chart"));
  showParts();
}
