// The hub's statistics, which it sends once a second as Server-Sent Events.
//
// The stream is closed while the tab is hidden: a browser opens at most six HTTP/1.1 connections
// to a host, over all tabs, and a seventh open stream would just hang.

import { ask, urlOf } from "./api.js";

// The hub is asked for what it still has of the time that the charts show.
const KEPT_EVENTS = 300;
// So many seconds without an event and the connection is taken for dead.
const SILENCE_MS_MAX = 8_000;
const RETRY_MS = 2_000;
const AWAY_MS_MAX = 90_000;

let source = null;
let watchdog = 0;
let sentAway = ""; // why the hub ended the stream by itself
let told = { onStats() {}, onState() {} };

/** Begins to follow the hub. `onState` is told "connecting", "live", "paused" or "refused". */
export function follow(listener) {
  told = listener;
  document.addEventListener("visibilitychange", update);
  addEventListener("pagehide", close);
  addEventListener("pageshow", update);
  update();
}

function update() {
  if (document.hidden) {
    close();
    told.onState("paused");
  } else if (!source) {
    open();
  }
}

function open() {
  close();
  told.onState("connecting");
  source = new EventSource(urlOf("stats", { last: KEPT_EVENTS }));
  source.addEventListener("message", receive);
  source.addEventListener("fanfare.reconnect", leave);
  source.addEventListener("error", failed);
  watch(SILENCE_MS_MAX);
}

function close() {
  clearTimeout(watchdog);
  source?.close();
  source = null;
}

// Begins anew if nothing comes for so long.
function watch(ms) {
  clearTimeout(watchdog);
  watchdog = setTimeout(open, ms);
}

function receive({ data }) {
  watch(SILENCE_MS_MAX);
  sentAway = "";
  told.onState("live");
  told.onStats(JSON.parse(data));
}

function leave({ data }) {
  const isFull = JSON.parse(data).reason === "overload";
  sentAway = isFull ? "operators have too many streams open" : "the hub ends";
  watch(AWAY_MS_MAX); // it has said when to come back
}

// EventSource comes back by itself after a cut. After an error status it gives up and cannot say
// why, so the page asks for words and tries again.
async function failed() {
  if (!source) return;
  if (source.readyState !== EventSource.CLOSED) {
    return told.onState(sentAway ? "refused" : "connecting", sentAway);
  }
  const mine = source;
  watch(RETRY_MS);
  told.onState("connecting");
  await ask(urlOf("stats")).catch((error) => {
    if (source === mine) told.onState("refused", error.message);
  });
}
