// The recipes in front of a real hub: what a subscriber and a publisher see through each proxy.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { CONTROL_TYPES, Hub, until } from "../../../crates/fanfare/tests/clients/hub.mjs";
import { isInstalled, Proxy, RECIPE_OF } from "./proxy.mjs";

const ARRIVES_WITHIN_MS = 1_000;
const IDLE_MS = 60_000;
// In a minute of silence the hub sends the one after the head and one every 15 s.
const HEARTBEATS_MIN = 4;
// The largest retry of a drain of a second, and of an answer without a hub, and time to connect.
const BACK_WITHIN_MS = 7_000 + 6_000 + 5_000;
const ANSWERS = 20;
const OF_ADDRESS_MAX = 40;
const HUB = [
  "--drain-period=1s", "--trusted-proxy=127.0.0.1",
  `--connections-per-address-max=${OF_ADDRESS_MAX}`,
];
const NO_ANSWER = { status: "no answer", headers: {} };
const SUBSCRIBE = { Accept: "text/event-stream" };
const PAGE = "http://page.example";
const EVENT_TYPE = /^event: fanfare\.(\w+)$/m;
// What a client may say to be taken for another.
const CLAIMS = [
  { "X-Forwarded-For": "192.0.2.1" },
  { "Forwarded": "for=192.0.2.1" },
  { "X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1" },
];
// What a subscribe is answered without a hub: an event without an id.
const NO_HUB = /^event: fanfare\.reconnect\ndata: \{"reason":"down"\}\nretry: (\d+)\n\n$/;

// Debian does not have it; `setup` installs the others.
const OPTIONAL = ["envoy"];
const VARIANTS = Object.entries(RECIPE_OF).flatMap(([name, { http2 }]) => [
  { name, http2: false },
  ...(http2 ? [{ name, http2: true }] : []),
]);

// All at once: the time goes into waiting for a minute of silence, and for a retry.
describe("a hub behind", { concurrency: true }, () => {
  for (const { name, http2 } of VARIANTS) {
    const title = http2 ? `${name}, HTTP/2 to the hub` : name;
    it(title, { skip: OPTIONAL.includes(name) && !isInstalled(name) }, async (t) => {
      const hub = await Hub.start(t, HUB);
      const proxy = await Proxy.start(t, name, hub.port, { http2 });
      const idle = listen(`${proxy.url}/channels/silence`);
      const silent = delay(IDLE_MS);
      await eventsCrossAtOnce(t, proxy);
      await linesCrossAsTheyCome(t, proxy);
      await wishesCross(proxy);
      await subscribersThatLeaveAreGone(hub, proxy);
      await addressesAreTold(proxy);
      if (http2) await streamsShareConnections(hub, proxy);
      await silent;
      assert.equal(idle.ended, null, "a stream stays open through a minute of silence");
      const heartbeats = idle.text.match(/^:$/gm).length;
      assert.ok(heartbeats >= HEARTBEATS_MIN, `${heartbeats} heartbeats: ${idle.text}`);
      await aDrainKillsNobody(t, hub, proxy, { idle, name, http2 });
    });
  }
});

/** An event arrives in under a second, its data unchanged, and nothing was compressed. */
async function eventsCrossAtOnce(t, proxy) {
  const { events } = await subscribe(t, `${proxy.url}/channels/news`);
  for (const data of ["one", "käse 🧀", "x".repeat(100_000)]) {
    const answer = await fetch(`${proxy.url}/channels/news`, { method: "POST", body: data });
    const { id } = await answer.json();
    await until(() => events.at(-1).id === id, `${data.slice(0, 9)} arrives`, ARRIVES_WITHIN_MS);
    assert.equal(events.at(-1).data, data);
  }
  const head = await answerTo("GET", `${proxy.url}/channels/news`, {
    Accept: "text/event-stream", "Accept-Encoding": "gzip, deflate, br, zstd",
  });
  assert.equal(head.status, 200);
  assert.equal(head.headers["content-encoding"], undefined);
}

