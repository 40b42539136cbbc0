// @ts-check
/** The desk: the example that is being looked at, its waveform, stretch and parts. */

import { clock } from "./clock.js";
import { byId, element, icon } from "./element.js";
import { drawStrips, showLanes, startLanes } from "./lanes.js";
import { inWords } from "./parts.js";
import { onTime, play, sourceOf, timeOf, toggle } from "./player.js";
import { peaksOf } from "./songs.js";
import { edit, now, on, onDesk, remove, set } from "./state.js";
import { choose, showStretch, startStretch } from "./stretch.js";
import { drawWave } from "./waveform.js";

/** @typedef {import("./state.js").Example} Example */

/** @type {number[] | null} */
let peaks = null;
let drawn = "";

/** @param {Example} example */
const keyOf = (example) => example.track ?? `upload.${example.upload}`;

/** @returns {"a" | "b" | null} the side that plays what is on the desk */
function sideOfDesk() {
  const [example, playing] = [onDesk(), now().playing];
  if (!example || !playing) return null;
  return /** @type {("a" | "b")[]} */ ([playing.side, "a", "b"]).find((side) => playing.sources[side]?.key === keyOf(example)) ?? null;
}

/** Play the stretch on the desk, or pause it. */
export function playDesk() {
  const example = onDesk();
  if (!example) return;
  const { playing } = now();
  if (playing && sideOfDesk() === playing.side && playing.sources[playing.side]?.moment === (example.from ?? 0)) toggle();
  else play(sourceOf(example, example.from ?? 0), null, "a");
}

/** @param {Example} example @param {number} place @returns {any} its tag above the desk */
function tag(example, place) {
  const { active, examples } = now();
  const sign = example.away ? "less like" : place ? "and" : "";
  const mix = inWords(example.weights);
  const open = element(
    "button.tag-open",
    { type: "button", "aria-pressed": String(place === active), onclick: () => set({ active: place, adding: false }) },
    sign && element("em", {}, `${sign} `),
    element("span", {}, mix === "all parts" ? "" : `${mix} of `, element("b", {}, example.title)),
  );
  const close = element("button.tag-close", { type: "button", "aria-label": `Remove “${example.title}” from the question`, onclick: () => {
    remove(place);
    /** @type {HTMLElement | null} */ (byId("examples").querySelector(".tag-open"))?.focus();
  } }, icon("close"));
  return element(`li.tag${place === active ? ".active" : ""}${example.away ? ".away" : ""}`, {}, open, close);
}

/** Show the examples of the question as tags, if there are several. */
function showExamples() {
  const { examples, active, adding } = now();
  const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.closest?.(".tag-open");
  const list = byId("examples");
  list.replaceChildren(...examples.map(tag));
  list.hidden = examples.length < 2;
  byId("add").replaceChildren(icon("add"), adding ? "choose a song above…" : "and a part of another song");
  byId("add").setAttribute("aria-pressed", String(adding));
  byId("away-choice").hidden = examples.length < 2;
  byId("away").checked = Boolean(examples[active]?.away);
  if (focused) /** @type {HTMLElement | null} */ (list.querySelector(".active .tag-open"))?.focus();
}

/** Show the example on the desk. */
function showDesk() {
  const example = onDesk();
  byId("desk").hidden = !example || now().view === "map";
  document.body.classList.toggle("asking", Boolean(example));
  if (!example) return;
  showExamples();
  byId("desk-title").textContent = example.title;
  const about = [example.artist, clock(example.duration), example.upload && "your file"].filter(Boolean);
  byId("desk-about").textContent = about.join(" · ");
  showStretch();
  showLanes();
  showButton();
  if (drawn !== keyOf(example)) {
    drawn = keyOf(example);
    peaks = null;
    drawDesk();
    void peaksOf(example).then((found) => {
      if (drawn !== keyOf(example)) return;
      peaks = found;
      drawDesk();
    });
  }
}

/** Show whether the desk's song is heard, and where. */
function showButton() {
  const { playing } = now();
  const heard = Boolean(playing?.sounding && sideOfDesk() === playing.side);
  const button = byId("desk-play");
  button.replaceChildren(icon(heard ? "pause" : "play"));
  button.setAttribute("aria-label", heard ? "Pause" : "Play this song");
  showNeedle();
}

/** Move the line that shows what is heard. */
function showNeedle() {
  const [side, example] = [sideOfDesk(), onDesk()];
  const needle = byId("needle");
  needle.hidden = !side || !example;
  if (side && example) needle.style.left = `${(100 * timeOf(side)) / example.duration}%`;
}

/** Draw the waveform and strips again. */
export function drawDesk() {
  if (!onDesk() || byId("desk").hidden) return;
  drawWave(byId("wave"), peaks);
  drawStrips();
}

/** Keep the desk as the state is. */
export function startDesk() {
  startLanes();
  startStretch((seconds) => {
    const example = onDesk();
    if (example) play(sourceOf(example, seconds), null, "a");
  });
  byId("desk-play").addEventListener("click", playDesk);
  byId("add").addEventListener("pointerdown", (/** @type {Event} */ event) => event.preventDefault());
  byId("add").addEventListener("click", () => {
    const adding = !now().adding;
    if (adding) byId("finder").focus();
    set({ adding });
  });
  byId("away").addEventListener("change", () => edit(now().active, { away: byId("away").checked }));
  on(["examples", "active", "adding"], showDesk);
  on(["view"], () => {
    showDesk();
    drawDesk();
  });
  on(["playing"], showButton);
  onTime(showNeedle);
  new ResizeObserver(drawDesk).observe(byId("board"));
}

/** The whole song again. @returns {boolean} whether there was a stretch */
export function clearStretch() {
  const example = onDesk();
  if (!example || (example.from === null && example.to === null)) return false;
  choose(null, null);
  return true;
}
