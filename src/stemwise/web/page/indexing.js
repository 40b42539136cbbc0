// @ts-check
/** The collection in figures, and letting the server look for new music. */

import * as api from "./api.js";
import { byId, element } from "./element.js";
import { say, tell } from "./notices.js";
import { forgetSongs } from "./songs.js";
import { on, now, set } from "./state.js";

const AGAIN_MILLISECONDS = 1000;
/** @type {any} */
let job = null;
let watching = false;

/** Show figures and the job. */
function show() {
  const { health } = now();
  if (!health) return;
  byId("open-index").textContent = job ? "Indexing…" : `${health.tracks} ${health.tracks === 1 ? "song" : "songs"}`;
  const figures = [["Songs", health.tracks], ["Segments", health.segments], ["Model", health.model], ["Fingerprint", health.fingerprint], ["Version", health.version]];
  byId("index-figures").replaceChildren(...figures.map(([name, value]) => element("div", {}, element("dt", {}, String(name)), element("dd", {}, typeof value === "number" ? value.toLocaleString("en") : String(value ?? "–")))));
  const can = Boolean(health.features?.index);
  byId("index-start").hidden = !can || Boolean(job);
  byId("index-retry-label").hidden = !can || Boolean(job);
  byId("index-cancel").hidden = !job;
  const bar = byId("index-progress");
  bar.hidden = !job;
  if (job?.total) bar.value = job.done / job.total;
  else bar.removeAttribute("value");
  byId("index-about").textContent = job
    ? [job.total ? `${job.done} of ${job.total} files` : "Looking for files", job.message].filter(Boolean).join(" · ")
    : can ? "" : "To look for new music from here, start the server with --music FOLDER, or run: stemwise index FOLDER";
}

/** @param {any} error */
function wrong(error) {
  if (error?.code === undefined) throw error;
  byId("index-wrong").textContent = `${error.message} ${error.hint}`.trim();
  byId("index-wrong").hidden = false;
}

/** Ask after the job until it has ended. */
async function watch() {
  if (watching) return;
  watching = true;
  try {
    while (job && (job.state === "queued" || job.state === "running")) {
      show();
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLISECONDS));
      job = await api.job(job.id);
    }
    const ended = job;
    job = null;
    forgetSongs();
    set({ health: await api.health() });
    if (ended?.state === "failed") wrong(new api.ApiError("failed", ended.message || "Indexing failed."));
    else if (ended) {
      const words = ended.state === "cancelled" ? "Indexing was stopped." : "The collection is up to date.";
      if (byId("index").open) say(words);
      else tell(words, ended.message);
      byId("index-about").textContent = [words, ended.message].filter(Boolean).join(" ");
    }
  } catch (error) {
    job = null;
    show();
    wrong(error);
  } finally {
    watching = false;
  }
}

/** Make the dialog work, and follow a job that runs already. */
export function startIndexing() {
  on(["health"], show);
  byId("open-index").addEventListener("click", () => {
    byId("index-wrong").hidden = true;
    show();
    byId("index").showModal();
  });
  byId("index-start").addEventListener("click", async () => {
    byId("index-wrong").hidden = true;
    try {
      job = await api.startIndex(byId("index-retry").checked);
      void watch();
    } catch (error) {
      wrong(error);
    }
  });
  byId("index-cancel").addEventListener("click", async () => {
    try {
      if (job) await api.cancelJob(job.id);
    } catch (error) {
      wrong(error);
    }
  });
}

/** Follow a job that was started elsewhere. */
export async function followJob() {
  if (!now().health?.indexing || job) return;
  const found = await api.jobs();
  const list = Array.isArray(found) ? found : (found.items ?? []);
  job = list.find((/** @type {any} */ one) => one.state === "running" || one.state === "queued") ?? null;
  if (job) void watch();
}
