// @ts-check
/** What the page knows: one record that changes as a whole, and who wants to hear of it. */

import { PARTS, PRESENCE_THRESHOLD, only } from "./parts.js";

/** @typedef {import("./parts.js").Part} Part */
/** @typedef {import("./parts.js").Weights} Weights */
/** @typedef {{start_seconds: number, end_seconds: number, level_db: number,
 *   presence: Record<Part, number>}} Segment */
/** @typedef {[number | null, number | null] | null} Range */

/**
 * One example: a song or an uploaded file, which of its parts count, and in which stretch.
 *
 * @typedef {object} Example
 * @property {string | null} track id
 * @property {string | null} upload id
 * @property {string} title
 * @property {string} artist
 * @property {number} duration in seconds
 * @property {Segment[]} segments
 * @property {Weights} weights
 * @property {number | null} from seconds; null: the beginning
 * @property {number | null} to seconds; null: the end
 * @property {boolean} away "less like this"
 * @property {string} [media] the address of an uploaded file in this browser
 * @property {number[] | null} [peaks] of an uploaded file
 */

/**
 * @typedef {object} Filters
 * @property {string[]} artists
 * @property {string[]} genres
 * @property {Range} year
 * @property {Range} bpm
 * @property {Range} duration_seconds
 */

/**
 * @typedef {object} State
 * @property {any} health
 * @property {Example[]} examples
 * @property {number} active the number of the example on the desk
 * @property {boolean} adding whether the next song chosen is added to the question
 * @property {Filters} filters
 * @property {number | null} perArtist
 * @property {number} n matches wanted
 * @property {"search" | "map"} view
 * @property {Part} mapPart
 * @property {boolean} searching
 * @property {any} answer
 * @property {{message: string, hint: string, code: string} | null} problem
 * @property {any} playing what the player plays, see player.js
 */

/** @type {Filters} */
export const NO_FILTERS = { artists: [], genres: [], year: null, bpm: null, duration_seconds: null };
export const PAGE = 20;
export const MOST = 200;

/** @type {State} */
let state = {
  health: null,
  examples: [],
  active: 0,
  adding: false,
  filters: NO_FILTERS,
  perArtist: null,
  n: PAGE,
  view: "search",
  mapPart: "drums",
  searching: false,
  answer: null,
  problem: null,
  playing: null,
};

/** @type {{keys: (keyof State)[], listener: (state: State) => void}[]} */
const listeners = [];

/** @returns {State} */
export const now = () => state;

/**
 * Change some of the state; listeners of what changed are called, in the order they came.
 *
 * @param {Partial<State>} change
 */
export function set(change) {
  const keys = /** @type {(keyof State)[]} */ (Object.keys(change));
  const changed = keys.filter((key) => state[key] !== change[key]);
  if (!changed.length) return;
  state = { ...state, ...change };
  for (const { keys: wanted, listener } of listeners) {
    if (wanted.some((key) => changed.includes(key))) listener(state);
  }
}

/**
 * @param {(keyof State)[]} keys
 * @param {(state: State) => void} listener called after one of `keys` changed
 */
export function on(keys, listener) {
  listeners.push({ keys, listener });
}

/** @returns {Example | undefined} the example on the desk */
export const onDesk = () => state.examples[state.active];

/** @param {number} place @param {Partial<Example>} change */
export function edit(place, change) {
  const examples = state.examples.map((one, i) => (i === place ? { ...one, ...change } : one));
  set({ examples, n: PAGE });
}

/** @param {number} place */
export function remove(place) {
  const examples = state.examples.filter((_, i) => i !== place);
  const active = Math.max(0, Math.min(state.active - (place < state.active ? 1 : 0), examples.length - 1));
  set({ examples, active, adding: false, n: PAGE });
}

/**
 * Ask with one more example, or with this one alone.
 *
 * @param {Example} example
 * @param {"alone" | "add" | "replace"} how
 */
export function ask(example, how) {
  if (how === "add") {
    const examples = [...state.examples, example];
    set({ examples, active: examples.length - 1, adding: false, n: PAGE });
  } else if (how === "replace" && state.examples.length) {
    const examples = state.examples.map((one, i) => (i === state.active ? example : one));
    set({ examples, adding: false, n: PAGE });
  } else {
    set({ examples: [example], active: 0, adding: false, n: PAGE });
  }
}

/**
 * @param {Example} example
 * @param {Part} part
 * @returns {boolean} whether the part sounds in a segment that reaches into the stretch
 */
export function sounds(example, part) {
  const [from, to] = [example.from ?? 0, example.to ?? Infinity];
  return example.segments.some(
    (one) => one.start_seconds < to && one.end_seconds > from && one.presence[part] >= PRESENCE_THRESHOLD,
  );
}

/**
 * @param {Example} example
 * @param {Example[]} others already asked with
 * @returns {Weights} for one more example: the parts that no other one asks for, if any sound
 */
export function spareWeights(example, others) {
  const taken = PARTS.filter((part) => others.some((one) => !one.away && one.weights[part] > 0));
  const free = PARTS.filter((part) => !taken.includes(part) && sounds(example, part));
  return only(free.length ? free : PARTS);
}
