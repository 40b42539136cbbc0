// @ts-check
/** The rows under the waveform: a slider for each part, and where it sounds. */

import { byId, element } from "./element.js";
import { LABELS, LETTERS, PARTS, PRESETS, only, sameWeights } from "./parts.js";
import { edit, now, onDesk, sounds } from "./state.js";
import { drawStrip } from "./waveform.js";

/** @typedef {import("./parts.js").Part} Part */

/** @type {Map<Part, {name: any, slider: any, value: any, solo: any, strip: any, word: any, cell: any}>} */
const lanes = new Map();
/** What a part was at before it was turned off. @type {Partial<Record<Part, number>>} */
const before = {};

/** @param {Part} part @param {number} weight */
function weigh(part, weight) {
  const example = onDesk();
  if (!example) return;
  edit(now().active, { weights: { ...example.weights, [part]: weight } });
}

/** @param {Part} part */
function toggle(part) {
  const weight = onDesk()?.weights[part] ?? 0;
  if (weight > 0) before[part] = weight;
  weigh(part, weight > 0 ? 0 : (before[part] ?? 1));
}

/** @param {import("./parts.js").Weights} weights */
const mix = (weights) => edit(now().active, { weights });

/** Make the rows and the ready-made mixes. */
export function startLanes() {
  for (const part of PARTS) {
    const label = LABELS[part];
    const name = element("button.lane-name", { type: "button", "aria-pressed": "true", onclick: () => toggle(part) }, element("span.swatch"), label);
    const slider = element("input.lane-slider", {
      type: "range", min: "0", max: "1", step: "0.05", "aria-label": `${label}: weight`,
      oninput: () => weigh(part, Number(slider.value)),
    });
    const value = element("span.lane-value", { "aria-hidden": "true" });
    const solo = element("button.lane-solo", { type: "button", "aria-label": `${label} only`, title: `${label} only`, onclick: () => mix(only([part])) }, "only");
    const head = element(`div.lane.lane-${part}`, { role: "group", "aria-label": label }, name, slider, value, solo);
    const strip = element("canvas.strip", { role: "img" });
    const word = element("span.strip-word");
    const cell = element(`div.strip-cell.strip-${part}`, { data: { letter: LETTERS[part] } }, strip, word);
    byId("board").insertBefore(head, byId("presets"));
    byId("board").insertBefore(cell, byId("presets"));
    lanes.set(part, { name, slider, value, solo, strip, word, cell });
  }
  for (const preset of PRESETS) {
    byId("presets").append(element("button.preset", { type: "button", "aria-pressed": "false", onclick: () => mix(only(preset.parts)) }, preset.name));
  }
}

/** Show the weights of the example on the desk, and which of its parts do not sound. */
export function showLanes() {
  const example = onDesk();
  if (!example) return;
  const stretch = example.from !== null || example.to !== null;
  for (const part of PARTS) {
    const { name, slider, value, strip, word, cell } = /** @type {any} */ (lanes.get(part));
    const weight = example.weights[part];
    const heard = sounds(example, part);
    const percent = `${Math.round(weight * 100)} %`;
    name.setAttribute("aria-pressed", String(weight > 0));
    if (document.activeElement !== slider || Number(slider.value) !== weight) slider.value = weight;
    slider.setAttribute("aria-valuetext", weight > 0 ? percent : "off");
    slider.style.setProperty("--filled", percent.replace(" ", ""));
    value.textContent = weight > 0 ? String(Math.round(weight * 100)) : "off";
    const thing = LABELS[part].toLowerCase().replace("the rest", "other instrument");
    word.textContent = heard ? "" : `no ${thing} sounds ${stretch ? "in this stretch" : "here"}`;
    strip.setAttribute("aria-label", heard ? described(example, part) : word.textContent);
    name.parentElement.classList.toggle("silent", !heard);
    name.parentElement.classList.toggle("off", !(weight > 0));
    cell.classList.toggle("silent", !heard);
  }
  [...byId("presets").children].forEach((button, i) => {
    button.setAttribute("aria-pressed", String(sameWeights(only(PRESETS[i].parts), example.weights)));
  });
  drawStrips();
}

/** Draw the strips again: the window or the colours changed. */
export function drawStrips() {
  const example = onDesk();
  if (!example) return;
  for (const [part, { strip }] of lanes) {
    drawStrip(strip, example.segments, example.duration, part, example.weights[part] > 0);
  }
}

/** @param {import("./state.js").Example} example @param {Part} part */
function described(example, part) {
  const heard = example.segments.filter((one) => one.presence[part] >= 0.5).length;
  return `${LABELS[part]} sounds in ${heard} of ${example.segments.length} segments`;
}
