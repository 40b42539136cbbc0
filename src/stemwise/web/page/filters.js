// @ts-check
/** Filters: artists, genres, years, tempo, length, and how many songs by one artist. */

import * as api from "./api.js";
import { clock, parseClock } from "./clock.js";
import { byId, debounced, element, icon } from "./element.js";
import { NO_FILTERS, PAGE, now, on, set } from "./state.js";

/** @typedef {"year" | "bpm" | "duration_seconds"} RangeName */

/** @param {Partial<import("./state.js").Filters>} change */
const filter = (change) => set({ filters: { ...now().filters, ...change }, n: PAGE });

/** @param {string} text @returns {number | null} */
const figure = (text) => (text.trim() && Number.isFinite(Number(text)) && Number(text) >= 0 ? Number(text) : null);

/** @param {"artists" | "genres"} name @param {string} label @returns {any} a field that takes several words */
function words(name, label) {
  const suggestions = element("datalist", { id: `known-${name}` });
  const field = element("input", { type: "text", id: `filter-${name}`, list: `known-${name}`, autocomplete: "off", placeholder: "any" });
  const chips = element("span.chips", { data: { name } });
  const add = () => {
    const text = field.value.trim();
    field.value = "";
    if (text && !now().filters[name].includes(text)) filter({ [name]: [...now().filters[name], text] });
  };
  field.addEventListener("change", add);
  field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      add();
    }
  });
  const key = name === "artists" ? "artist" : "genre";
  const suggest = debounced(async () => {
    try {
      const { items } = await api.tracks(name === "artists" ? field.value : "", 200, 0);
      const known = new Set(items.map((/** @type {any} */ track) => track[key]).filter(Boolean));
      suggestions.replaceChildren(...[...known].sort().slice(0, 60).map((value) => element("option", { value })));
    } catch {
      suggestions.replaceChildren();
    }
  }, 200);
  field.addEventListener("focus", suggest);
  if (name === "artists") field.addEventListener("input", suggest);
  return element("div.field", {}, element("label", { for: `filter-${name}` }, label), chips, field, suggestions);
}

/**
 * @param {RangeName} name
 * @param {string} label
 * @param {(text: string) => number | null} read
 * @param {(value: number) => string} write
 * @param {[string, string]} hints
 * @returns {any} two fields
 */
function range(name, label, read, write, hints) {
  const ends = [0, 1].map((end) => element("input", {
    type: "text", inputmode: "numeric", size: "6", placeholder: hints[end], autocomplete: "off",
    "aria-label": `${label}, ${end ? "to" : "from"}`, data: { name, end: String(end) },
    onchange: () => {
      const [low, high] = ends.map((one) => read(one.value));
      if (low !== null && high !== null && low > high) filter({ [name]: [high, low] });
      else filter({ [name]: low === null && high === null ? null : [low, high] });
      show();
    },
  }));
  /** @type {any} */ (ends[0]).write = write;
  /** @type {any} */ (ends[1]).write = write;
  return element("div.field", { role: "group", "aria-label": label }, element("span.label", { "aria-hidden": "true" }, label), element("span.pair", {}, ends[0], element("span", { "aria-hidden": "true" }, "–"), ends[1]));
}

/** Show the filters that are set. */
function show() {
  const { filters, perArtist } = now();
  for (const chips of byId("filters").querySelectorAll(".chips")) {
    const name = /** @type {"artists" | "genres"} */ (chips.dataset.name);
    chips.replaceChildren(...filters[name].map((text) => element("span.chip", {}, text, element("button", {
      type: "button", "aria-label": `Remove ${text}`, onclick: () => filter({ [name]: filters[name].filter((one) => one !== text) }),
    }, icon("close")))));
  }
  for (const field of byId("filters").querySelectorAll("input[data-end]")) {
    const value = filters[/** @type {RangeName} */ (field.dataset.name)]?.[Number(field.dataset.end)] ?? null;
    field.value = value === null ? "" : field.write(value);
  }
  byId("per-artist").value = perArtist ?? "";
  const count = filters.artists.length + filters.genres.length + [filters.year, filters.bpm, filters.duration_seconds, perArtist].filter(Boolean).length;
  byId("open-filters").textContent = count ? `Filters (${count})` : "Filters";
  byId("clear-filters").hidden = !count;
}

/** Keep the filters as the state is. */
export function startFilters() {
  const form = byId("filters");
  const plain = (/** @type {number} */ value) => String(Math.round(value));
  const most = element("input", { type: "number", id: "per-artist", min: "1", max: "50", placeholder: "any", onchange: () => {
    const value = figure(most.value);
    set({ perArtist: value && value >= 1 ? Math.floor(value) : null, n: PAGE });
    show();
  } });
  form.append(
    words("artists", "Artists"),
    words("genres", "Genres"),
    range("year", "Year", figure, plain, ["1970", "2020"]),
    range("bpm", "Tempo, bpm", figure, plain, ["90", "120"]),
    range("duration_seconds", "Length", parseClock, clock, ["2:00", "6:00"]),
    element("div.field", {}, element("label", { for: "per-artist" }, "Most by one artist"), most),
    element("button.quiet", { type: "button", id: "clear-filters", onclick: () => set({ filters: NO_FILTERS, perArtist: null, n: PAGE }) }, "Clear filters"),
  );
  form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  byId("open-filters").addEventListener("click", () => {
    form.hidden = !form.hidden;
    byId("open-filters").setAttribute("aria-expanded", String(!form.hidden));
  });
  on(["filters", "perArtist"], show);
  show();
}
