// @ts-check
/** Saving the matches as a playlist. */

import * as api from "./api.js";
import { byId, element } from "./element.js";
import { tell } from "./notices.js";
import { inWords } from "./parts.js";
import { now } from "./state.js";

/** @returns {string[]} ids, the query first if that is wished */
function ids() {
  const { answer } = now();
  const matches = answer.matches.map((/** @type {any} */ match) => match.track.id);
  const first = byId("playlist-first").checked ? answer.examples.filter((/** @type {any} */ one) => one.track && !one.away) : [];
  return [...new Set([...first.map((/** @type {any} */ one) => one.track), ...matches])];
}

/** Say how many songs there are. */
function count() {
  byId("playlist-about").textContent = `${ids().length} songs, nearest first.`;
}

/** @param {boolean} save into the server's folder, else download */
async function make(save) {
  const name = byId("playlist-name").value.trim();
  const wrong = byId("playlist-wrong");
  wrong.hidden = true;
  try {
    const made = await api.playlist(name, ids(), save);
    byId("playlist").close();
    if (made instanceof Blob) download(made, `${name}.m3u8`);
    else tell(`Saved “${made.name}” with ${made.tracks} songs.`);
  } catch (error) {
    const { code, message, hint } = /** @type {any} */ (error);
    if (code === undefined) throw error;
    wrong.textContent = `${message} ${hint}`.trim();
    wrong.hidden = false;
  }
}

/** @param {Blob} blob @param {string} name */
function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name.replaceAll(/[/\\:*?"<>|]/g, "-") });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** Make the dialog work. */
export function startPlaylist() {
  byId("open-playlist").addEventListener("click", () => {
    const { answer, health } = now();
    const first = answer.examples[0];
    byId("playlist-name").value = `Like ${first.title} (${inWords(first.weights)})`;
    byId("playlist-query").hidden = !answer.examples.some((/** @type {any} */ one) => one.track && !one.away);
    byId("playlist-save").hidden = !health?.features?.save_playlists;
    byId("playlist-wrong").hidden = true;
    count();
    byId("playlist").showModal();
    byId("playlist-name").select();
  });
  byId("playlist-first").addEventListener("change", count);
  byId("playlist-save").addEventListener("click", () => {
    if (byId("playlist-form").reportValidity()) void make(true);
  });
  byId("playlist-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    void make(false);
  });
}
