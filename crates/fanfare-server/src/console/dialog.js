// The one dialog: nothing that cannot be undone happens without it.

import { byId, setText } from "./dom.js";

const dialog = byId("dialog");
let answer = null;

/** Asks for a confirmation. Gives the chosen reason, or "yes" where there is none to choose, or
    null if it was called off. The focus goes back to where it was. */
export function confirm({ title, text, action, hasReasons = false }) {
  setText(byId("dialog-title"), title);
  setText(byId("dialog-text"), text);
  setText(byId("dialog-confirm"), action);
  byId("dialog-reasons").hidden = !hasReasons;
  byId("dialog-reason").selectedIndex = 0;
  dialog.showModal();
  byId("dialog-cancel").focus();
  return new Promise((resolve) => {
    answer = (isSure) => resolve(isSure ? hasReasons ? byId("dialog-reason").value : "yes" : null);
  });
}

/** Closes it as if it had been called off: its view was left. */
export function callOff() {
  settle(false);
  dialog.close();
}

// The dialog's own "close" comes later, maybe when it asks the next question already.
function settle(isSure) {
  answer?.(isSure);
  answer = null;
}

byId("dialog-form").addEventListener("submit", ({ submitter }) =>
  settle(submitter === byId("dialog-confirm")));
dialog.addEventListener("cancel", () => settle(false));
