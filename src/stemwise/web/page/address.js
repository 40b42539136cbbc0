// @ts-check
/**
 * The question in the address bar, as on the command line: `#q=ID@12-32:drums=1,bass=0.5&not=ID`.
 *
 * What a link holds: the songs, their stretches and weights, filters, and the view. A song that is
 * new, or another view, makes a step that "back" undoes; a slider or a stretch changes the step.
 */

import { PARTS, only } from "./parts.js";
import { NO_FILTERS } from "./state.js";

/** @typedef {import("./state.js").State} State */
/** @typedef {import("./state.js").Example} Example */
/** @typedef {Pick<Example, "track" | "upload" | "weights" | "from" | "to" | "away">} Wanted */

const RANGES = /** @type {const} */ (["year", "bpm", "duration_seconds"]);

/** @param {Wanted} example @returns {string} */
function written(example) {
  let text = example.track ?? `upload.${example.upload}`;
  if (example.from !== null || example.to !== null) {
    text += `@${brief(example.from)}-${brief(example.to)}`;
  }
  if (PARTS.some((part) => example.weights[part] !== 1)) {
    const on = PARTS.filter((part) => example.weights[part] > 0);
    text += `:${on.map((part) => `${part}=${brief(example.weights[part])}`).join(",")}`;
  }
  return text;
}

/** @param {number | null} value */
const brief = (value) => (value === null ? "" : String(Math.round(value * 100) / 100));

/** @param {string} text @returns {number | null} */
const number = (text) => (text === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** @param {string} text @param {boolean} away @returns {Wanted | null} */
function read(text, away) {
  const match = /^([\w.-]+?)(?:@([\d.]*)-([\d.]*))?(?::(.*))?$/.exec(text);
  if (!match) return null;
  const [, name, from = "", to = "", mix] = match;
  const weights = only(mix === undefined ? PARTS : []);
  for (const item of (mix ?? "").split(",")) {
    const [part, weight] = item.split("=");
    const value = number(weight ?? "1");
    const known = PARTS.find((one) => one === part);
    if (known && value !== null) weights[known] = Math.min(1, Math.max(0, value));
  }
  const upload = name.startsWith("upload.") ? name.slice("upload.".length) : null;
  return { track: upload ? null : name, upload, weights, from: number(from), to: number(to), away };
}

/** @param {State} state @returns {string} what follows the # in the address */
export function fragment(state) {
  const fields = new URLSearchParams();
  for (const one of state.examples) fields.append(one.away ? "not" : "q", written(one));
  for (const artist of state.filters.artists) fields.append("artist", artist);
  for (const genre of state.filters.genres) fields.append("genre", genre);
  for (const name of RANGES) {
    const range = state.filters[name];
    if (range) fields.append(name, `${brief(range[0])}-${brief(range[1])}`);
  }
  if (state.perArtist) fields.append("per_artist", String(state.perArtist));
  if (state.active) fields.append("desk", String(state.active));
  if (state.view === "map") {
    fields.append("view", "map");
    fields.append("part", state.mapPart);
  }
  return fields.toString().replaceAll("%3A", ":").replaceAll("%40", "@").replaceAll("%2C", ",").replaceAll("%3D", "=");
}

/** @param {string} text what follows the # @returns {any} what it asks for */
export function parsed(text) {
  const fields = new URLSearchParams(text);
  /** @type {Wanted[]} */
  const wanted = [];
  for (const [key, value] of fields) {
    const one = key === "q" || key === "not" ? read(value, key === "not") : null;
    if (one) wanted.push(one);
  }
  /** @type {any} */
  const filters = { ...NO_FILTERS, artists: fields.getAll("artist"), genres: fields.getAll("genre") };
  for (const name of RANGES) {
    const match = /^([\d.]*)-([\d.]*)$/.exec(fields.get(name) ?? "");
    if (match) filters[name] = [number(match[1]), number(match[2])];
  }
  const part = PARTS.find((one) => one === fields.get("part"));
  return {
    wanted,
    filters,
    perArtist: number(fields.get("per_artist") ?? "") || null,
    active: Math.min(number(fields.get("desk") ?? "") ?? 0, Math.max(0, wanted.length - 1)),
    view: fields.get("view") === "map" ? "map" : "search",
    mapPart: part ?? "drums",
  };
}

/** @param {string} text @returns {string} what is a step of its own when it changes */
function step(text) {
  const { wanted, view, mapPart } = parsed(text);
  return JSON.stringify([wanted.map((/** @type {Wanted} */ one) => [one.track, one.upload, one.away]), view, mapPart]);
}

/** @param {State} state */
export function show(state) {
  const text = fragment(state);
  const old = location.hash.slice(1);
  if (text === old) return;
  const address = text ? `#${text}` : location.pathname;
  if (step(text) === step(old)) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}

/** @returns {string | null} the token in the address, which is then taken out of it */
export function takeToken() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const token = fields.get("token");
  if (token === null) return null;
  fields.delete("token");
  const rest = fields.toString();
  history.replaceState(null, "", rest ? `#${rest}` : location.pathname);
  return token;
}
