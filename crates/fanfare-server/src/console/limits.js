// Every limit, how near it is, and how often it was reached.

import { NEAR, byId, element, keepRows, makeGauge, setGauge, setText } from "./dom.js";
import { bytes, count, percent, plural } from "./format.js";

/** What each limit bounds: the hub tells their names only. */
const MEANINGS = {
  addresses: "addresses of clients that are remembered at once",
  admin_connections: "connections of operators; the next one waits",
  admin_streams: "streams of operators, such as this page's",
  body_idle: "the time that a body may pause",
  cancel_waiters: "requests that wait for one channel to be cancelled",
  channels: "channels held at once; publishes to new ones are refused",
  channels_per_subscription: "channels and patterns that one subscription names",
  connect_rate: "subscribes a second",
  connect_rate_per_address: "subscribes a second of one address",
  connections: "connections held at once; the next ones are told to come back",
  connections_per_address: "connections of one address",
  event_data_bytes: "the data of one event",
  head_read: "the time that the head of a request may take",
  idempotency_keys: "idempotency keys remembered at once",
  journal_events: "events that all channels keep together",
  line_bytes: "one line of a body of many events",
  open_files: "files that the process may open, connections included",
  producers_bytes: "bytes of what is remembered of producers",
  producers_per_channel: "producers that one channel remembers",
  proxy_header: "what a trusted proxy's connection begins with",
  publish_rate: "events published a second",
  publish_rate_per_address: "events published a second by one address",
  query_parameters: "parameters of one query",
  refused_connections: "connections that are being told that the hub is full",
  requests_bytes: "bytes that requests hold together",
  rings_bytes: "bytes that all channels keep together; the oldest events go first",
  sockets_bytes: "bytes that connections and streams hold together",
  stream_channels: "channels that a streaming publish marks as being published to",
  subscribers_per_channel: "subscriptions that name one channel",
  tombstones: "removed channels that are remembered, so that a gap is exact",
  upstream_body_bytes: "bytes of a body for an upstream",
  upstream_fetches: "fetches of upstreams",
  upstream_lookups: "names of upstreams that are being looked up",
  write_stall: "the time that a peer may take no byte of its answer",
};

export function show() {}

export function hide() {}

export function update({ limits }) {
  const has = (limit) => (limit.used ?? limit.max ?? null) !== null;
  keepRows(byId("limits-rows"), limits.filter(has), makeGaugeRow, (row, limit) => {
    setGauge(row.cells[1].firstElementChild, shareOf(limit), words(limit));
    showRow(row, limit);
  });
  keepRows(byId("limits-counted"), limits.filter((limit) => !has(limit)), makeRow, showRow);
  const near = limits.filter((limit) => shareOf(limit) >= NEAR).length;
  const reached = limits.filter(({ reached_total: total }) => total).length;
  setText(byId("limits-count"), `${near ? `${near} near now` : "none is near now"} · ` +
    `${reached ? `${plural(reached, "limit")} reached` : "none was reached"} since the start`);
}

function showRow(row, { limit, reached_total: total }) {
  const [name, meaning] = row.cells[0].children;
  setText(name, limit.replaceAll("_", " "));
  setText(meaning, MEANINGS[limit] ?? "");
  setText(row.cells[row.cells.length - 1], count(total));
  row.dataset.reached = total > 0;
}

function shareOf({ used, max }) {
  return max && (used ?? null) !== null ? used / max : null;
}

function words({ limit, used, max }) {
  const write = limit.includes("bytes") ? bytes : count;
  if ((used ?? null) === null) return max ? `at most ${write(max)}` : "no limit";
  return max ? `${write(used)} of ${write(max)} (${percent(used / max)})`
    : `${write(used)}, no limit`;
}

function makeRow() {
  const head = element("th", { scope: "row" }, element("span"),
    element("span", { class: "meaning" }));
  return element("tr", {}, head, element("td", { class: "number" }));
}

function makeGaugeRow() {
  const row = makeRow();
  row.cells[0].after(element("td", {}, makeGauge()));
  return row;
}
