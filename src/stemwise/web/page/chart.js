// @ts-check
/** The drawing of the map: thousands of points that can be zoomed, moved and pointed at. */

import { calm, cleared, colour } from "./element.js";

/** @typedef {{id: string, title: string, artist: string, x: number, y: number}} Point */
/** @typedef {{query: Set<string>, matches: Map<string, number>, playing: string | null,
 *   chosen: string | null, hue: string}} Marks */
/** @typedef {{point: Point, x0: number, y0: number, a0: number, a1: number}} Dot */

const MOVE_MILLISECONDS = 750;
const CELLS = 48;
const MANY = 3000;
const REACH_PIXELS = 14;
const MARGIN_PIXELS = 34;
const FARTHEST = 0.5;
const NEAREST = 60;
const WHOLE = { x: 0, y: 0, width: 2, height: 2 };

/** Points with a camera; coordinates of points are -1..1, y up. */
export class Chart {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    /** @type {Dot[]} */
    this.dots = [];
    /** @type {Map<string, Dot>} */
    this.byId = new Map();
    /** @type {Dot[][]} */
    this.cells = [];
    this.camera = { x: 0, y: 0, zoom: 1 };
    this.boxes = [WHOLE, WHOLE];
    this.box = WHOLE;
    this.began = -Infinity;
    /** @type {Marks} */
    this.marks = { query: new Set(), matches: new Map(), playing: null, chosen: null, hue: "--drums" };
    this.pending = 0;
  }

  /** @param {Point[]} points move there from where they were; others appear or go */
  show(points) {
    const moment = performance.now();
    const share = this.share(moment);
    const old = this.byId;
    const dots = points.map((point) => {
      const was = old.get(point.id);
      const [x0, y0] = was ? this.place(was, share) : [point.x, point.y];
      return { point, x0, y0, a0: was ? 1 : 0, a1: 1 };
    });
    const there = new Set(points.map((point) => point.id));
    const leaving = this.dots
      .filter((dot) => dot.a1 && !there.has(dot.point.id))
      .map((dot) => ({ ...dot, x0: dot.point.x, y0: dot.point.y, a0: 1, a1: 0 }));
    this.byId = new Map(dots.map((dot) => [dot.point.id, dot]));
    this.dots = [...leaving, ...dots];
    this.cells = Array.from({ length: CELLS * CELLS }, () => []);
    for (const dot of dots) this.cells[this.cellOf(dot.point.x, dot.point.y)].push(dot);
    this.boxes = [old.size ? this.box : boxOf(points), boxOf(points)];
    this.began = calm() || !old.size ? -Infinity : moment;
    this.box = this.boxAt(moment);
    this.draw();
  }

  /** @param {number} x @param {number} y @returns {number} */
  cellOf(x, y) {
    const at = (/** @type {number} */ value) => Math.min(CELLS - 1, Math.max(0, Math.floor(((value + 1) / 2) * CELLS)));
    return at(y) * CELLS + at(x);
  }

  /** @param {number} moment @returns {number} how much of the way the points have gone, 0..1 */
  share(moment) {
    const gone = Math.min(1, (moment - this.began) / MOVE_MILLISECONDS);
    return gone < 0.5 ? 4 * gone ** 3 : 1 - (-2 * gone + 2) ** 3 / 2;
  }

  /** @param {number} moment @returns {typeof WHOLE} what is shown at zoom 1, on its way too */
  boxAt(moment) {
    const share = this.share(moment);
    const [from, to] = this.boxes;
    const mean = (/** @type {number} */ a, /** @type {number} */ b) => a + (b - a) * share;
    return { x: mean(from.x, to.x), y: mean(from.y, to.y), width: mean(from.width, to.width), height: mean(from.height, to.height) };
  }

  /** @param {Dot} dot @param {number} share @returns {[number, number]} */
  place(dot, share) {
    return [dot.x0 + (dot.point.x - dot.x0) * share, dot.y0 + (dot.point.y - dot.y0) * share];
  }

  /** @returns {number} pixels of one unit */
  scale() {
    const { clientWidth, clientHeight } = this.canvas;
    const fits = Math.min((clientWidth - 2 * MARGIN_PIXELS) / this.box.width, (clientHeight - 2 * MARGIN_PIXELS) / this.box.height);
    return Math.max(1, fits) * this.camera.zoom;
  }

  /** @param {number} x @param {number} y of a point @returns {[number, number]} pixels */
  toScreen(x, y) {
    const scale = this.scale();
    return [this.canvas.clientWidth / 2 + (x - this.camera.x - this.box.x) * scale, this.canvas.clientHeight / 2 - (y - this.camera.y - this.box.y) * scale];
  }

  /** @param {number} px @param {number} py @returns {[number, number]} a point's coordinates */
  toMap(px, py) {
    const scale = this.scale();
    return [(px - this.canvas.clientWidth / 2) / scale + this.camera.x + this.box.x, this.camera.y + this.box.y - (py - this.canvas.clientHeight / 2) / scale];
  }

  /** @param {number} px @param {number} py pixels @returns {Point | null} the nearest within reach */
  at(px, py) {
    const [x, y] = this.toMap(px, py);
    const reach = REACH_PIXELS / this.scale();
    const cell = (/** @type {number} */ value) => Math.min(CELLS - 1, Math.max(0, Math.floor(((value + 1) / 2) * CELLS)));
    let best = null;
    let least = reach;
    for (let row = cell(y - reach); row <= cell(y + reach); row += 1) {
      for (let column = cell(x - reach); column <= cell(x + reach); column += 1) {
        for (const { point } of this.cells[row * CELLS + column] ?? []) {
          const far = Math.hypot(point.x - x, point.y - y);
          if (far <= least) [best, least] = [point, far];
        }
      }
    }
    return best;
  }

  /**
   * @param {string | null} id
   * @param {number} dx direction, right
   * @param {number} dy direction, up
   * @returns {Point | null} the next point that way; the one nearest to the middle if id is null
   */
  next(id, dx, dy) {
    const from = id ? this.byId.get(id)?.point : null;
    let best = null;
    let least = Infinity;
    for (const { point } of this.byId.values()) {
      const [x, y] = [point.x - (from?.x ?? this.camera.x + this.box.x), point.y - (from?.y ?? this.camera.y + this.box.y)];
      const along = x * dx + y * dy;
      const across = Math.abs(x * dy - y * dx);
      const cost = from ? along + 2.5 * across : Math.hypot(x, y);
      if (point !== from && (!from || along > 1e-6) && cost < least) [best, least] = [point, cost];
    }
    return best;
  }

  /** @param {number} factor @param {number} [px] the pixel that stays where it is @param {number} [py] */
  zoom(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const [x, y] = this.toMap(px, py);
    this.camera.zoom = Math.min(NEAREST, Math.max(FARTHEST, this.camera.zoom * factor));
    const [nx, ny] = this.toMap(px, py);
    this.camera.x += x - nx;
    this.camera.y += y - ny;
    this.draw();
  }

  /** @param {number} dx @param {number} dy pixels */
  pan(dx, dy) {
    const keep = (/** @type {number} */ value) => Math.min(1.2, Math.max(-1.2, value));
    this.camera.x = keep(this.camera.x - dx / this.scale());
    this.camera.y = keep(this.camera.y + dy / this.scale());
    this.draw();
  }

  /** Show all points. */
  reset() {
    this.camera = { x: 0, y: 0, zoom: 1 };
    this.draw();
  }

  /** @param {Point} point bring it into view */
  reveal(point) {
    const [px, py] = this.toScreen(point.x, point.y);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (px < 30 || py < 30 || px > width - 30 || py > height - 30) [this.camera.x, this.camera.y] = [point.x - this.box.x, point.y - this.box.y];
    this.draw();
  }

  /** Draw at the next frame. */
  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame((moment) => {
      this.pending = 0;
      this.paint(moment);
      if (moment - this.began < MOVE_MILLISECONDS + 30) this.draw();
    });
  }

  /** @param {number} moment */
  paint(moment) {
    const { pen, width, height } = cleared(this.canvas);
    if (!width) return;
    const share = this.share(Math.max(moment, this.began));
    this.box = this.boxAt(Math.max(moment, this.began));
    const size = Math.max(1.6, Math.min(5, (this.dots.length > MANY ? 1.7 : 2.6) * this.camera.zoom ** 0.35));
    const fill = colour(this.marks.matches.size || this.marks.query.size ? "--dot" : this.marks.hue);
    const stamp = stampOf(size, fill);
    const dense = this.dots.length > MANY && size < 2.6; // squares, several times as fast as discs
    pen.fillStyle = fill;
    const { query, matches, playing, chosen, hue } = this.marks;
    const half = stamp.width / 2 / (window.devicePixelRatio || 1);
    const scale = this.scale();
    const [left, middle] = this.toScreen(0, 0);
    for (const dot of this.dots) {
      if (query.has(dot.point.id) || matches.has(dot.point.id)) continue;
      const px = left + (dot.x0 + (dot.point.x - dot.x0) * share) * scale;
      const py = middle - (dot.y0 + (dot.point.y - dot.y0) * share) * scale;
      if (px < -9 || py < -9 || px > width + 9 || py > height + 9) continue;
      pen.globalAlpha = 0.75 * (dot.a0 + (dot.a1 - dot.a0) * share);
      if (dense) pen.fillRect(Math.round(px) - 1, Math.round(py) - 1, 3, 3);
      else pen.drawImage(stamp, px - half, py - half, 2 * half, 2 * half);
    }
    pen.globalAlpha = 1;
    for (const id of [...matches.keys()].reverse()) this.disc(pen, id, share, size + 2.2, colour(hue));
    for (const id of query) this.target(pen, id, share, size);
    for (const id of new Set([playing, chosen])) this.ring(pen, id, share, size + 6, colour("--ink"));
  }

  /** @param {CanvasRenderingContext2D} pen @param {string} id @param {number} share @param {number} radius @param {string} fill */
  disc(pen, id, share, radius, fill) {
    const dot = this.byId.get(id);
    if (!dot) return;
    const [px, py] = this.toScreen(...this.place(dot, share));
    pen.beginPath();
    pen.arc(px, py, radius, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    pen.fill();
    pen.lineWidth = 1.5;
    pen.strokeStyle = colour("--paper");
    pen.stroke();
  }

  /** @param {CanvasRenderingContext2D} pen @param {string | null} id @param {number} share @param {number} radius @param {string} ink */
  ring(pen, id, share, radius, ink) {
    const dot = id ? this.byId.get(id) : null;
    if (!dot) return;
    const [px, py] = this.toScreen(...this.place(dot, share));
    pen.beginPath();
    pen.arc(px, py, radius, 0, 2 * Math.PI);
    pen.lineWidth = 2;
    pen.strokeStyle = ink;
    pen.stroke();
  }

  /** @param {CanvasRenderingContext2D} pen @param {string} id @param {number} share @param {number} size */
  target(pen, id, share, size) {
    const dot = this.byId.get(id);
    if (!dot) return;
    this.disc(pen, id, share, size + 3.5, colour("--ink"));
    this.ring(pen, id, share, size + 8, colour("--ink"));
    const [px, py] = this.toScreen(...this.place(dot, share));
    pen.font = "600 13px Inter, system-ui, sans-serif";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = colour("--paper");
    pen.fillStyle = colour("--ink");
    const right = px + size + 14 + pen.measureText(dot.point.title).width > this.canvas.clientWidth;
    pen.textAlign = right ? "right" : "left";
    const x = right ? px - size - 14 : px + size + 14;
    pen.strokeText(dot.point.title, x, py + 4.5);
    pen.fillText(dot.point.title, x, py + 4.5);
    pen.textAlign = "left";
  }
}

/** @param {Point[]} points @returns {typeof WHOLE} the box around them */
function boxOf(points) {
  if (points.length < 2) return WHOLE;
  let [left, right, low, high] = [1, -1, 1, -1];
  for (const { x, y } of points) {
    [left, right, low, high] = [Math.min(left, x), Math.max(right, x), Math.min(low, y), Math.max(high, y)];
  }
  return { x: (left + right) / 2, y: (low + high) / 2, width: Math.max(0.1, right - left), height: Math.max(0.1, high - low) };
}

/** @param {number} radius @param {string} fill @returns {HTMLCanvasElement} one dot, ready to be copied */
function stampOf(radius, fill) {
  const ratio = window.devicePixelRatio || 1;
  const made = document.createElement("canvas");
  made.width = Math.ceil((2 * radius + 2) * ratio);
  made.height = made.width;
  const pen = /** @type {CanvasRenderingContext2D} */ (made.getContext("2d"));
  pen.beginPath();
  pen.arc(made.width / 2, made.width / 2, radius * ratio, 0, 2 * Math.PI);
  pen.fillStyle = fill;
  pen.fill();
  return made;
}
