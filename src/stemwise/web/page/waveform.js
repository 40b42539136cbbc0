// @ts-check
/** Drawings over time: a waveform, and the strip that shows where a part sounds. */

import { cleared, colour } from "./element.js";
import { PRESENCE_THRESHOLD } from "./parts.js";

const BAR = 2;
const GAP = 1;

/**
 * Draw a waveform as bars around the middle.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number[] | null} peaks 0..1 over the whole song; null: a quiet line
 * @param {{played?: number, marks?: [number, number] | null, ink?: string, rest?: string}} [look]
 *   `played`: share of the song that is drawn in `ink`, the other in `rest`; `marks`: a stretch of
 *   it, shares too, with a line below
 */
export function drawWave(canvas, peaks, look = {}) {
  const { pen, width, height } = cleared(canvas);
  const [ink, rest] = [look.ink ?? colour("--wave"), look.rest ?? colour("--wave")];
  const played = look.played ?? 1;
  const middle = height / 2;
  const count = Math.max(1, Math.floor(width / (BAR + GAP)));
  const loudest = peaks ? Math.max(0.05, ...peaks) : 1;
  for (let i = 0; i < count; i += 1) {
    const high = peaks ? (loudestIn(peaks, i / count, (i + 1) / count) / loudest) * (middle - 3) : 0;
    pen.fillStyle = (i + 0.5) / count <= played ? ink : rest;
    const half = Math.max(0.75, high);
    pen.fillRect(i * (BAR + GAP), middle - half, BAR, 2 * half);
  }
  if (look.marks) {
    pen.fillStyle = colour("--ink");
    const [from, to] = look.marks;
    pen.fillRect(from * width, height - 2, Math.max(3, (to - from) * width), 2);
  }
}

/** @param {number[]} peaks @param {number} from @param {number} to shares of the song */
function loudestIn(peaks, from, to) {
  const first = Math.floor(from * peaks.length);
  const last = Math.max(first + 1, Math.ceil(to * peaks.length));
  let most = 0;
  for (let i = first; i < last && i < peaks.length; i += 1) most = Math.max(most, peaks[i]);
  return most;
}

/**
 * Draw where a part sounds: a block for each segment, pale where it hardly does.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {import("./state.js").Segment[]} segments
 * @param {number} duration seconds
 * @param {import("./parts.js").Part} part
 * @param {boolean} on whether the part is asked for
 */
export function drawStrip(canvas, segments, duration, part, on) {
  const { pen, width, height } = cleared(canvas);
  pen.fillStyle = colour("--strip");
  pen.fillRect(0, height / 2 - 0.5, width, 1);
  pen.fillStyle = on ? colour(`--${part}`) : colour("--strip-off");
  for (const one of segments) {
    const from = (one.start_seconds / duration) * width;
    const to = (Math.min(duration, one.end_seconds) / duration) * width;
    const presence = one.presence[part];
    const heard = presence >= PRESENCE_THRESHOLD;
    const high = heard ? height * (0.55 + 0.45 * presence) : Math.max(2, height * 0.3 * presence);
    pen.globalAlpha = 1;
    pen.clearRect(from, 0, to - from, height);
    pen.globalAlpha = heard ? 0.35 + 0.65 * (presence - 0.5) * 2 : 0.3;
    pen.beginPath();
    pen.roundRect(from + 0.75, (height - high) / 2, Math.max(1, to - from - 1.5), high, 2);
    pen.fill();
  }
  pen.globalAlpha = 1;
}
