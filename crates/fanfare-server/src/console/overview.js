// The overview: what flows through the hub now, and what it has.

import { Chart, binary } from "./chart.js";
import { byId, element, keepRows, setText, showFacts, showGauges } from "./dom.js";
import { bytes, count, millis, percent, rate, short, span } from "./format.js";

const bytesRate = (number) => rate(number, bytes);
const sum = (numbers) => Object.values(numbers).reduce((a, b) => a + b, 0);

const charts = {
  subscribers: new Chart({
    title: "Subscribers", series: [{ key: "subscribers" }], format: short,
  }),
  eventsIn: new Chart({ title: "Events in", series: [{ key: "eventsIn" }], format: rate }),
  eventsOut: new Chart({ title: "Events out", series: [{ key: "eventsOut" }], format: rate }),
  delivery: new Chart({
    title: "Delivery",
    series: [{ key: "p99", name: "p99" }, { key: "p90", name: "p90" }, { key: "p50", name: "p50" }],
    format: millis,
  }),
  memory: new Chart({
    title: "Memory", series: [{ key: "memory" }], format: bytes, steps: binary,
  }),
  bytesOut: new Chart({
    title: "Bytes out", series: [{ key: "bytesOut" }], format: bytesRate, steps: binary,
  }),
};
byId("charts").append(...Object.values(charts).map((chart) => chart.element));

export function show() {}

export function hide() {}

export function update(stats, { samples }) {
  const newest = samples.at(-1);
  if (!newest) return;
  const { subscribers, delivery, memory } = stats;
  setText(byId("identity"),
    `version ${stats.version} · up ${span(stats.uptime_ms)} · ${stats.state}`);

  say(charts.subscribers, count(newest.subscribers),
    `HTTP/1 ${count(subscribers.http1)} · HTTP/2 ${count(subscribers.http2)} · ` +
    `${count(subscribers.blocked)} blocked`);
  say(charts.eventsIn, rate(newest.eventsIn),
    `publish p50 ${millis(stats.publish.p50_ms)} · p99 ${millis(stats.publish.p99_ms)}`);
  say(charts.eventsOut, rate(newest.eventsOut),
    `${perEvent(newest.eventsOut, newest.eventsIn)} · ${channels(stats.channels.live)}`);
  say(charts.delivery, `p99 ${millis(delivery.p99_ms)}`, "");
  keepRows(charts.delivery.note, charts.delivery.series,
    () => element("span", { class: "key" }),
    (key, { key: name }) => {
      key.dataset.series = name;
      setText(key, `${name} ${millis(delivery[`${name}_ms`])}`);
    });
  say(charts.memory, bytes(memory.resident_bytes), memory.budget_bytes
    ? `${percent(memory.resident_bytes / memory.budget_bytes)} of the budget of ${
      bytes(memory.budget_bytes)}`
    : "no budget");
  say(charts.bytesOut, bytesRate(newest.bytesOut), `${bytes(stats.bytes_sent_total)} in all`);
  for (const chart of Object.values(charts)) {
    chart.draw(samples, newest.at, chart === charts.memory ? memory.budget_bytes : null);
  }
  showShares(memory.shares);
  showTotals(stats);
  showProcess(stats, newest);
}

function say(chart, value, note) {
  setText(chart.value, value);
  if (note) setText(chart.note, note);
}

const channels = (number) => `${count(number)} channel${number === 1 ? "" : "s"}`;
const perEvent = (out, into) => into > 0 ? `${short(out / into)} for each in` : "nothing comes in";

function showShares(shares) {
  showGauges(byId("shares"), shares.map(({ share, used_bytes: used, max_bytes: max }) =>
    [share, max ? used / max : null, max ? `${bytes(used)} of ${bytes(max)}` : bytes(used)]));
}

function showTotals(stats) {
  const parts = (totals) => Object.entries(totals).filter(([, total]) => total)
    .map(([name, total]) => `${name} ${short(total)}`).join(" · ");
  const totals = [
    ["Events published", stats.events_published_total, bytes(stats.bytes_published_total)],
    ["Events delivered", stats.events_delivered_total, bytes(stats.bytes_sent_total)],
    ["Writes with events", stats.writes_total, stats.writes_total
      ? `${short(stats.events_delivered_total / stats.writes_total)} each` : ""],
    ["Subscriptions begun", sum(stats.replays_total), parts(stats.replays_total)],
    ["Gaps", sum(stats.gaps_total), parts(stats.gaps_total)],
    ["Disconnects", sum(stats.disconnects_total), parts(stats.disconnects_total)],
  ];
  const make = () => element("tr", {}, element("th", { scope: "row" }),
    element("td", {}, element("b"), " ", element("span", { class: "dim" })));
  keepRows(byId("totals"), totals, make, (row, [name, total, detail]) => {
    setText(row.cells[0], name);
    setText(row.cells[1].firstElementChild, count(total));
    setText(row.cells[1].lastElementChild, detail);
  });
}

function showProcess(stats, { cpu }) {
  const { connections, channels } = stats;
  showFacts(byId("process"), [
    ["CPU", cpu === null ? "–" : `${cpu.toFixed(2)} cores`],
    ["Connections", `${count(connections.http1)} HTTP/1, ${count(connections.http2)} HTTP/2`],
    ["Open files", `${count(stats.open_files)} of ${count(stats.open_files_max)}`],
    ["Channels", `${count(channels.live)} live, ${count(channels.closed)} closed`],
    ["Epoch", stats.epoch],
    ["Last id", stats.last_id],
  ]);
}