/** Each line of a streaming publish arrives before the next is written. */
async function linesCrossAsTheyCome(t, proxy) {
  const { events } = await subscribe(t, `${proxy.url}/channels/lines`);
  const headers = { "Content-Type": "application/x-ndjson" };
  const publish = request(`${proxy.url}/channels/lines`, { method: "POST", headers, agent: null });
  const answered = once(publish, "response");
  for (const data of ["first", "second", "third"]) {
    publish.write(`{"data": "${data}"}\n`);
    await until(() => events.at(-1).data === data, `${data} arrives`, 2 * ARRIVES_WITHIN_MS);
  }
  publish.end();
  const [answer] = await answered;
  assert.equal(answer.statusCode, 200);
  assert.equal(JSON.parse(await textOf(answer)).accepted, 3);
}

/** Who waits for a channel to be cancelled is told of the wish, and its status can be had. */
async function wishesCross(proxy) {
  const json = async (method, path) => (await fetch(proxy.url + path, { method })).json();
  const waited = json("GET", "/cancel/wish?wait=50");
  assert.equal((await json("POST", "/cancel/wish")).state, "cancelling");
  assert.equal((await waited).state, "cancelling");
  assert.equal((await json("GET", "/status/wish")).state, "cancelling");
}

/** The hub learns that a subscriber is gone. */
async function subscribersThatLeaveAreGone(hub, proxy) {
  const count = async () => (await hub.publish("leaving", "?")).subscribers;
  const streams = [1, 2, 3].map(() => listen(`${proxy.url}/channels/leaving`));
  await until(async () => (await count()) === 3, "three come");
  streams.forEach((stream) => stream.close());
  await until(async () => (await count()) === 0, "three go");
}

/** The hub knows who asks, whatever a client claims: one has all it may, another has not. */
async function addressesAreTold(proxy) {
  const url = `${proxy.url}/channels/addresses`;
  const begins = async (stream) =>
    (await until(() => EVENT_TYPE.exec(stream.text), "the stream begins"))[1];
  const full = Array.from({ length: OF_ADDRESS_MAX }, () => listen(url, "127.0.0.2"));
  for (const stream of full) assert.equal(await begins(stream), "open");
  for (const headers of [{}, ...CLAIMS]) {
    assert.equal(await begins(listen(url, "127.0.0.2", headers)), "reconnect");
  }
  const other = listen(url, "127.0.0.3");
  assert.equal(await begins(other), "open");
  [...full, other].forEach((stream) => stream.close());
}

/** More subscribers than connections: so it is HTTP/2. */
async function streamsShareConnections(hub, proxy) {
  const streams = Array.from({ length: 20 }, () => listen(`${proxy.url}/channels/many`));
  await until(async () => (await hub.publish("many", "?")).subscribers === 20, "all come");
  await until(async () => (await hub.metric("fanfare_subscribers")) >= 20, "the metric follows");
  const connections = await hub.metric("fanfare_connections");
  assert.ok(connections < 10, `${connections} connections`);
  streams.forEach((stream) => stream.close());
}

/**
 * The hub drains and is gone for a while: whoever subscribes is told to come back, by a 200, and
 * comes back. `idle` is a stream that is cut.
 */
async function aDrainKillsNobody(t, hub, proxy, { idle, name, http2 }) {
  const url = `${proxy.url}/channels/news`;
  const { source, events } = await subscribe(t, url);
  const before = await (await fetch(url, { method: "POST", body: "before" })).json();
  const types = () => events.map(({ type }) => type);
  const statuses = new Map();
  let asking = true;
  const asked = (async () => {
    while (asking) {
      // From an address of its own, which may well reach its limit: that is a 200, too.
      const { status, headers } = await answerTo("GET", url, SUBSCRIBE, "127.0.0.4");
      const answer = `${status} ${headers["content-type"] ?? ""}`.trim();
      statuses.set(answer, (statuses.get(answer) ?? 0) + 1);
      await delay(20);
    }
  })();

  await hub.drain();
  await until(() => idle.ended, "the stream is cut");
  assert.equal(idle.ended, RECIPE_OF[name].cuts ? "cut" : "end", "how the stream ended");
  assert.match(idle.text, /event: fanfare\.reconnect\nretry: \d+\ndata: \{"reason":"drain"\}\n\n$/);
  await noHubAnswers(proxy);
  const down = () => events.some(({ data }) => data === '{"reason":"down"}');
  await until(down, "the EventSource asks while there is no hub", BACK_WITHIN_MS);
  assert.equal(events.find(({ data }) => data === "before").id, before.id);
  assert.equal(events.at(-1).id, before.id, "the answer without a hub leaves the id alone");

  await hub.again();
  await until(() => types().includes("fanfare.gap"), "the EventSource is back", BACK_WITHIN_MS);
  const gap = JSON.parse(events.find(({ type }) => type === "fanfare.gap").data);
  assert.equal(gap.reason, "epoch");
  assert.equal(gap.requested, before.id);
  await fetch(url, { method: "POST", body: "after" });
  await until(() => events.at(-1).data === "after", "an event of the new hub arrives");
  assert.equal(source.readyState, 1);
  asking = false;
  await asked;
  if (RECIPE_OF[name].hangsUp && http2) statuses.delete(NO_ANSWER.status);
  assert.deepEqual([...statuses.keys()], ["200 text/event-stream"]);
}

