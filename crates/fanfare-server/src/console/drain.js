// The drain: begun, watched and taken back.

import { ask, urlOf } from "./api.js";
import { callOff, confirm } from "./dialog.js";
import { byId, setText, showFacts, showResult } from "./dom.js";
import { count, plural, span } from "./format.js";

const PHASES = ["delay", "publishes", "subscribers", "done"];
const PHASE_WORDS = {
  none: "no drain", delay: "waiting", publishes: "ending publishes",
  subscribers: "sending subscribers away", done: "drained",
};

export function show() {}

export const hide = callOff;

export function update({ state, drain }) {
  const { phase, left_ms: left, departed, subscribers_left: remaining } = drain;
  const chip = byId("drain-state");
  chip.dataset.state = state;
  setText(chip, state === "running" ? "running, no drain" : PHASE_WORDS[phase] ?? state);
  const reached = PHASES.indexOf(phase);
  for (const [at, item] of [...byId("drain-phases").children].entries()) {
    item.dataset.is = at < reached || phase === "done" ? "past" : at === reached ? "now" : "ahead";
    if (at === reached) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  const isOn = phase !== "none";
  showFacts(byId("drain-facts"), [
    ["Subscribers left", count(remaining)],
    ["Sent away", count(departed)],
    ["Time left", isOn ? span(left) : "–"],
  ]);
  const all = departed + remaining;
  byId("drain-progress").value = !isOn ? 0 : all ? departed / all : 1;
  byId("drain-start").disabled = isOn;
  byId("drain-back").disabled = !isOn;
}

/** The banner on all other views, while there is a drain. */
export function showBanner({ drain }, isHere) {
  const { phase, left_ms: left, subscribers_left: remaining } = drain;
  byId("banner").hidden = isHere || phase === "none";
  if (phase === "none") return setText(byId("banner-text"), "");
  setText(byId("banner-text"), phase === "done" ? "The hub has drained."
    : `The hub is draining: ${PHASE_WORDS[phase] ?? phase}.`);
  setText(byId("banner-numbers"), phase === "done" ? ""
    : `${plural(remaining, "subscriber")} left, ${span(left)} left.`);
}

async function start() {
  const isSure = await confirm({
    title: "Start a drain?",
    text: "The readiness probe fails at once, new publishes are refused, and every subscriber is " +
      "sent away over the drain period. It can be taken back here.",
    action: "Start the drain",
  });
  if (isSure) await act("POST", "The drain has begun.");
}

async function act(method, text) {
  const output = byId("drain-result");
  try {
    await ask(urlOf("drain"), { method });
    showResult(output, text, true);
  } catch (error) {
    showResult(output, error.message, false);
  }
}

byId("drain-start").addEventListener("click", start);
byId("drain-back").addEventListener("click", () => act("DELETE", "The drain is taken back."));
