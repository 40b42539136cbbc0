// @ts-check
/** Songs as examples of a question: their segments and waveforms, asked for once each. */

import * as api from "./api.js";
import { PARTS, only } from "./parts.js";

/** @typedef {import("./state.js").Example} Example */
/** @typedef {import("./parts.js").Weights} Weights */

const POINTS = 800;
const LONGEST_DECODED_SECONDS = 1800;
const LARGEST_DECODED_BYTES = 80e6;
const KEPT = 60;

/** @type {Map<string, Promise<any>>} */
const details = new Map();
/** @type {Map<string, Promise<number[] | null>>} */
const waves = new Map();
/** @type {Map<string, Example>} files that were sent, as long as this page is open */
const uploads = new Map();

/**
 * @template T
 * @param {Map<string, Promise<T>>} known
 * @param {string} key
 * @param {() => Promise<T>} make
 * @returns {Promise<T>} what is kept under the key; failures are not kept
 */
function kept(known, key, make) {
  const there = known.get(key);
  if (there) return there;
  const made = make();
  known.set(key, made);
  made.catch(() => known.delete(key));
  if (known.size > KEPT) known.delete(/** @type {string} */ (known.keys().next().value));
  return made;
}

/** @param {string} id @returns {Promise<any>} the track with its segments */
export const detailsOf = (id) => kept(details, id, () => api.track(id));

/**
 * @param {string} id of a song in the collection
 * @param {Partial<Example>} [wishes] weights, stretch, away
 * @returns {Promise<Example>}
 */
export async function exampleOf(id, wishes = {}) {
  const found = await detailsOf(id);
  return {
    track: id,
    upload: null,
    title: found.title,
    artist: found.artist ?? "",
    duration: found.duration_seconds,
    segments: found.segments,
    weights: only(PARTS),
    from: null,
    to: null,
    away: false,
    ...wishes,
  };
}

/**
 * @param {any} sent the server's answer to an upload
 * @param {File} file
 * @param {Weights} weights
 * @returns {Example}
 */
export function exampleOfFile(sent, file, weights) {
  /** @type {Example} */
  const example = {
    track: null,
    upload: sent.upload,
    title: file.name,
    artist: "",
    duration: sent.duration_seconds,
    segments: sent.segments,
    weights,
    from: null,
    to: null,
    away: false,
    media: URL.createObjectURL(file),
    peaks: null,
  };
  uploads.set(sent.upload, example);
  waves.set(`upload.${sent.upload}`, decodedPeaks(file, sent.duration_seconds));
  return example;
}

/** @param {string} id @returns {Example | undefined} a file that was sent before */
export const uploaded = (id) => uploads.get(id);

/** Forget what was asked for; after the collection changed. */
export function forgetSongs() {
  details.clear();
}

/**
 * @param {{track?: string | null, upload?: string | null}} song
 * @returns {Promise<number[] | null>} its waveform, 0..1; null if it cannot be had
 */
export function peaksOf(song) {
  if (!song.track) return waves.get(`upload.${song.upload}`) ?? Promise.resolve(null);
  const id = song.track;
  return kept(waves, id, async () => (await api.waveform(id, POINTS)).peaks).catch(() => null);
}

/**
 * Decode a file in the browser, at a low rate so that it takes little memory.
 *
 * @param {File} file
 * @param {number} seconds
 * @returns {Promise<number[] | null>} null if it is too long, or the browser cannot read it
 */
async function decodedPeaks(file, seconds) {
  if (seconds > LONGEST_DECODED_SECONDS || file.size > LARGEST_DECODED_BYTES) return null;
  try {
    const rate = 8000;
    const context = new OfflineAudioContext(1, 1, rate);
    const decoded = await context.decodeAudioData(await file.arrayBuffer());
    const samples = decoded.getChannelData(0);
    const peaks = new Array(POINTS).fill(0);
    for (let i = 0; i < samples.length; i += 1) {
      const bin = Math.min(POINTS - 1, Math.floor((i * POINTS) / samples.length));
      peaks[bin] = Math.max(peaks[bin], Math.abs(samples[i]));
    }
    return peaks.map((peak) => Math.min(1, peak));
  } catch {
    return null;
  }
}
