// @ts-check
/** Finding a song by typing: a text field with a list, after the ARIA pattern of a combobox. */

import * as api from "./api.js";
import { clock } from "./clock.js";
import { byId, debounced, element } from "./element.js";
import { say, tellError } from "./notices.js";
import { set } from "./state.js";

const REST_MILLISECONDS = 150;
const SHOWN = 12;

/** @type {any[]} */
let items = [];
let chosen = -1;
/** The text that the list answers; null while the answer is on its way. @type {string | null} */
let answered = null;
/** Whether Enter was pressed before the answer came. */
let hasty = false;
let running = new AbortController();

/** @param {boolean} open */
function open(open) {
  const list = byId("found");
  list.hidden = !open || !items.length;
  byId("finder").setAttribute("aria-expanded", String(!list.hidden));
  if (!open) byId("found-empty").hidden = true;
}

/** @param {number} place */
function mark(place) {
  chosen = place;
  const list = byId("found");
  [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === place)));
  const option = list.children[place];
  if (option) {
    byId("finder").setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  } else {
    byId("finder").removeAttribute("aria-activedescendant");
  }
}

/** @param {any} track @param {number} place @param {(track: any) => void} take */
function option(track, place, take) {
  const about = [track.artist, track.album, clock(track.duration_seconds)].filter(Boolean).join(" · ");
  return element("li.option", { role: "option", id: `found-${place}`, "aria-selected": "false",
    onpointerdown: (/** @type {Event} */ event) => event.preventDefault(),
    onclick: () => take(track),
  }, element("span.option-title", {}, track.title), element("span.option-about", {}, about));
}

/** @param {string} text @param {(track: any) => void} take */
async function find(text, take) {
  running.abort();
  const mine = new AbortController();
  running = mine;
  answered = null;
  try {
    const answer = await api.tracks(text.trim(), SHOWN, 0, mine.signal);
    if (mine.signal.aborted) return;
    items = answer.items;
    answered = text;
    byId("found").replaceChildren(...items.map((track, i) => option(track, i, take)));
    mark(text.trim() && items.length ? 0 : -1);
    const focused = document.activeElement === byId("finder");
    open(focused);
    if (hasty && text.trim() && items.length) {
      hasty = false;
      take(items[0]);
      return;
    }
    const empty = byId("found-empty");
    empty.hidden = items.length > 0 || !focused;
    empty.textContent = text.trim() ? `No song with “${text.trim()}” in its title, artist or album.` : "The collection is empty.";
    say(items.length ? `${answer.total} found` : empty.textContent);
  } catch (error) {
    if (!mine.signal.aborted) tellError(error);
  }
}

/** @param {(track: any) => void} onChosen called with the song */
export function startFinder(onChosen) {
  const field = byId("finder");
  const take = (/** @type {any} */ track) => {
    running.abort();
    onChosen(track);
    field.value = "";
    open(false);
    field.blur();
  };
  const soon = debounced((/** @type {string} */ text) => void find(text, take), REST_MILLISECONDS);
  field.addEventListener("input", () => {
    hasty = false;
    soon(field.value);
  });
  field.addEventListener("focus", () => void find(field.value, take));
  field.addEventListener("blur", () => {
    running.abort();
    hasty = false;
    open(false);
    set({ adding: false });
  });
  field.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (byId("found").hidden) return;
      const step = event.key === "ArrowDown" ? 1 : -1;
      mark((chosen + step + items.length + (chosen < 0 && step < 0 ? 1 : 0)) % items.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (answered !== field.value) hasty = true;
      else if (items[chosen] && !byId("found").hidden) take(items[chosen]);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      if (byId("found").hidden && !field.value) field.blur();
      field.value = "";
      open(false);
    }
  });
}
