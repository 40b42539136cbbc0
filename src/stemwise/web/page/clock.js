// @ts-check
/** Times as musicians write them: 1:02. */

/**
 * @param {number} seconds
 * @returns {string} m:ss, or h:mm:ss from an hour on
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * @param {string} text 75, 1:15 or 1:02:03
 * @returns {number | null} seconds; null if it is no time
 */
export function parseClock(text) {
  const fields = text.trim().split(":");
  if (!text.trim() || fields.length > 3 || !fields.every((f) => /^\d+(\.\d+)?$/.test(f))) {
    return null;
  }
  return fields.reduce((total, field) => total * 60 + Number(field), 0);
}

/** @param {number} seconds @returns {string} "1 minute 2 seconds", for screen readers */
export function spoken(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
  const words = [];
  if (minutes) words.push(`${minutes} ${minutes === 1 ? "minute" : "minutes"}`);
  if (rest || !minutes) words.push(`${rest} ${rest === 1 ? "second" : "seconds"}`);
  return words.join(" ");
}
