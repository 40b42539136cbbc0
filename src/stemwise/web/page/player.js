// @ts-check
/**
 * What is heard: side A, the query, and side B, a match, each in an audio element of its own so
 * that switching is instant. Both keep the same distance from the moments that match.
 */

import { audioAddress } from "./api.js";
import { now, set } from "./state.js";

/** @typedef {"a" | "b"} Side */
/**
 * @typedef {object} Source what one side plays
 * @property {string} key tells songs apart
 * @property {string | null} track
 * @property {string | null} upload
 * @property {string} title
 * @property {string} artist
 * @property {string} [media] the address of a local file
 * @property {number} moment seconds, where the passage starts
 * @property {number} duration seconds
 */
/**
 * @typedef {object} Playing
 * @property {Record<Side, Source | null>} sources
 * @property {Side} side
 * @property {boolean} sounding
 * @property {boolean} turns whether the sides take turns
 * @property {string | null} part the part that is heard alone
 * @property {string | null} problem
 */

const TURN_SECONDS = 10;

/** @type {Record<Side, HTMLAudioElement>} */
export const audio = { a: new Audio(), b: new Audio() };
/** @type {((side: Side) => void)[]} */
const timeListeners = [];

/** @returns {Playing} */
function playing() {
  return (
    now().playing ?? { sources: { a: null, b: null }, side: "b", sounding: false, turns: false, part: null, problem: null }
  );
}

/** @param {Partial<Playing>} change */
const update = (change) => set({ playing: { ...playing(), ...change } });

/** @param {Side} side @returns {Side} */
const other = (side) => (side === "a" ? "b" : "a");

/** @param {(side: Side) => void} listener called as time goes by */
export function onTime(listener) {
  timeListeners.push(listener);
}

/**
 * @param {import("./state.js").Example} example
 * @param {number} moment seconds
 * @returns {Source}
 */
export function sourceOf(example, moment) {
  return {
    key: example.track ?? `upload.${example.upload}`,
    track: example.track,
    upload: example.upload,
    title: example.title,
    artist: example.artist,
    media: example.media,
    moment,
    duration: example.duration,
  };
}

/** @param {any} track of an answer @param {number} moment @returns {Source} */
export function sourceOfTrack(track, moment) {
  const { id, title, artist, duration_seconds: duration } = track;
  return { key: id, track: id, upload: null, title, artist: artist ?? "", moment, duration };
}

/**
 * Play from where the passages meet.
 *
 * @param {Source | null} a the query
 * @param {Source | null} b the match
 * @param {Side} side the one that is heard
 */
export function play(a, b, side) {
  const { part, turns } = playing();
  audio[other(side)].pause();
  update({ sources: { a, b }, side, problem: null, turns: turns && Boolean(a && b) });
  for (const [which, source] of /** @type {[Side, Source | null][]} */ ([["a", a], ["b", b]])) {
    load(which, source, part);
    if (source) seekTo(which, source.moment);
  }
  void start(side);
}

/** @param {Side} side @param {Source | null} source @param {string | null} part */
function load(side, source, part) {
  const address = source ? source.media ?? audioAddress(source.track ?? "", part) : "";
  if (audio[side].dataset.address === address) return;
  audio[side].dataset.address = address;
  if (address) audio[side].src = address;
  else audio[side].removeAttribute("src");
}

/** @param {Side} side @param {number} seconds */
function seekTo(side, seconds) {
  audio[side].dataset.wanted = String(seconds);
  if (audio[side].readyState >= HTMLMediaElement.HAVE_METADATA) {
    audio[side].currentTime = seconds;
    delete audio[side].dataset.wanted;
  }
}

/** @param {Side} side */
async function start(side) {
  try {
    await audio[side].play();
  } catch (error) {
    if (/** @type {Error} */ (error).name === "NotAllowedError") update({ problem: "The browser waits for a click; press play." });
  }
}

/** Play or pause the side that is heard. */
export function toggle() {
  const { side, sources } = playing();
  if (!sources[side]) return;
  if (audio[side].paused) void start(side);
  else audio[side].pause();
}

/** Silence. */
export function pause() {
  audio.a.pause();
  audio.b.pause();
}

/**
 * Hear one side from the moment that corresponds to where the other is.
 *
 * @param {Side} side
 * @param {boolean} [afresh] from the start of its passage instead
 */
export function switchTo(side, afresh = false) {
  const { side: old, sources } = playing();
  const [from, to] = [sources[old], sources[side]];
  if (!to) return;
  if (side !== old && from) {
    const offset = timeOf(old) - from.moment;
    const there = to.moment + offset;
    seekTo(side, !afresh && there >= 0 && there < to.duration - 0.5 ? there : to.moment);
    audio[old].pause();
  }
  update({ side });
  void start(side);
}

/** Hear the other side. */
export const switchSides = () => switchTo(other(playing().side));

/** @param {Side} side @returns {number} seconds */
export function timeOf(side) {
  return audio[side].dataset.wanted === undefined ? audio[side].currentTime : Number(audio[side].dataset.wanted);
}

/** @param {number} seconds in what is heard */
export function seek(seconds) {
  seekTo(playing().side, seconds);
  for (const listener of timeListeners) listener(playing().side);
}

/** @param {boolean} turns */
export const takeTurns = (turns) => update({ turns });

/** @param {string | null} part to hear alone; null: all */
export function hearPart(part) {
  const { sources, side, sounding } = playing();
  update({ part });
  for (const which of /** @type {Side[]} */ (["a", "b"])) {
    const source = sources[which];
    if (!source || source.media) continue;
    const time = timeOf(which);
    load(which, source, part);
    seekTo(which, time);
  }
  if (sounding) void start(side);
}

/** @param {number} volume 0..1 */
export function setVolume(volume) {
  audio.a.volume = volume;
  audio.b.volume = volume;
}

/** Close the player. */
export function stop() {
  pause();
  set({ playing: null });
}

/** @param {Side} side @param {boolean} [ended] whether its song has come to its end */
function turn(side, ended = false) {
  const { sources, turns } = playing();
  const source = sources[side];
  if (!turns || !source || side !== playing().side || (audio[side].paused && !ended)) return;
  const next = sources[other(side)];
  if (next && (ended || audio[side].currentTime >= source.moment + TURN_SECONDS)) {
    switchTo(other(side), true);
    seekTo(side, source.moment);
  }
}

for (const side of /** @type {Side[]} */ (["a", "b"])) {
  const one = audio[side];
  one.preload = "auto";
  one.addEventListener("loadedmetadata", () => {
    if (one.dataset.wanted !== undefined) seekTo(side, Number(one.dataset.wanted));
  });
  one.addEventListener("timeupdate", () => {
    turn(side);
    for (const listener of timeListeners) listener(side);
  });
  one.addEventListener("ended", () => turn(side, true));
  for (const event of ["play", "pause", "ended"]) {
    one.addEventListener(event, () => {
      if (playing().side === side && now().playing) update({ sounding: !one.paused && !one.ended });
    });
  }
  one.addEventListener("error", () => {
    const { sources, part } = playing();
    if (!sources[side] || !one.getAttribute("src")) return;
    const what = part && !sources[side]?.media ? `The ${part} of “${sources[side]?.title}”` : `“${sources[side]?.title}”`;
    update({ sounding: false, problem: `${what} cannot be played: the file is gone, or this browser does not read it.` });
  });
}
