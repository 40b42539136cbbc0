// @ts-check
/** The matches of the question; without one, the collection. */

import * as api from "./api.js";
import { byId, element, icon } from "./element.js";
import { matchRow, trackRow } from "./match.js";
import { say, tellError } from "./notices.js";
import { LABELS, PARTS, list, only } from "./parts.js";
import { play, sourceOf, sourceOfTrack, toggle } from "./player.js";
import { exampleOf } from "./songs.js";
import { MOST, PAGE, ask, edit, now, on, set, sounds, spareWeights } from "./state.js";
import { choose } from "./stretch.js";
import { askNow } from "./asking.js";

/** @type {any[]} songs of the collection that are listed */
let listed = [];
let total = 0;

/** @param {any} track @param {"a" | "b"} [side] */
function hear(track, side = "b") {
  const { answer, playing } = now();
  const match = answer?.matches.find((/** @type {any} */ one) => one.track.id === track.id);
  if (playing?.sources.b?.key === track.id && playing.side === side) {
    toggle();
  } else if (match) {
    const query = answer.examples[match.passage.query];
    play(sourceOf(query, match.passage.query_seconds), sourceOfTrack(track, match.passage.match_seconds), side);
  } else {
    play(null, sourceOfTrack(track, 0), "b");
  }
}

/** @param {string} id @param {"alone" | "add" | "away"} how */
export async function askWith(id, how) {
  const { examples, active } = now();
  try {
    const found = await exampleOf(id);
    if (how === "alone") {
      ask({ ...found, weights: examples[active]?.weights ?? only(PARTS) }, "alone");
      window.scrollTo({ top: 0 });
    } else if (how === "add") {
      ask({ ...found, weights: spareWeights(found, examples) }, "add");
    } else {
      ask({ ...found, weights: examples[active]?.weights ?? only(PARTS), away: true }, "add");
      set({ active });
    }
    const words = { alone: "Searching from", add: "Added", away: "Away from" };
    say(`${words[how]} ${found.title}`);
  } catch (error) {
    tellError(error);
  }
}

/** @param {any} track */
function deeds(track) {
  const asking = now().examples.length > 0;
  return {
    play: () => hear(track),
    search: () => void askWith(track.id, "alone"),
    add: asking ? () => void askWith(track.id, "add") : null,
    away: asking ? () => void askWith(track.id, "away") : null,
  };
}

/** @param {string} title @param {string} about */
function headline(title, about) {
  byId("results-title").textContent = title;
  byId("results-about").textContent = about;
}

/** Show the matches. */
function showMatches() {
  const { answer, n, examples } = now();
  const rows = answer.matches.map((/** @type {any} */ match) =>
    matchRow(match, deeds(match.track), answer.examples.length > 1 ? `of ${answer.examples[match.passage.query]?.title ?? ""}` : ""));
  replaceRows(rows);
  const count = answer.matches.length;
  byId("columns").hidden = !count;
  headline(count ? `${count} nearest` : "Nothing found", `of ${answer.searched} ${answer.searched === 1 ? "song" : "songs"}`
    + (answer.kind === "probable" ? " · a nearer one may have been missed" : "")
    + (answer.over_limit ? ` · ${answer.over_limit} more by the same artists left out` : ""));
  byId("more").hidden = count < n || n >= MOST || count >= answer.searched;
  byId("open-playlist").hidden = !count;
  const silent = answer.asked.flatMap((/** @type {any} */ one, /** @type {number} */ i) =>
    one.absent_parts.length ? [`No ${list(one.absent_parts.map((/** @type {import("./parts.js").Part} */ part) => LABELS[part].toLowerCase().replace("the rest", "other instrument")))} sounds in ${examples[i] && (examples[i].from !== null || examples[i].to !== null) ? `this stretch of “${examples[i].title}”` : `“${answer.examples[i]?.title}”`}; left out.`] : []);
  remark(count ? silent.join(" ") : "The filters leave no song over. Widen them, or ask for other parts.");
  say(count ? `${count} matches; the nearest is ${answer.matches[0].track.title}` : "Nothing found");
}

/** @param {string} text */
function remark(text) {
  byId("remark").textContent = text;
  byId("remark").hidden = !text;
}

/** @param {any[]} rows put in the list; the focus stays where it was, by song */
function replaceRows(rows) {
  const results = byId("results");
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const id = results.contains(focused) ? focused?.closest("li")?.dataset.id : null;
  results.replaceChildren(...rows);
  const same = rows.find((one) => one.dataset.id === id) ?? (id ? rows[0] : null);
  same?.querySelector(".match-play").focus();
  showPlaying();
}

/** Mark the row that is heard. */
export function showPlaying() {
  const { playing } = now();
  for (const line of document.querySelectorAll(".match")) {
    const row = /** @type {HTMLElement} */ (line);
    const current = playing?.sources.b?.key === row.dataset.id;
    const heard = Boolean(current && playing.side === "b" && playing.sounding);
    row.classList.toggle("current", current);
    const button = /** @type {HTMLElement} */ (row.querySelector(".match-play"));
    button.replaceChildren(icon(heard ? "pause" : "play"));
    button.setAttribute("aria-label", `${heard ? "Pause" : "Play"} ${row.querySelector(".match-title")?.textContent}`);
  }
}

