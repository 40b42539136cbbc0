// @ts-check
/** The token: taken from the address once, else asked for. It is kept in a cookie by the server. */

import * as api from "./api.js";
import { takeToken } from "./address.js";
import { byId } from "./element.js";

/** @param {() => void} onOpen called when the server lets the page in */
export function startGate(onOpen) {
  const dialog = byId("gate");
  const wrong = byId("gate-wrong");
  api.onRefused(() => {
    if (!dialog.open) dialog.showModal();
  });
  dialog.addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault());
  byId("gate-form").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    wrong.hidden = true;
    try {
      await api.openSession(byId("gate-token").value.trim());
      byId("gate-token").value = "";
      dialog.close();
      onOpen();
    } catch (error) {
      const { code, message, hint } = /** @type {any} */ (error);
      wrong.textContent = code === "unauthorized" ? "That is not the token of this server." : `${message} ${hint ?? ""}`;
      wrong.hidden = false;
      byId("gate-token").select();
    }
  });
}

/** Use the token of the address, if there is one. */
export async function useToken() {
  const token = takeToken();
  if (!token) return;
  try {
    await api.openSession(token);
  } catch (error) {
    const { code } = /** @type {any} */ (error);
    if (code !== "unauthorized") throw error;
    byId("gate-wrong").textContent = "The token in the link is not that of this server.";
    byId("gate-wrong").hidden = false;
  }
}
