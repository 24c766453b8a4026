// The live tail of one channel: the newest events, shown as text only.

import { byId, element, setText } from "./dom.js";
import { clock, count, plural } from "./format.js";
import { Subscription } from "./stream.js";
import { urlOf } from "./api.js";

const ROWS_MAX = 200;
// Events before the first live one.
const KEPT_EVENTS = 20;
// Characters of one event that are shown; all of them would be too many in 200 rows.
const DATA_CHARS_MAX = 4_096;

const GAP_REASONS = {
  evicted: "the hub no longer keeps them",
  epoch: "the hub was started anew and its earlier events are gone",
  lagged: "this page was too slow for the channel",
};

let channel = "";
let subscription = null;
let lastId = ""; // where a paused tail goes on
let replayedSeq = 0; // up to this the channel had its events before the tail began
let paused = false;
let ended = "";
let state = "";
let received = 0;
let fresh = []; // rows for the next frame, newest first: a fast channel redraws once a frame

/** Begins the tail of a channel that has events up to the id `newest`. */
export function begin(name, newest) {
  end();
  [channel, lastId, replayedSeq, paused, ended, received] = [name, "", seqOf(newest), false, "", 0];
  byId("tail").replaceChildren();
  update();
}

/** Ends it; what is shown stays. */
export function end() {
  subscription?.close();
  subscription = null;
  channel = "";
  fresh = [];
  showState();
}

/** Whether this is the tail of the channel, which has events up to the id `newest`. One that has
    ended is not if the channel went on: then it was deleted, and has begun anew. */
export function isOf(name, newest) {
  const goesOn = newest && (epochOf(lastId) !== epochOf(newest) || seqOf(lastId) < seqOf(newest));
  return channel === name && !(ended && goesOn);
}

const seqOf = (id) => Number(id?.slice(id.lastIndexOf("-") + 1) ?? 0);
const epochOf = (id) => id.slice(0, id.lastIndexOf("-"));

// The stream is open while it should be: not paused, and not in a tab that is hidden.
function update() {
  const wanted = channel && !paused && !ended && !document.hidden;
  if (wanted && !subscription) open();
  if (!wanted && subscription) {
    lastId = subscription.lastId;
    subscription.close();
    subscription = null;
  }
  showState();
}

function open() {
  state = "connecting";
  const told = (act) => (...told) => {
    if (mine !== subscription) return;
    act(...told);
    showState();
  };
  const url = urlOf("events", { channel, last: KEPT_EVENTS });
  const mine = subscription = new Subscription(url, lastId, {
    onOpen: told(() => { state = "live"; }),
    onCut: told(() => { state = "connecting again"; }),
    onEnd: told((why) => {
      ended = why;
      lastId = mine.lastId;
      subscription = null;
    }),
    onEvents: told((events) => events.forEach(add)),
  });
}

function add({ id, type, data }) {
  if (type === "fanfare.open") return;
  const own = Object.hasOwn(control, type) ? control[type](JSON.parse(data)) : null;
  if (!own) received += 1;
  // After a gap the ids may be of another epoch, and begin small again.
  if (type === "fanfare.gap") replayedSeq = 0;
  const isReplayed = !own && seqOf(id) <= replayedSeq;
  const row = { id, type, data, own, at: isReplayed ? null : Date.now() };
  if (fresh.unshift(row) === 1) requestAnimationFrame(showRows);
  if (fresh.length > ROWS_MAX) fresh.pop();
}

// What the hub says about the stream itself, in words.
const control = {
  "fanfare.gap": ({ reason }) => `Events are missing here: ${GAP_REASONS[reason] ?? reason}.`,
  "fanfare.end": ({ reason }) => `The channel was closed: ${reason}.`,
  "fanfare.reconnect": ({ reason }) => `The hub asks to connect again: ${reason}.`,
};

function showRows() {
  const list = byId("tail");
  list.prepend(...fresh.splice(0).map(rowOf));
  while (list.children.length > ROWS_MAX) list.lastChild.remove();
}

function rowOf({ id, type, data, own, at }) {
  const shownData = own ?? (data.length > DATA_CHARS_MAX
    ? `${data.slice(0, DATA_CHARS_MAX)}… (${count(data.length)} characters)` : data);
  return element("li", { "data-kind": own ? type.replace("fanfare.", "") : "event" },
    element("span", { class: "type" }, own ? type.replace("fanfare.", "") : type),
    element("code", { class: "id" }, id ?? ""),
    element("time", {}, at ? clock(new Date(at)) : "kept"),
    element("pre", { class: "data" }, shownData));
}

function showState() {
  const name = !channel ? "" : ended || (subscription ? state : "paused");
  setText(byId("tail-state"), name);
  setText(byId("tail-count"), channel && received ? plural(received, "event") : "");
  byId("tail-state").dataset.state = name;
  setText(byId("tail-pause"), paused ? "Resume" : "Pause");
  byId("tail-pause").disabled = !channel || Boolean(ended);
}

byId("tail-pause").addEventListener("click", () => {
  paused = !paused;
  update();
});
document.addEventListener("visibilitychange", update);
