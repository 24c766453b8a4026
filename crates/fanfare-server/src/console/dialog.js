// The one dialog: nothing that cannot be undone happens without it.

import { byId, setText } from "./dom.js";

let answer = null;

/** Asks for a confirmation. Gives the chosen reason, or "yes" where there is none to choose, or
    null if it was called off. The focus goes back to where it was. */
export function confirm({ title, text, action, hasReasons = false }) {
  setText(byId("dialog-title"), title);
  setText(byId("dialog-text"), text);
  setText(byId("dialog-confirm"), action);
  byId("dialog-reasons").hidden = !hasReasons;
  byId("dialog-reason").selectedIndex = 0;
  const dialog = byId("dialog");
  dialog.returnValue = "";
  dialog.showModal();
  byId("dialog-cancel").focus();
  return new Promise((resolve) => {
    answer = () => dialog.returnValue !== "confirm" ? resolve(null)
      : resolve(hasReasons ? byId("dialog-reason").value : "yes");
  });
}

/** Closes it as if it had been called off: its view was left. */
export function callOff() {
  byId("dialog").close("cancel");
}

byId("dialog").addEventListener("close", () => {
  answer?.();
  answer = null;
});
