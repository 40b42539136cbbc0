// @ts-check
/** Words to the reader: what a screen reader says aloud, and what went wrong. */

import { byId, element, icon } from "./element.js";

const SHOWN_MILLISECONDS = 9000;

/** @param {string} text said by screen readers, at the next chance */
export function say(text) {
  byId("said").textContent = text;
}

/**
 * Show a message for a while, where it is in nobody's way.
 *
 * @param {string} message
 * @param {string} [hint] what to do next
 */
export function tell(message, hint = "") {
  const close = element("button.quiet.square", { type: "button", "aria-label": "Close the message" }, icon("close"));
  const box = element("div.toast", { role: "alert" }, element("p", {}, message, hint && element("span", {}, ` ${hint}`)), close);
  close.addEventListener("click", () => box.remove());
  byId("toasts").append(box);
  setTimeout(() => box.remove(), SHOWN_MILLISECONDS);
}

/** @param {any} error of api.js, told to the reader; others are thrown on */
export function tellError(error) {
  if (error?.name === "AbortError") return;
  if (error?.code === undefined) throw error;
  if (error.code !== "unauthorized") tell(error.message, error.hint);
}
