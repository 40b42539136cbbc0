// @ts-check
/** Single keys. They are never taken from somebody who types, and can be turned off. */

import { clearStretch, playDesk } from "./desk.js";
import { byId } from "./element.js";
import { switchSides, switchTo, toggle } from "./player.js";
import { askWith, chosenSong, hearSide, moveThrough } from "./results.js";
import { now } from "./state.js";

const KEY = "stemwise-keys";

/** @param {any} target @returns {boolean} whether the key is text */
function typing(target) {
  if (target.isContentEditable || target.tagName === "TEXTAREA" || target.tagName === "SELECT") return true;
  return target.tagName === "INPUT" && !["checkbox", "button"].includes(target.type);
}

/** @param {any} target @returns {boolean} whether Space and arrows mean something to it already */
const takesKeys = (target) => Boolean(target.closest?.("button, a, summary, input, [role=slider], [role=application]"));

/** @param {"a" | "b"} side */
function hear(side) {
  const { playing } = now();
  const row = /** @type {HTMLElement | null} */ (document.activeElement?.closest?.(".match"));
  if (row && row.dataset.id !== playing?.sources.b?.key) hearSide(side);
  else if (playing?.sources[side]) switchTo(side);
  else hearSide(side);
}

/** @type {Record<string, () => void>} */
const KEYS = {
  "/": () => byId("finder").focus(),
  "?": () => byId("help").showModal(),
  a: () => hear("a"),
  b: () => hear("b"),
  x: switchSides,
  m: () => byId(now().view === "map" ? "view-search" : "view-map").click(),
  s: () => {
    const id = chosenSong();
    if (id) void askWith(id, "alone");
  },
  ArrowDown: () => moveThrough(1),
  ArrowUp: () => moveThrough(-1),
  " ": () => (now().playing ? toggle() : playDesk()),
};

/** @param {KeyboardEvent} event */
function pressed(event) {
  const target = /** @type {any} */ (event.target);
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(target) || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    clearStretch();
    return;
  }
  if (!byId("keys-on").checked) return;
  const deed = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!deed) return;
  const arrow = event.key.startsWith("Arrow");
  if (arrow && target.closest?.("[role=slider], [role=application], input")) return;
  if (event.key === " " && takesKeys(target)) return;
  event.preventDefault();
  deed();
}

/** Listen to keys; close dialogs by their buttons. */
export function startShortcuts() {
  document.addEventListener("keydown", pressed);
  const box = byId("keys-on");
  try {
    box.checked = localStorage.getItem(KEY) !== "off";
  } catch {
    box.checked = true;
  }
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(KEY, box.checked ? "on" : "off");
    } catch {
      // The choice then lasts as long as the page.
    }
  });
  byId("open-help").addEventListener("click", () => byId("help").showModal());
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector("[data-close]")?.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog && dialog.id !== "gate" && dialog.id !== "upload") dialog.close();
    });
  }
}
