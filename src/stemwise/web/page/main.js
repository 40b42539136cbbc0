// @ts-check
/** The page: starts its pieces, and keeps the address bar and the state alike. */

import * as api from "./api.js";
import { parsed, show } from "./address.js";
import { askNow, startAsking } from "./asking.js";
import { drawDeck, startDeck } from "./deck.js";
import { drawDesk, startDesk } from "./desk.js";
import { byId } from "./element.js";
import { startFilters } from "./filters.js";
import { startFinder } from "./finder.js";
import { startGate, useToken } from "./gate.js";
import { followJob, startIndexing } from "./indexing.js";
import { drawMap, forgetMaps, startMap } from "./map.js";
import { tell, tellError } from "./notices.js";
import { startPlaylist } from "./playlist.js";
import { askWith, listMore, startResults } from "./results.js";
import { startShortcuts } from "./shortcuts.js";
import { exampleOf, uploaded } from "./songs.js";
import { PAGE, ask, now, on, onDesk, set, spareWeights } from "./state.js";
import { startTheme } from "./theme.js";
import { startUpload } from "./upload.js";

let restoring = 0;
let ready = false;

/** Bring the state to what the address asks for. */
async function restore() {
  const mine = (restoring += 1);
  const { wanted, ...rest } = parsed(location.hash.slice(1));
  const examples = [];
  for (const one of wanted) {
    const { track, upload, ...wishes } = one;
    const known = now().examples.find((old) => (track ? old.track === track : old.upload === upload));
    const file = upload ? uploaded(upload) : undefined;
    try {
      if (known) examples.push({ ...known, ...wishes });
      else if (file) examples.push({ ...file, ...wishes });
      else if (upload) tell("The file in this link is known only where it was chosen.", "Drop it here again.");
      else examples.push(await exampleOf(track, wishes));
    } catch (error) {
      tellError(error);
    }
  }
  if (mine !== restoring) return;
  set({ ...rest, examples, active: Math.min(rest.active, Math.max(0, examples.length - 1)), adding: false, n: PAGE });
}

/** Show the view that is wanted. */
function showView() {
  const map = now().view === "map";
  byId("map-view").hidden = !map;
  byId("search-view").hidden = map;
  byId("view-map").setAttribute("aria-pressed", String(map));
  byId("view-search").setAttribute("aria-pressed", String(!map));
}

/** @param {any} track that was found by typing */
async function chosen(track) {
  const { adding, examples, active } = now();
  try {
    if (!adding && !examples.length) {
      await askWith(track.id, "alone");
    } else {
      const found = await exampleOf(track.id);
      const { weights, away } = onDesk() ?? found;
      if (adding) ask({ ...found, weights: spareWeights(found, examples) }, "add");
      else ask({ ...found, weights, away }, "replace");
      if (!adding) set({ active });
    }
  } catch (error) {
    tellError(error);
  }
}

/** Ask the server what there is, and show it. */
async function begin() {
  try {
    set({ health: await api.health(), problem: null });
  } catch (error) {
    const { code, message, hint } = /** @type {any} */ (error);
    if (code === undefined) throw error;
    if (code !== "unauthorized") set({ problem: { code, message, hint } });
    return;
  }
  await Promise.all([restore(), listMore(true)]);
  ready = true;
  showView();
  followJob().catch(tellError);
}

/** @param {any} old @param {any} fresh health */
function changed(old, fresh) {
  return old && (old.tracks !== fresh.tracks || old.segments !== fresh.segments || old.fingerprint !== fresh.fingerprint);
}

startTheme(() => {
  drawDesk();
  drawDeck();
  drawMap();
});
startGate(() => void begin());
startFilters();
startDesk();
startDeck();
startResults(() => void begin());
startMap();
startAsking();
startPlaylist();
startIndexing();
startUpload();
startShortcuts();
startFinder((track) => void chosen(track));

byId("view-search").addEventListener("click", () => set({ view: "search" }));
byId("view-map").addEventListener("click", () => set({ view: "map" }));
byId("home").addEventListener("click", (/** @type {MouseEvent} */ event) => {
  event.preventDefault();
  set({ examples: [], active: 0, adding: false, view: "search" });
});
on(["view"], showView);
let health = now().health;
on(["health"], (state) => {
  if (changed(health, state.health)) {
    forgetMaps();
    void listMore(true);
    if (state.examples.length) void askNow();
  }
  health = state.health;
});
on(["examples", "active", "filters", "perArtist", "view", "mapPart"], (state) => {
  if (ready) show(state);
});
window.addEventListener("popstate", () => void restore());
await useToken().catch(tellError);
await begin();
