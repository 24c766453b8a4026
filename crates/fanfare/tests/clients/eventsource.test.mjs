// Node's own EventSource and the `eventsource` package of npm, unchanged, against the hub.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EventSource as NpmEventSource } from "eventsource";
import { assertRising, CONTROL_TYPES, Hub, numbered, until } from "./hub.mjs";
import { Proxy } from "./proxy.mjs";

const CLIENTS = {
  "Node's EventSource": globalThis.EventSource,
  "npm eventsource": NpmEventSource,
};

// Each of these is told a retry of its own, of 5 to 60 s: with so many, some are soon back.
const WAITING_CLIENTS = 16;
const RETRY_MS_MAX = 60_000;

// Both at once: the time goes into waiting for a retry.
describe("EventSource", { concurrency: true }, () => {
  for (const [name, Client] of Object.entries(CLIENTS)) {
    it(`${name} gets live events in order`, async (t) => {
      const hub = await Hub.start(t);
      const { events, data } = await subscribe(t, Client, `${hub.url}/channels/news`, ["tick"]);
      assert.equal(events[0].type, "fanfare.open");
      assert.deepEqual(JSON.parse(events[0].data), { channels: ["news"] });

      const texts = ["one", "two\nlines", " a space first", "", "käse \u2028 🧀", '{"a": 1}'];
      const ids = [];
      for (const text of texts) ids.push((await hub.publish("news", text, { event: "tick" })).id);
      await until(() => data().length === texts.length, "all events arrive");
      assert.deepEqual(data(), texts);
      const told = events.filter(({ type }) => type === "tick");
      assert.deepEqual(told.map(({ id }) => id), ids);
      assertRising(ids);
    });

    it(`${name} loses and repeats nothing when it is cut again and again`, async (t) => {
      const hub = await Hub.start(t);
      const proxy = await Proxy.start(t, hub);
      const { events, data } = await subscribe(t, Client, `${proxy.url}/channels/news`);
      proxy.cutting = true;
      proxy.cut();

      const texts = numbered(500);
      for (const [at, text] of texts.entries()) {
        await hub.publish("news", text);
        // The publisher stays near, so that the cuts are spread over live delivery and replay.
        await until(() => data().length > at - 60, `event ${at - 60} arrives`);
      }
      await until(() => data().length >= texts.length, "all events arrive");
      assert.deepEqual(data(), texts);
      assertRising(events.filter(({ type }) => type === "message").map(({ id }) => id));
      assert.ok(proxy.cuts >= 20, `only ${proxy.cuts} cuts`);
      assert.equal(events.filter(({ type }) => type === "fanfare.gap").length, 0);
      const [first, ...later] = proxy.requests;
      assert.equal(first.lastEventId, undefined);
      assert.ok(later.every(({ lastEventId }) => lastEventId), "each reconnect carries an id");
    });

    it(`${name} is told of the gap when the hub was killed and started again`, async (t) => {
      const hub = await Hub.start(t);
      const proxy = await Proxy.start(t, hub);
      const { events, data } = await subscribe(t, Client, `${proxy.url}/channels/news`);
      for (const text of ["1", "2", "3"]) await hub.publish("news", text);
      await until(() => data().length === 3, "the events before arrive");
      const seen = events.at(-1).id;

      await hub.restart();
      await until(() => events.at(-1).type === "fanfare.gap", "the gap arrives");
      for (const text of ["4", "5", "6"]) await hub.publish("news", text);
      await until(() => data().length === 6, "the events after arrive");

      const told = events.slice(1).map(({ type, data }) => (type === "message" ? data : type));
      assert.deepEqual(told, ["1", "2", "3", "fanfare.open", "fanfare.gap", "4", "5", "6"]);
      const gap = events.find(({ type }) => type === "fanfare.gap");
      const { channels, requested, resumed_after: after, reason } = JSON.parse(gap.data);
      assert.deepEqual({ channels, requested, reason }, {
        channels: ["news"], requested: seen, reason: "epoch",
      });
      assert.equal(after, gap.id);

      // A cut right after a gap is an ordinary resume: the gap is told once.
      proxy.cut();
      await until(() => events.at(-1).type === "fanfare.open", "it connects again");
      await hub.publish("news", "7");
      await until(() => data().length === 7, "the event after the cut arrives");
      assert.equal(events.filter(({ type }) => type === "fanfare.gap").length, 1);
    });

    it(`${name} is told the end, comes back after its retry, and 204 stops it`, async (t) => {
      const hub = await Hub.start(t);
      const proxy = await Proxy.start(t, hub);
      const asks = (path) => new URL(path, proxy.url).searchParams.get("who");
      const connects = (who) => proxy.requests.filter(({ path }) => asks(path) === String(who));
      const waiting = [];
      for (let who = 0; who < WAITING_CLIENTS; who += 1) {
        const url = `${proxy.url}/channels/job?who=${who}`;
        waiting.push({ who, ...(await subscribe(t, Client, url)) });
      }
      const { id } = await hub.publish("job", "done", { close: "done" });
      await until(
        () => waiting.every(({ events }) => events.at(-1).type === "fanfare.end"), "all are told");
      for (const { events, data } of waiting) {
        assert.deepEqual(data(), ["done"]);
        assert.deepEqual(JSON.parse(events.at(-1).data), { channels: ["job"], reason: "done" });
      }
      // The end has a place of its own, after the last event: what the clients come back with.
      const end = waiting[0].events.at(-1).id;
      assert.notEqual(end, id);

      // A client that already has the last event is stopped at once.
      const late = new Client(`${proxy.url}/channels/job?who=late&last_event_id=${id}`);
      t.after(() => late.close());
      await until(() => late.readyState === Client.CLOSED, "204 stops a new client");

      // Those that wait come back once, with the id, and are stopped; the first two are enough.
      const stopped = await until(() => {
        const done = waiting.filter(({ source }) => source.readyState === Client.CLOSED);
        return done.length >= 2 && done;
      }, "204 stops two clients that waited", RETRY_MS_MAX + 10_000);
      for (const { who } of stopped) {
        assert.deepEqual(connects(who).map(({ lastEventId }) => lastEventId), [undefined, end]);
      }
      assert.equal(connects("late").length, 1);
    });
  }
});

// Subscribes and waits for `fanfare.open`. `data` gives the data of publishers' events.
async function subscribe(t, Client, url, types = []) {
  const source = new Client(url);
  t.after(() => source.close());
  const events = [];
  for (const type of ["message", ...CONTROL_TYPES, ...types]) {
    source.addEventListener(type, ({ data, lastEventId }) => {
      events.push({ type, data, id: lastEventId });
    });
  }
  const data = () => events.filter(({ type }) => !CONTROL_TYPES.includes(type)).map((e) => e.data);
  await until(() => events.length, "fanfare.open arrives");
  return { source, events, data };
}
