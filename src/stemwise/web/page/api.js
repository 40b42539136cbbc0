// @ts-check
/** The server's answers, and its refusals as one kind of error. Everything lies under /api/v1/. */

const ROOT = "/api/v1/";

/** A refusal: what is wrong and what to do next, in words that can be shown. */
export class ApiError extends Error {
  /**
   * @param {string} code such as "not_found"; "gone" if no server answers
   * @param {string} message
   * @param {string} [hint]
   * @param {number} [status]
   */
  constructor(code, message, hint = "", status = 0) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.status = status;
  }
}

/** @type {() => void} */
let whenRefused = () => {};

/** @param {() => void} listener called when the server asks for a token */
export function onRefused(listener) {
  whenRefused = listener;
}

/**
 * Ask the server; every other function here goes through this one.
 *
 * @param {string} path below /api/v1/
 * @param {{method?: string, body?: any, signal?: AbortSignal, headers?: Record<string, string>}} [how]
 * @returns {Promise<Response>}
 * @throws {ApiError} it refuses, or is not there; an aborted request throws its AbortError
 */
async function ask(path, { method = "GET", body, signal, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      signal,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw gone();
  }
  if (response.ok) return response;
  const error = refusal(response.status, await response.text());
  if (error.code === "unauthorized") whenRefused();
  throw error;
}

/** @returns {ApiError} for a server that does not answer */
function gone() {
  return new ApiError(
    "gone",
    "The server does not answer.",
    "Is stemwise serve still running? Start it again; this page goes on where it was.",
  );
}

/**
 * @param {number} status
 * @param {string} text the body of the answer
 * @returns {ApiError}
 */
function refusal(status, text) {
  try {
    const { code, message, hint } = JSON.parse(text);
    return new ApiError(String(code), String(message), String(hint || ""), status);
  } catch {
    return new ApiError("internal", `The server answered with status ${status}.`, "", status);
  }
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
const get = async (path, signal) => (await ask(path, { signal })).json();

/** @param {string} path @param {any} body @param {AbortSignal} [signal] @returns {Promise<any>} */
const post = async (path, body, signal) => (await ask(path, { method: "POST", body, signal })).json();

export const health = () => get("health");
/** @param {string} id */
export const track = (id) => get(`tracks/${encodeURIComponent(id)}`);
/** @param {string} q @param {number} limit @param {number} offset @param {AbortSignal} [signal] */
export const tracks = (q, limit, offset, signal) =>
  get(`tracks?${new URLSearchParams({ q, limit: String(limit), offset: String(offset) })}`, signal);
/** @param {string} id @param {number} points @param {AbortSignal} [signal] */
export const waveform = (id, points, signal) =>
  get(`tracks/${encodeURIComponent(id)}/waveform?points=${points}`, signal);
/** @param {any} question @param {AbortSignal} signal */
export const search = (question, signal) => post("search", question, signal);
/** @param {string} part @param {AbortSignal} signal */
export const map = (part, signal) => get(`map?part=${encodeURIComponent(part)}`, signal);
/** @param {boolean} retry */
export const startIndex = (retry) => post("jobs", { kind: "index", retry });
export const jobs = () => get("jobs");
/** @param {string} id */
export const job = (id) => get(`jobs/${encodeURIComponent(id)}`);
/** @param {string} id */
export const cancelJob = async (id) => {
  await ask(`jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
};

/**
 * @param {string} name
 * @param {string[]} ids
 * @param {boolean} save into the server's folder
 * @returns {Promise<Blob | {name: string, tracks: number}>} the playlist, or what was saved
 */
export async function playlist(name, ids, save) {
  const response = await ask("playlists", { method: "POST", body: { name, tracks: ids, save } });
  return save ? response.json() : response.blob();
}

/** @param {string} token @returns {Promise<void>} leaves a cookie, so that audio can play too */
export async function openSession(token) {
  await ask("session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
}

/**
 * @param {string} id
 * @param {string | null} [part] this part alone
 * @returns {string} the address of the music
 */
export function audioAddress(id, part = null) {
  const query = part ? `?part=${encodeURIComponent(part)}` : "";
  return `${ROOT}tracks/${encodeURIComponent(id)}/audio${query}`;
}

/**
 * Send a file. `fetch` cannot tell how far an upload is, hence the older request.
 *
 * @param {File} file
 * @param {(share: number) => void} progress called with 0..1
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
export function upload(file, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${ROOT}uploads?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(1, event.total));
    request.onload = () => {
      if (request.status === 201 || request.status === 200) {
        resolve(JSON.parse(request.responseText));
        return;
      }
      const error = refusal(request.status, request.responseText);
      if (error.code === "unauthorized") whenRefused();
      reject(error);
    };
    request.onerror = () => reject(gone());
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}