/** Without a hub a subscribe is answered with an event, a publish with 503. */
async function noHubAnswers(proxy) {
  const url = `${proxy.url}/channels/news`;
  await until(async () => (await answerTo("GET", url)) !== NO_ANSWER, "the proxy answers");
  const retries = new Set();
  for (const path of ["/channels/news", "/events?channel=a&channel=b/*"]) {
    for (const headers of [{}, { Accept: "*/*" }, { Accept: "text/event-stream", Origin: PAGE }]) {
      const answer = await answerTo("GET", proxy.url + path, headers);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers["content-type"], "text/event-stream");
      assert.equal(answer.headers["access-control-allow-origin"] || undefined, headers.Origin);
    }
  }
  for (let at = 0; at < ANSWERS; at += 1) {
    const text = await until(async () => (await listen(url).done).text, "an answer");
    const event = NO_HUB.exec(text);
    assert.ok(event, JSON.stringify(text));
    const retry = Number(event[1]);
    assert.ok(retry >= 1_000 && retry < 6_000, `a retry of ${retry}`);
    retries.add(retry);
  }
  assert.ok(retries.size > ANSWERS / 2, `the retries differ: ${[...retries]}`);

  const publish = await answerTo("POST", url);
  assert.equal(publish.status, 503);
  assert.equal(publish.headers["retry-after"], "5");
  const history = await answerTo("GET", url, { Accept: "application/json" });
  assert.equal(history.status, 503);
  for (const path of ["/status/news", "/cancel/news"]) {
    assert.equal((await answerTo("GET", proxy.url + path)).status, 503, path);
  }
}

/** Subscribes an EventSource and waits for `fanfare.open`. */
async function subscribe(t, url) {
  const source = new EventSource(url);
  t.after(() => source.close());
  const events = [];
  for (const type of ["message", ...CONTROL_TYPES]) {
    source.addEventListener(type, ({ data, lastEventId }) => {
      events.push({ type, data, id: lastEventId });
    });
  }
  await until(() => events.length, "fanfare.open arrives");
  return { source, events };
}

/** Status and headers of an answer, whose body is not waited for; it may be none. */
function answerTo(method, url, headers = {}, localAddress = "127.0.0.1") {
  return new Promise((resolve, reject) => {
    const options = { method, headers, localAddress, agent: new Agent() };
    const asked = request(url, options, (answer) => {
      resolve({ status: answer.statusCode, headers: answer.headers });
      answer.on("error", () => {});
      asked.destroy();
    });
    const hangsUp = ({ code }) => code === "ECONNRESET";
    asked.on("error", (error) => (hangsUp(error) ? resolve(NO_ANSWER) : reject(error))).end();
  });
}

/** Reads a stream as its bytes come; `ended` says how it ended: `end`, or `cut`. */
function listen(url, localAddress = "127.0.0.1", claims = {}) {
  const stream = { text: "", ended: null };
  stream.done = new Promise((resolve) => {
    const ends = (how) => {
      stream.ended ??= how;
      resolve(stream);
    };
    const headers = { ...SUBSCRIBE, ...claims };
    const asked = request(url, { headers, localAddress, agent: new Agent() }, (answer) => {
      answer.setEncoding("utf8");
      answer.on("data", (text) => (stream.text += text));
      answer.on("end", () => ends("end")).on("error", () => ends("cut"));
    });
    asked.on("error", () => ends("cut")).end();
    stream.close = () => asked.destroy();
  });
  return stream;
}

async function textOf(answer) {
  let text = "";
  for await (const piece of answer.setEncoding("utf8")) text += piece;
  return text;
}
