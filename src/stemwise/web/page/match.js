// @ts-check
/** One song in a list: a match with its reasons, or a song of the collection. */

import { clock } from "./clock.js";
import { element, icon } from "./element.js";
import { LABELS, LETTERS, PARTS } from "./parts.js";

/** @typedef {{play: () => void, search: () => void, add: (() => void) | null,
 *   away: (() => void) | null}} Deeds */

/** @param {number} similarity 0..1 */
const percent = (similarity) => `${Math.round(similarity * 100)} %`;

/** @param {any} track @returns {string} */
function about(track) {
  const tempo = track.bpm ? `${Math.round(track.bpm)} bpm` : "";
  return [track.artist, track.album, track.year, track.genre, tempo, track.duration_seconds && clock(track.duration_seconds)].filter(Boolean).join(" · ");
}

/** @param {Record<string, {similarity: number, presence: number}>} parts @returns {any} small bars */
function bars(parts) {
  const shown = PARTS.filter((part) => parts[part]);
  const text = shown.map((part) => `${LABELS[part]} ${percent(parts[part].similarity)}`);
  const drawing = element("span.bars", { "aria-hidden": "true" }, ...shown.map((part) => {
    const bar = element(`span.bar.bar-${part}`, { title: `${LABELS[part]} ${percent(parts[part].similarity)}` }, element("i"), element("b", {}, LETTERS[part]));
    bar.firstChild.style.setProperty("--height", `${Math.max(4, parts[part].similarity * 100)}%`);
    return bar;
  }));
  return [drawing, element("span.unseen", {}, text.join(", "))];
}

/** @param {any} track @returns {any} where each part sounds, as small bars */
function shares(track) {
  const text = PARTS.map((part) => `${LABELS[part]} in ${percent(track.parts[part] ?? 0)}`);
  const drawing = element("span.bars", { "aria-hidden": "true" }, ...PARTS.map((part) => {
    const bar = element(`span.bar.bar-${part}`, { title: `${LABELS[part]} sounds in ${percent(track.parts[part] ?? 0)} of it` }, element("i"), element("b", {}, LETTERS[part]));
    bar.firstChild.style.setProperty("--height", `${(track.parts[part] ?? 0) * 100}%`);
    return bar;
  }));
  return [drawing, element("span.unseen", {}, text.join(", "))];
}

/** @param {any} track @param {Deeds} deeds @returns {any} what else can be done with the song */
function menu(track, deeds) {
  const button = (/** @type {any} */ drawing, /** @type {string} */ words, /** @type {() => void} */ deed) =>
    element("button.quiet.square", { type: "button", "aria-label": `${words}: ${track.title}`, title: words, onclick: deed }, drawing);
  return element("span.deeds", {},
    element("button.quiet.from-here", { type: "button", "aria-label": `Search from this: ${track.title}`, onclick: deeds.search }, icon("near"), element("span", {}, "Search from this")),
    deeds.add && button(icon("add"), "Add a part of this", deeds.add),
    deeds.away && button(icon("less"), "Less like this", deeds.away),
  );
}

/** @param {any} track @param {Deeds} deeds @param {any[]} cells @returns {any} */
function row(track, deeds, cells) {
  const play = element("button.round.match-play", { type: "button", "aria-label": `Play ${track.title}`, onclick: deeds.play }, icon("play"));
  return element("li.match", { data: { id: track.id } },
    play,
    element("span.match-names", {}, element("span.match-title", {}, track.title), element("span.match-about", {}, about(track))),
    ...cells,
    menu(track, deeds),
  );
}

/**
 * @param {any} match of an answer
 * @param {Deeds} deeds
 * @param {string} query the name of the example whose passage met; empty if there is one only
 * @returns {any} its row
 */
export function matchRow(match, deeds, query) {
  const { track, similarity, parts, passage, same_recording: same } = match;
  const total = element("span.total", {}, element("span.total-figure", {}, percent(similarity)), element("span.total-bar", { "aria-hidden": "true" }, element("i")));
  total.lastChild.firstChild.style.setProperty("--width", `${similarity * 100}%`);
  const meets = element("span.passage", { title: "where the two are nearest: in the query, in the match" },
    element("span.unseen", {}, "Nearest at "), clock(passage.query_seconds),
    element("span", { "aria-hidden": "true" }, " ↔ "), element("span.unseen", {}, " of the query and "),
    element("b", {}, clock(passage.match_seconds)),
    query && element("span.passage-query", {}, ` ${query}`));
  const made = row(track, deeds, [total, element("span.parts", {}, ...bars(parts)), meets]);
  if (same?.length) {
    made.querySelector(".match-about").append(element("span.same", {}, ` · also in ${same.length} more ${same.length === 1 ? "file" : "files"}`));
  }
  return made;
}

/** @param {any} track @param {Deeds} deeds @returns {any} a row for a song of the collection */
export function trackRow(track, deeds) {
  const made = row(track, deeds, track.parts ? [element("span.parts", {}, ...shares(track))] : []);
  made.classList.add("plain");
  return made;
}
