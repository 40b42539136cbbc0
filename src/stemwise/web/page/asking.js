// @ts-check
/** Searching as the question changes: after a short rest, the last question alone. */

import * as api from "./api.js";
import { debounced } from "./element.js";
import { LABELS, PARTS, list } from "./parts.js";
import { MOST, NO_FILTERS, now, on, set, sounds } from "./state.js";

/** @typedef {import("./state.js").State} State */

const REST_MILLISECONDS = 180;
let running = new AbortController();

/** @param {State} state @returns {any} the question as the server wants it */
export function question(state) {
  const queries = state.examples.map((one) => ({
    ...(one.track ? { track: one.track } : { upload: one.upload }),
    parts: Object.fromEntries(PARTS.filter((part) => one.weights[part] > 0).map((part) => [part, one.weights[part]])),
    from: one.from,
    to: one.to,
    away: one.away,
  }));
  const filters = JSON.stringify(state.filters) === JSON.stringify(NO_FILTERS) ? null : state.filters;
  return { queries, n: Math.min(state.n, MOST), filters, per_artist: state.perArtist };
}

/** @param {State} state @returns {State["problem"]} what cannot be asked, in words */
function obstacle(state) {
  const empty = state.examples.find((one) => PARTS.every((part) => !(one.weights[part] > 0)));
  if (empty) {
    return { code: "no_part", message: "Every part is off.", hint: `Turn one up to search with “${empty.title}”.` };
  }
  if (state.examples.every((one) => one.away)) {
    return {
      code: "only_away",
      message: "There is nothing to come near to.",
      hint: "Add a song that the matches should be like.",
    };
  }
  return null;
}

/** @param {State} state @param {any} error @returns {State["problem"]} in the page's words */
function told(state, error) {
  const silent = state.examples.find((one) => PARTS.every((part) => !(one.weights[part] > 0) || !sounds(one, part)));
  if (error.code === "unprocessable" && silent) {
    const wanted = PARTS.filter((part) => silent.weights[part] > 0).map((part) => LABELS[part].toLowerCase());
    const heard = PARTS.filter((part) => sounds(silent, part)).map((part) => LABELS[part].toLowerCase());
    const where = silent.from === null && silent.to === null ? `“${silent.title}”` : "this stretch";
    const what = wanted.length === 1 ? `No ${wanted[0].replace(/^the /, "")} sounds` : `None of ${list(wanted)} sounds`;
    return {
      code: "silent",
      message: `${what} in ${where}.`,
      hint: heard.length ? `What does sound: ${list(heard)}.` : "Nothing sounds here; choose another stretch.",
    };
  }
  const expired = error.code === "not_found" && state.examples.some((one) => one.upload);
  const hint = expired ? "Files that were sent are kept for a while only: drop it here again." : error.hint;
  return { code: error.code ?? "internal", message: error.message, hint };
}

/** Ask now, without waiting. @returns {Promise<void>} */
export async function askNow() {
  running.abort();
  const state = now();
  if (!state.examples.length) {
    set({ answer: null, problem: null, searching: false });
    return;
  }
  const problem = obstacle(state);
  if (problem) {
    set({ problem, searching: false });
    return;
  }
  const mine = new AbortController();
  running = mine;
  set({ searching: true });
  try {
    const answer = await api.search(question(state), mine.signal);
    if (mine.signal.aborted) return;
    set({ answer: { ...answer, examples: state.examples, n: state.n }, problem: null, searching: false });
  } catch (error) {
    if (mine.signal.aborted) return;
    set({ problem: told(state, error), searching: false });
  }
}

/** Search whenever the question changes. */
export function startAsking() {
  const soon = debounced(() => void askNow(), REST_MILLISECONDS);
  let asked = "";
  on(["examples", "filters", "perArtist", "n"], (state) => {
    const text = JSON.stringify(question(state));
    if (text === asked && !state.problem) return;
    asked = text;
    running.abort();
    if (state.examples.length) set({ searching: true });
    soon();
  });
}
