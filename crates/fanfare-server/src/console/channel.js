// One channel: what the hub knows of it, its events, and what an operator can do to it.

import { ask, urlOfChannel } from "./api.js";
import { Chart } from "./chart.js";
import { callOff, confirm } from "./dialog.js";
import { byId, setText, showFacts, showGauges, showResult, showText } from "./dom.js";
import { ago, alive, bytes, count, plural, rate, span } from "./format.js";
import * as tail from "./tail.js";
import { WINDOW_MS } from "./history.js";

const REFRESH_MS = 1_000;

const chart = new Chart({
  title: "Events in", series: [{ key: "rate" }], format: rate,
  hole: 4 * REFRESH_MS,
});
byId("channel-chart").append(chart.element);

let channel = "";
let samples = [];
let timer = 0;
let request = null;
let hubTime = null; // as in channels.js

/** Opens the page of a channel. */
export function show(_link, name) {
  if (name === channel) return;
  hide();
  channel = name;
  samples = [];
  setText(byId("channel-title"), name);
  for (const id of ["publish-result", "end-result"]) setText(byId(id), "");
  showText(byId("channel-problem"), "");
  byId("channel-missing").hidden = byId("channel-known").hidden = true;
  byId("channel-state").hidden = true;
  byId("tail").replaceChildren();
  load();
}

export function hide() {
  channel = "";
  request?.abort();
  clearTimeout(timer);
  tail.end();
  callOff();
}

export function update(stats) {
  hubTime = stats.time_ms;
}

async function load() {
  clearTimeout(timer);
  request?.abort();
  const { signal } = request = new AbortController();
  let [info, problem] = [null, null];
  try {
    info = await ask(urlOfChannel(channel), { signal });
  } catch (error) {
    problem = error;
  }
  if (signal.aborted) return;
  timer = setTimeout(refresh, REFRESH_MS);
  if (info) showInfo(info);
  else if (problem.status === 404) showMissing();
  else showText(byId("channel-problem"), problem.message);
  byId("channel-known").hidden = samples.length === 0;
  byId("channel-missing").hidden = problem?.status !== 404;
}

function refresh() {
  if (document.hidden) timer = setTimeout(refresh, REFRESH_MS);
  else load();
}

function showMissing() {
  showText(byId("channel-problem"), "");
  showChip("missing", "not there");
  byId("channel-close").disabled = byId("channel-delete").disabled = true;
  samples = [];
  tail.end();
}

function showInfo(info) {
  // A tail subscribes, and subscribing makes a channel: so it begins only where there is one.
  if (!tail.isOf(channel, info.last_id)) tail.begin(channel, info.last_id);
  const { retention } = info;
  const now = hubTime ?? Date.now();
  showText(byId("channel-problem"), "");
  showChip(info.closed ? "closed" : "live", info.closed ? `closed: ${info.closed}` : alive(info));
  byId("channel-close").disabled = Boolean(info.closed);
  byId("channel-delete").disabled = false;
  const { ring_events_max: eventsMax, ring_bytes_max: bytesMax } = retention;
  // A full ring is how a ring is: it holds the newest.
  showGauges(byId("channel-ring"), [
    ["Ring events", info.ring_events / eventsMax,
      `${count(info.ring_events)} of ${count(eventsMax)}`, true],
    ["Ring bytes", info.ring_bytes / bytesMax,
      `${bytes(info.ring_bytes)} of ${bytes(bytesMax)}`, true],
  ]);
  showFacts(byId("channel-facts"), [
    ["Subscribers", count(info.subscribers)],
    ["Open publishes", count(info.publishing)],
    ["Events in all", count(info.events_total)],
    ["Last event", ago(info.last_published_at, now)],
    ["Keeps events", span(retention.ring_age_ms)],
    ["Kept once closed", span(retention.closed_retention_ms)],
    ["Slow subscribers", retention.slow_policy],
    ["First id", info.first_id ?? "–"],
    ["Last id", info.last_id ?? "–"],
  ]);
  samples.push({ at: now, rate: info.rate_per_s });
  while (samples[0].at < now - WINDOW_MS) samples.shift();
  setText(chart.value, rate(info.rate_per_s));
  chart.draw(samples, now);
}

function showChip(state, text) {
  const chip = byId("channel-state");
  chip.dataset.state = state;
  showText(chip, text);
}

async function publish(submitted) {
  submitted.preventDefault();
  const url = urlOfChannel(channel, { event: byId("publish-type").value });
  await act(byId("publish-result"), async () => {
    const body = byId("publish-data").value;
    const { id, subscribers } = await ask(url, { method: "POST", body });
    return `Published ${id} to ${plural(subscribers, "subscriber")}.`;
  });
}

async function close() {
  const name = channel;
  const reason = await confirm({
    title: `Close ${name}?`,
    text: "It takes no more events, and its subscribers are told the end once they have read all.",
    action: "Close the channel",
    hasReasons: true,
  });
  if (!reason) return;
  await act(byId("end-result"), async () => {
    await ask(urlOfChannel(name, { close: reason }), { method: "POST" });
    return `Closed: ${reason}.`;
  });
}

async function remove() {
  const name = channel;
  const isSure = await confirm({
    title: `Delete ${name}?`,
    text: "Its events are dropped now, and its subscribers are told that it was deleted.",
    action: "Delete the channel",
  });
  if (!isSure) return;
  await act(byId("end-result"), async () => {
    await ask(urlOfChannel(name), { method: "DELETE" });
    return "Deleted.";
  });
}

// Does something to the channel, says how it went, and looks at the channel again.
async function act(output, action) {
  const name = channel;
  let [text, isGood] = ["", true];
  try {
    text = await action();
  } catch (error) {
    [text, isGood] = [error.message, false];
  }
  if (channel !== name) return;
  showResult(output, text, isGood);
  load();
}

byId("publish").addEventListener("submit", publish);
byId("publish-data").addEventListener("keydown", (pressed) => {
  const isEnter = pressed.key === "Enter" && (pressed.ctrlKey || pressed.metaKey);
  if (isEnter) byId("publish").requestSubmit();
});
byId("channel-close").addEventListener("click", close);
byId("channel-delete").addEventListener("click", remove);
