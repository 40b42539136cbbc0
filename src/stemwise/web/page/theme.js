// @ts-check
/** Light and dark: as the system has it, until the reader chooses. */

import { byId } from "./element.js";

const KEY = "stemwise-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** @returns {string | null} */
function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {() => void} onChange called when the colours are others; canvases are drawn again */
export function startTheme(onChange) {
  const button = byId("theme");
  const apply = () => {
    const theme = remembered() ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-pressed", String(theme === "dark"));
    onChange();
  };
  system.addEventListener("change", apply);
  button.addEventListener("click", () => {
    const other = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, other);
    } catch {
      document.documentElement.dataset.theme = other;
    }
    apply();
  });
  apply();
}
