// @ts-check
/** Elements of the page. Text is always set as text: nothing here or elsewhere parses HTML. */

/**
 * Make an element.
 *
 * @param {string} tag a name with classes, such as "button.quiet"
 * @param {Record<string, any>} [properties] `on…` are listeners, `data` is the dataset, null and
 *   false leave an attribute out
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any} the element
 */
export function element(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(made.dataset, value);
    else if (key === "value") /** @type {any} */ (made).value = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child || child === "")));
  return made;
}

/**
 * @param {string} id
 * @returns {any} the element of index.html with this id
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element #${id}`);
  return found;
}

const SHAPES = {
  play: "M5 3.2v9.6L13 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  close: "M4 4l8 8M12 4l-8 8",
  more: "M3.4 8h.01M8 8h.01M12.6 8h.01",
  add: "M8 3v10M3 8h10",
  less: "M3 8h10",
  near: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3L13.6 13.6",
};

/**
 * @param {keyof typeof SHAPES} name
 * @returns {SVGSVGElement} a drawing for a button; the button carries the words
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 16 16");
  drawing.setAttribute("aria-hidden", "true");
  drawing.setAttribute("class", name === "play" || name === "pause" ? "icon full" : "icon");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name]);
  drawing.append(path);
  return drawing;
}

/**
 * Wait until calls stop coming before the last one is made.
 *
 * @template {any[]} A
 * @param {(...given: A) => void} call
 * @param {number} milliseconds
 * @returns {(...given: A) => void}
 */
export function debounced(call, milliseconds) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), milliseconds);
  };
}

/** @returns {boolean} whether the reader wants no movement */
export function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/**
 * Bring a canvas to the size it is shown at, in device pixels.
 *
 * @param {HTMLCanvasElement} canvas
 * @returns {{pen: CanvasRenderingContext2D, width: number, height: number}} in CSS pixels, cleared
 */
export function cleared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

/** @param {string} name of a custom property, such as "--ink" @returns {string} its colour now */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
