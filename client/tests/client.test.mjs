// What the client module calls back, and what it does where it cannot share: in Chromium.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { until } from "../../crates/fanfare/tests/clients/hub.mjs";
import {
  begin, dataOf, gets, openTab, stateOf, subscribe, subscribers, told, useChromium,
} from "./site.mjs";

const QUIET_MS = 1500; // how long a thing is watched that must not happen

describe("the client module", { concurrency: 2 }, () => {
  useChromium();

  it("tells each tab of a gap once", async (t) => {
    const { hub, tabs, publish } = await begin(t, { proxied: true });
    await publish(["1", "2"]);
    for (const page of tabs) await gets(page, ["1", "2"]);
    const requested = await tabs[0].evaluate(() => stream.lastEventId);
    await hub.restart();
    for (const page of tabs) {
      await until(async () => (await told(page, "gap")).length, "the gap is told");
    }
    await publish(["3"]);
    for (const page of tabs) {
      await gets(page, ["1", "2", "3"]);
      const [gap, ...more] = await told(page, "gap");
      assert.deepEqual(more, []);
      assert.deepEqual({ ...gap, resumed_after: "" }, {
        channels: ["news"], requested, reason: "epoch", resumed_after: "",
      });
      const states = await told(page, "state");
      assert.deepEqual(states, ["open", "connecting", "open"]);
    }
  });

  it("tells each tab the end once, and nobody comes back", async (t) => {
    const { hub, proxy, tabs } = await begin(t, { proxied: true });
    await hub.publish("news", "last", { close: "error" });
    for (const page of tabs) {
      await until(async () => (await told(page, "end")).length, "the end is told");
      await gets(page, ["last"]);
      assert.deepEqual(await told(page, "end"), [
        { channels: ["news"], reason: "error", final: true },
      ]);
      assert.equal(await stateOf(page), "closed");
    }
    // A successor that had not heard of the end yet may have asked; later nobody does.
    const asked = proxy.requests.length;
    await new Promise((done) => setTimeout(done, QUIET_MS));
    assert.equal(proxy.requests.length, asked);
  });

  it("goes on while one of several channels has not ended", async (t) => {
    const { hub, tabs } = await begin(t, { path: "/events?channel=news&channel=job" });
    await hub.publish("job", "result", { close: "done" });
    await hub.publish("news", "still", { close: "cancelled" });
    for (const page of tabs) {
      await gets(page, ["result", "still"]);
      await until(async () => (await told(page, "end")).length === 2, "both ends are told");
      assert.deepEqual(await told(page, "end"), [
        { channels: ["job"], reason: "done", final: false },
        { channels: ["news"], reason: "cancelled", final: true },
      ]);
    }
  });

  it("tells a tab that comes too late that the channel had ended", async (t) => {
    const { hub, context, site, url } = await begin(t, { count: 0 });
    const { id } = await hub.publish("news", "all", { close: "done" });
    const page = await openTab(context, site);
    await subscribe(page, url, { lastEventId: id });
    await until(async () => (await told(page, "end")).length, "the end is told");
    const end = { reason: "closed", status: 204, final: true };
    assert.deepEqual(await told(page), [["state", "closed"], ["end", end]]);
  });

  it("does not mix URLs, nor types, and gives data as it is parsed", async (t) => {
    const { hub, context, site, url, tabs } = await begin(t, { count: 2 });
    const other = await openTab(context, site);
    await subscribe(other, `${hub.url}/channels/other`);
    const ticks = await openTab(context, site);
    await subscribe(ticks, url, { types: ["tick", "error", "open"] });
    await until(async () => (await hub.publish("other", "o")).subscribers, "the other subscribes");
    await until(async () => (await subscribers(hub)) === 3, "so do the ticks");
    await hub.publish("news", "n");
    for (const event of ["tick", "error", "open"]) await hub.publish("news", event, { event });
    await gets(ticks, ["tick", "error", "open"]);
    for (const page of tabs) await gets(page, ["n"]);
    assert.ok((await dataOf(other)).every((data) => data === "o"));

    await ticks.evaluate(() => stream.close());
    await until(async () => (await subscribers(hub)) === 2, "its subscription ends");
    await ticks.evaluate((url) => {
      const { promise, resolve } = Promise.withResolvers();
      window.parsed = promise;
      return import("/fanfare.js").then(({ connect }) => {
        connect(url, { on: { tick: resolve }, parse: JSON.parse });
      });
    }, url);
    await until(async () => (await subscribers(hub)) === 3, "it subscribes anew");
    const { id } = await hub.publish("news", '{"price": 3}', { event: "tick" });
    assert.deepEqual(await ticks.evaluate(() => window.parsed), {
      type: "tick", data: { price: 3 }, id,
    });
  });

  it("comes from the hub, too", async (t) => {
    const { hub, context, site, url } = await begin(t, { count: 0 });
    const page = await openTab(context, site);
    await page.evaluate(async ([module, url]) => {
      const { connect } = await import(module);
      window.got = [];
      window.stream = connect(url, { on: { message: (event) => got.push(["event", event]) } });
    }, [`${hub.url}/client.js`, url]);
    await until(async () => (await stateOf(page)) === "open", "it is open");
    await hub.publish("news", "x");
    await gets(page, ["x"]);
  });

  for (const missing of ["locks", "BroadcastChannel"]) {
    it(`takes a connection of its own without ${missing}`, async (t) => {
      const init = {
        locks: () => Object.defineProperty(Navigator.prototype, "locks", { value: undefined }),
        BroadcastChannel: () => delete window.BroadcastChannel,
      }[missing];
      const { hub, tabs, publish } = await begin(t, { init });
      assert.equal((await hub.publish("news", "0")).subscribers, 3);
      await publish(["1"]);
      for (const page of tabs) await gets(page, ["0", "1"]);
    });
  }

  it("takes a connection of its own where each has its own events", async (t) => {
    const path = "/channels/news?coalesce=text";
    const { hub, tabs, publish } = await begin(t, { count: 2, path });
    assert.equal((await hub.publish("news", "a")).subscribers, 2);
    await publish(["b", "c"]);
    for (const page of tabs) {
      const whole = async () => (await dataOf(page)).join("") === "abc";
      await until(whole, "the text is whole");
    }
  });

  it("takes a connection of its own where it is not wanted to share, or may not", async (t) => {
    const settings = ["--cors-origin", "*"];
    const options = { shared: false };
    const { hub, tabs, site, context, url } = await begin(t, { settings, options });
    const page = await openTab(context, site);
    // A sandboxed frame has an origin of its own that is refused locks.
    await page.evaluate(([site, url]) => {
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts";
      frame.srcdoc = `<script type="module">
        import { connect } from "${site}/fanfare.js";
        connect("${url}", { on: { message({ data }) { parent.postMessage(data, "*"); } } });
      </script>`;
      window.got = [];
      addEventListener("message", ({ data }) => got.push(["event", { data }]));
      document.body.append(frame);
    }, [site.url, url]);
    await until(async () => (await subscribers(hub)) === 4, "each has a connection");
    await hub.publish("news", "x");
    for (const tab of [...tabs, page]) await gets(tab, ["x"]);
  });

  it("comes back after an answer at which EventSource gives up", async (t) => {
    const { hub, site, context, url } = await begin(t, { count: 0 });
    site.target = url;
    const tabs = [];
    for (let at = 0; at < 2; at += 1) {
      tabs.push(await openTab(context, site));
      await subscribe(tabs[at], `${site.url}/stream`);
      await until(async () => (await stateOf(tabs[at])) === "open", "it is open");
    }
    await hub.publish("news", "before");
    for (const page of tabs) await gets(page, ["before"]);
    site.status = 503;
    const { port, adminPort } = hub;
    await hub.kill();
    await until(() => site.asked >= 4, "it was refused, and tried again");
    Object.assign(hub, { port, adminPort });
    await hub.again();
    await hub.publish("news", "meanwhile");
    site.status = 0;
    for (const page of tabs) {
      await gets(page, ["before", "meanwhile"]);
      assert.equal((await told(page, "gap")).length, 1);
      assert.deepEqual(await told(page, "end"), []);
    }

    site.status = 404;
    await hub.kill();
    for (const page of tabs) {
      await until(async () => (await told(page, "end")).length, "the refusal is told");
      assert.deepEqual(await told(page, "end"), [{ reason: "refused", status: 404, final: true }]);
    }
  });
});
