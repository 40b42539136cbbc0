// @ts-check
/** The bar at the bottom: what is heard, query or match, and where in it. */

import { clock, spoken } from "./clock.js";
import { byId, colour, element, icon } from "./element.js";
import { LABELS, PARTS } from "./parts.js";
import { hearPart, onTime, seek, setVolume, stop, switchTo, takeTurns, timeOf, toggle } from "./player.js";
import { peaksOf } from "./songs.js";
import { now, on } from "./state.js";
import { drawWave } from "./waveform.js";

/** @typedef {import("./player.js").Side} Side */

const PASSAGE_SECONDS = 10;
/** @type {any} */
const made = {};
/** @type {number[] | null} */
let peaks = null;
let drawn = "";

/** @param {Side} side @param {string} letter @param {string} what @returns {any} */
function sideButton(side, letter, what) {
  return element("button.side", { type: "button", "aria-pressed": "false", onclick: () => switchTo(side) },
    element("kbd", { "aria-hidden": "true" }, letter),
    element("span.side-words", {}, element("small", {}, what), element("span.side-title")));
}

/** Make the bar. */
function build() {
  made.play = element("button.round.big", { type: "button", onclick: toggle });
  made.a = sideButton("a", "A", "query");
  made.b = sideButton("b", "B", "match");
  made.sides = element("div.sides", { role: "group", "aria-label": "Query or match" }, made.a, made.b);
  made.wave = element("canvas.deck-wave", { "aria-hidden": "true" });
  made.seek = element("input.deck-seek", { type: "range", min: "0", step: "0.1", "aria-label": "Position", oninput: () => seek(Number(made.seek.value)) });
  made.time = element("span.deck-time");
  made.problem = element("p.deck-problem", { role: "alert", hidden: true });
  made.turns = element("button.quiet", { type: "button", "aria-pressed": "false", title: "ten seconds of each, over and over", onclick: () => takeTurns(!now().playing?.turns) }, "In turn");
  made.part = element("select.deck-part", { "aria-label": "What is heard", onchange: () => hearPart(made.part.value || null) },
    element("option", { value: "" }, "All parts"), ...PARTS.map((part) => element("option", { value: part }, `${LABELS[part]} only`)));
  made.part.value = "";
  made.volume = element("input.deck-volume", { type: "range", min: "0", max: "1", step: "0.05", "aria-label": "Volume", oninput: () => setVolume(Number(made.volume.value)) });
  made.volume.value = "1";
  made.close = element("button.quiet.square", { type: "button", "aria-label": "Close the player", onclick: stop }, icon("close"));
  byId("deck").append(made.play, made.sides,
    element("div.deck-line", {}, element("div.deck-track", {}, made.wave, made.seek), made.time),
    element("div.deck-tools", {}, made.turns, made.part, made.volume, made.close), made.problem);
}

/** Show what is heard. */
function showDeck() {
  const { playing, health } = now();
  byId("deck").hidden = !playing;
  document.body.classList.toggle("hearing", Boolean(playing));
  if (!playing) return;
  const { sources, side, sounding, turns, problem, part } = playing;
  made.play.replaceChildren(icon(sounding ? "pause" : "play"));
  made.play.setAttribute("aria-label", sounding ? "Pause" : "Play");
  for (const which of ["a", "b"]) {
    const source = sources[which];
    made[which].hidden = !source;
    made[which].setAttribute("aria-pressed", String(which === side));
    made[which].querySelector(".side-title").textContent = source?.title ?? "";
    made[which].querySelector("small").textContent = !(sources.a && sources.b) ? "playing" : which === "a" ? "query" : "match";
  }
  const both = Boolean(sources.a && sources.b);
  made.sides.classList.toggle("pair", both);
  made.turns.hidden = !both;
  made.turns.setAttribute("aria-pressed", String(turns));
  made.part.hidden = !health?.features?.separate || !sources[side]?.track;
  made.part.value = part ?? "";
  made.problem.hidden = !problem;
  made.problem.textContent = problem ?? "";
  const source = sources[side];
  if (source && drawn !== source.key) {
    drawn = source.key;
    peaks = null;
    void peaksOf(source).then((found) => {
      if (drawn !== source.key) return;
      peaks = found;
      showTime();
    });
  }
  showTime();
}

/** Show where in the song it is. */
function showTime() {
  const source = now().playing?.sources[now().playing.side];
  if (!source) return;
  const time = timeOf(now().playing.side);
  made.seek.max = String(source.duration);
  made.seek.value = String(time);
  made.seek.setAttribute("aria-valuetext", `${spoken(time)} of ${spoken(source.duration)}`);
  made.time.replaceChildren(clock(time), element("span.deck-total", {}, ` / ${clock(source.duration)}`));
  const moment = source.moment / source.duration;
  drawWave(made.wave, peaks, {
    played: time / source.duration,
    marks: [moment, Math.min(1, moment + PASSAGE_SECONDS / source.duration)],
    ink: colour("--ink"),
    rest: colour("--wave-rest"),
  });
}

/** Draw again: the colours or the window changed. */
export const drawDeck = showTime;

/** Keep the bar as the player is. */
export function startDeck() {
  build();
  on(["playing", "health"], showDeck);
  onTime((side) => {
    if (side === now().playing?.side) showTime();
  });
  new ResizeObserver(showTime).observe(byId("deck"));
}
