// @ts-check
/** Searching with a file of one's own: chosen, or dropped anywhere on the page. */

import * as api from "./api.js";
import { byId } from "./element.js";
import { say, tell, tellError } from "./notices.js";
import { PARTS, only } from "./parts.js";
import { exampleOfFile } from "./songs.js";
import { ask, now, onDesk } from "./state.js";

let running = new AbortController();

/** @param {number} bytes */
const inMegabytes = (bytes) => `${Math.max(0.1, bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** @param {File} file @returns {Promise<void>} */
export async function searchWith(file) {
  const most = now().health?.features?.upload_max_bytes;
  if (most && file.size > most) {
    tell(`“${file.name}” has ${inMegabytes(file.size)}; the server takes ${inMegabytes(most)} at most.`, "Try a shorter file, or an MP3.");
    return;
  }
  if (!file.size) {
    tell(`“${file.name}” is empty.`, "Choose a music file.");
    return;
  }
  running.abort();
  const mine = new AbortController();
  running = mine;
  const { adding, view } = now();
  byId("upload-about").textContent = `Sending “${file.name}”`;
  byId("upload-progress").value = 0;
  byId("upload").showModal();
  try {
    const sent = await api.upload(file, (share) => {
      if (share < 1) byId("upload-progress").value = share;
      else {
        byId("upload-progress").removeAttribute("value");
        byId("upload-about").textContent = `Listening to “${file.name}”`;
      }
    }, mine.signal);
    if (view === "map") byId("view-search").click();
    ask(exampleOfFile(sent, file, onDesk()?.weights ?? only(PARTS)), adding ? "add" : "alone");
    say(`Searching with ${file.name}`);
  } catch (error) {
    tellError(error);
  } finally {
    if (running === mine) byId("upload").close();
  }
}

/** @param {DragEvent} event */
const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

/** Take files by the button and by dropping. */
export function startUpload() {
  const field = byId("file");
  byId("choose-file").addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    if (field.files[0]) void searchWith(field.files[0]);
    field.value = "";
  });
  byId("upload-cancel").addEventListener("click", () => {
    running.abort();
    byId("upload").close();
  });
  byId("upload").addEventListener("cancel", () => running.abort());
  let depth = 0;
  const show = () => {
    byId("drop").hidden = depth <= 0;
  };
  document.addEventListener("dragenter", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    depth += 1;
    show();
  });
  document.addEventListener("dragleave", (event) => {
    if (!hasFile(event)) return;
    depth -= 1;
    show();
  });
  document.addEventListener("dragover", (event) => {
    if (hasFile(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    depth = 0;
    show();
    const file = event.dataTransfer?.files[0];
    if (file) void searchWith(file);
  });
}
