// @ts-check
/** The five parts in their order, what the page calls them, and ready-made mixes of them. */

/** @typedef {"drums" | "bass" | "piano" | "guitar" | "residuals"} Part */
/** @typedef {Record<Part, number>} Weights every part, 0 = off, 1 = full */

/** @type {Part[]} */
export const PARTS = ["drums", "bass", "piano", "guitar", "residuals"];

/** A part sounds in a segment if its presence is at least this, as in the library. */
export const PRESENCE_THRESHOLD = 0.5;

/** @type {Record<Part, string>} */
export const LABELS = {
  drums: "Drums",
  bass: "Bass",
  piano: "Piano",
  guitar: "Guitar",
  residuals: "The rest",
};

/** One or two letters for places where a word does not fit. @type {Record<Part, string>} */
export const LETTERS = { drums: "D", bass: "B", piano: "P", guitar: "G", residuals: "R" };

/** @type {{name: string, parts: Part[]}[]} */
export const PRESETS = [
  { name: "All", parts: PARTS },
  { name: "Drums only", parts: ["drums"] },
  { name: "Rhythm", parts: ["drums", "bass"] },
  { name: "Harmony", parts: ["piano", "guitar"] },
  { name: "Everything but drums", parts: ["bass", "piano", "guitar", "residuals"] },
];

/**
 * @param {Part[]} parts
 * @returns {Weights} 1 for these parts and 0 for the others
 */
export function only(parts) {
  return /** @type {Weights} */ (
    Object.fromEntries(PARTS.map((part) => [part, parts.includes(part) ? 1 : 0]))
  );
}

/**
 * @param {Weights} first
 * @param {Weights} second
 */
export function sameWeights(first, second) {
  return PARTS.every((part) => first[part] === second[part]);
}

/**
 * @param {Weights} weights
 * @returns {string} such as "drums and bass", "all parts", "nothing"
 */
export function inWords(weights) {
  const on = PARTS.filter((part) => weights[part] > 0);
  if (on.length === PARTS.length) return "all parts";
  const names = on.map((part) => LABELS[part].toLowerCase());
  return names.length ? list(names) : "no part";
}

/** @param {string[]} names @returns {string} "a", "a and b", "a, b and c" */
export function list(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}