/** Show what stands in the way, and ways out of it. */
function showProblem() {
  const { problem } = now();
  const box = byId("problem");
  box.hidden = !problem;
  if (!problem) return;
  /** @type {HTMLElement[]} */
  const ways = [];
  const { examples, active } = now();
  const guilty = examples.findIndex((one) => PARTS.every((part) => !(one.weights[part] > 0) || !sounds(one, part)));
  const place = guilty < 0 ? active : guilty;
  const one = examples[place];
  const way = (/** @type {string} */ words, /** @type {() => void} */ deed) => ways.push(element("button.quiet", { type: "button", onclick: deed }, words));
  if (problem.code === "silent" && one) {
    if (PARTS.some((part) => sounds(one, part))) {
      way("Use what sounds", () => edit(place, { weights: only(PARTS.filter((part) => sounds(one, part))) }));
    }
    if (one.from !== null || one.to !== null) {
      way("Whole song", () => {
        set({ active: place });
        choose(null, null);
      });
    }
  } else if (problem.code === "no_part" && one) {
    way("All parts", () => edit(place, { weights: only(PARTS) }));
  } else {
    way("Try again", () => (now().health && now().examples.length ? void askNow() : beginAgain()));
  }
  box.replaceChildren(element("p", {}, element("strong", {}, problem.message), problem.hint && element("span", {}, ` ${problem.hint}`)), element("div.ways", {}, ...ways));
}

/** Show the songs of the collection. */
function showCollection() {
  const { health } = now();
  remark("");
  byId("open-playlist").hidden = true;
  byId("columns").hidden = true;
  if (health && !health.tracks) {
    headline("The collection is empty", "");
    byId("results").replaceChildren(element("li.empty", {}, element("p", {}, "Let Stemwise listen to a folder of music first:"), element("code", {}, "stemwise index FOLDER"),
      health.features?.index && element("p", {}, element("button.solid", { type: "button", onclick: () => byId("open-index").click() }, "Index the music"))));
    byId("more").hidden = true;
    return;
  }
  headline("Your collection", total ? `${total} ${total === 1 ? "song" : "songs"} · choose one to start from` : "");
  replaceRows(listed.map((track) => trackRow(track, deeds(track))));
  byId("more").hidden = listed.length >= total;
}

/** @param {boolean} [again] from the start */
export async function listMore(again = false) {
  try {
    const answer = await api.tracks("", 2 * PAGE, again ? 0 : listed.length);
    listed = again ? answer.items : [...listed, ...answer.items];
    total = answer.total;
    if (!now().examples.length) set({ problem: null });
    if (!now().answer) showCollection();
  } catch (error) {
    const { code, message, hint } = /** @type {any} */ (error);
    if (code === undefined) throw error;
    if (code !== "unauthorized") set({ problem: { code, message, hint } });
  }
}

/** Go through the rows with the focus. @param {1 | -1} step */
export function moveThrough(step) {
  const shown = [...document.querySelectorAll(".view:not([hidden]) .match .match-play")];
  if (!shown.length) return;
  const at = shown.findIndex((one) => one.closest("li")?.contains(document.activeElement));
  const start = at >= 0 ? at : shown.findIndex((one) => one.closest("li")?.classList.contains("current"));
  const next = /** @type {HTMLElement} */ (shown[start < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, start + step))]);
  next.focus();
  next.closest("li")?.scrollIntoView({ block: "nearest" });
}

/** @returns {string | null} the song whose row has the focus, or is heard */
export function chosenSong() {
  const row = /** @type {HTMLElement | null} */ (document.activeElement?.closest?.(".match") ?? document.querySelector(".match.current"));
  return row?.dataset.id ?? null;
}

/** Hear the query or the match of the row that has the focus. @param {"a" | "b"} side */
export function hearSide(side) {
  const match = now().answer?.matches.find((/** @type {any} */ one) => one.track.id === chosenSong());
  if (match) hear(match.track, side);
}

/** @type {() => void} */
let beginAgain = () => {};

/**
 * Keep the list as the state is.
 *
 * @param {() => void} again called when the reader wants the page to begin again
 */
export function startResults(again) {
  beginAgain = again;
  on(["answer"], ({ answer }) => (answer ? showMatches() : showCollection()));
  on(["examples"], ({ examples, answer }) => {
    if (!examples.length && answer) set({ answer: null, problem: null });
  });
  on(["problem"], showProblem);
  on(["playing"], showPlaying);
  on(["searching"], ({ searching }) => {
    byId("results").setAttribute("aria-busy", String(searching));
    byId("search-view").classList.toggle("searching", searching);
  });
  on(["problem", "answer"], ({ problem }) => byId("search-view").classList.toggle("stale", Boolean(problem && now().answer)));
  byId("more").addEventListener("click", () => {
    if (now().answer) set({ n: Math.min(MOST, now().n + PAGE) });
    else void listMore();
  });
}
