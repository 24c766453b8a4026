// The client module in Chromium: tabs of one site, over HTTP/1.1, against the hub.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Hub, until } from "../../crates/fanfare/tests/clients/hub.mjs";
import { Proxy } from "../../crates/fanfare/tests/clients/proxy.mjs";
import { Browser, CHROMIUM_ARGS } from "../../crates/fanfare/tests/clients/tabs.mjs";
import playwright from "../../crates/fanfare/tests/clients/node_modules/playwright-core/index.js";
import { dataOf, openTab, Site, subscribe, told } from "./site.mjs";

const TABS = 7; // one more than the HTTP/1.1 connections that a browser opens to a host
const QUIET_MS = 1500; // how long a thing is watched that must not happen

const numbers = (from, to) => Array.from({ length: to - from }, (_, at) => String(from + at));

describe("the client module", { concurrency: 2 }, () => {
  let browser;
  before(async () => {
    const executablePath = process.env.CHROMIUM;
    browser = await playwright.chromium.launch({ executablePath, args: CHROMIUM_ARGS });
  });
  after(() => browser.close());

  // A hub, a site, and `count` tabs that have subscribed to `path` one after the other.
  async function begin(t, { count = 3, path = "/channels/news", options, proxied, ...more } = {}) {
    const hub = await Hub.start(t, more.settings);
    const proxy = proxied && await Proxy.start(t, hub);
    const site = await Site.start(t);
    const context = await browser.newContext();
    t.after(() => context.close());
    if (more.init) await context.addInitScript(more.init);
    const url = (proxy || hub).url + path;
    const join = async (chosen = options) => {
      const page = await openTab(context, site);
      await subscribe(page, url, chosen);
      await until(async () => (await stateOf(page)) === "open", "a tab has its place");
      return page;
    };
    const tabs = [];
    while (tabs.length < count) tabs.push(await join());
    const publish = async (data) => {
      for (const text of data) await hub.publish("news", text);
    };
    return { hub, proxy, site, context, url, tabs, join, publish };
  }

  it("shows why: of seven tabs with an EventSource each the seventh hangs", async (t) => {
    const { hub, site, context, url } = await begin(t, { count: 0 });
    const states = [];
    for (let at = 0; at < TABS; at += 1) {
      const page = await openTab(context, site);
      await page.evaluate((url) => (window.source = new EventSource(url)), url);
      states.push(() => page.evaluate(() => source.readyState));
      if (at + 1 < TABS) await until(async () => (await states[at]()) === 1, `tab ${at} is open`);
    }
    await new Promise((done) => setTimeout(done, QUIET_MS));
    assert.equal(await states.at(-1)(), 0, "the seventh is still connecting");
    assert.equal((await hub.publish("news", "x")).subscribers, TABS - 1);
  });

  it("gives seven tabs over one connection every event once, in order", async (t) => {
    const { hub, tabs, publish } = await begin(t, { count: TABS });
    assert.equal((await hub.publish("news", "0")).subscribers, 1);
    await publish(numbers(1, 200));
    for (const page of tabs) await gets(page, numbers(0, 200));
  });

  it("loses and doubles nothing when the leader's tab is closed, again and again", async (t) => {
    const { hub, proxy, tabs, publish } = await begin(t, { count: TABS, proxied: true });
    for (let at = 0; at < TABS - 1; at += 1) {
      const publishing = publish(numbers(at * 150, at * 150 + 150));
      // The lock goes to who asked first, so the eldest tab leads.
      const met = async () => (await dataOf(tabs[at + 1])).length > at * 150 + 40;
      await until(met, "some events arrive");
      await tabs[at].close({ runBeforeUnload: at % 2 === 0 });
      await publishing;
    }
    await gets(tabs.at(-1), numbers(0, 900));
    const [first, ...later] = proxy.requests;
    assert.equal(new URL(first.path, proxy.url).searchParams.get("last_event_id"), null);
    assert.ok(later.length >= TABS - 1, "each successor opens a connection");
    assert.ok(later.every(({ path }) => path.includes("last_event_id=")), "after its last id");
    assert.equal((await hub.publish("news", "x")).subscribers, 1);
  });

  it("loses and doubles nothing when tabs come and go and connections are cut", async (t) => {
    const { proxy, tabs, join, publish } = await begin(t, { proxied: true });
    proxy.cutting = true;
    proxy.cut();
    for (let at = 0; at < 6; at += 1) {
      const publishing = publish(numbers(at * 100, at * 100 + 100));
      await tabs.shift().close();
      tabs.push(await join());
      await publishing;
    }
    for (const page of tabs) {
      // A tab that came later began later, and from there on it missed nothing.
      await until(async () => (await dataOf(page)).at(-1) === "599", "the last event arrives");
      const data = await dataOf(page);
      assert.deepEqual(data, numbers(Number(data[0]), 600));
    }
    assert.ok(proxy.cuts >= 5, `only ${proxy.cuts} cuts`);
  });

  it("fetches what a tab was not told, and drops what it was told twice", async (t) => {
    const { hub, tabs, publish } = await begin(t);
    await tabs[0].evaluate(() => {
      const { prototype } = BroadcastChannel;
      const post = prototype.postMessage;
      prototype.postMessage = function (message) {
        const data = message.event?.data;
        if (data !== "lost") post.call(this, message);
        if (data === "twice") post.call(this, message);
      };
    });
    const data = ["1", "twice", "2", "lost", "lost", "3", "twice"];
    await publish(data);
    for (const page of tabs) await gets(page, data);
    await publish(["4"]);
    for (const page of tabs) await gets(page, [...data, "4"]);
    await until(async () => (await subscribers(hub)) === 1, "one connection is left");
  });

  it("begins a tab that joins where the leader is, and replays to one that asks", async (t) => {
    const { hub, join, publish, tabs } = await begin(t, { count: 1 });
    await publish(numbers(0, 10));
    await gets(tabs[0], numbers(0, 10));
    const late = await join();
    const { id } = (await told(tabs[0], "event"))[3];
    const resumed = await join({ lastEventId: id });
    await gets(resumed, numbers(4, 10));
    await hub.publish("news", "10");
    await gets(late, ["10"]);
    await gets(resumed, numbers(4, 11));
    await until(async () => (await hub.publish("other", "x")) && (await subscribers(hub)) === 1,
      "the tab that caught up has no connection any more");
  });

  it("replays what the URL asks for to each tab", async (t) => {
    const { hub, site, context } = await begin(t, { count: 0 });
    for (const data of numbers(0, 10)) await hub.publish("news", data);
    const tabs = [];
    for (let at = 0; at < TABS; at += 1) {
      tabs.push(await openTab(context, site));
      await subscribe(tabs[at], `${hub.url}/channels/news?last=4`);
      await gets(tabs[at], numbers(6, 10));
    }
    await until(async () => (await subscribers(hub)) === 1, "one connection is left");
    await hub.publish("news", "10");
    for (const page of tabs) await gets(page, numbers(6, 11));
  });

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

    await ticks.evaluate((url) => {
      const { promise, resolve } = Promise.withResolvers();
      window.parsed = promise;
      stream.close();
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

  it("takes over from a leader that does not answer, and gives that one the rest", async (t) => {
    const { hub, site, tabs, publish } = await begin(t);
    await publish(["1"]);
    for (const page of tabs) await gets(page, ["1"]);
    const hanging = Promise.withResolvers();
    site.hangs = hanging.promise;
    const hung = tabs[0].evaluate(() => {
      const request = new XMLHttpRequest();
      request.open("GET", "/hang", false);
      request.send();
    });
    await until(async () => (await subscribers(hub)) === 2, "a successor connects", 20_000);
    await publish(["2", "3"]);
    for (const page of tabs.slice(1)) await gets(page, ["1", "2", "3"]);
    hanging.resolve();
    await hung;
    await publish(["4"]);
    for (const page of tabs) await gets(page, ["1", "2", "3", "4"]);
    await until(async () => (await subscribers(hub)) === 1, "the hung tab leads no more");
  });

  it("takes over from a leader that the browser freezes, and thaws", async (t) => {
    const hub = await Hub.start(t);
    const site = await Site.start(t);
    const real = await Browser.start(t);
    const url = `${hub.url}/channels/news`;
    const tabs = [];
    for (let at = 0; at < 3; at += 1) {
      const tab = await real.open(site.url);
      await until(() => tab.evaluate(() => document.title), "the site is there");
      tab.evaluate(`async () => {
        window.got = [];
        const { connect } = await import("/fanfare.js");
        const on = { message: (event) => got.push(["event", event]) };
        window.stream = connect("${url}", { on });
      }`);
      await until(() => tab.evaluate(() => window.stream?.state === "open"), "it has its place");
      tabs.push(tab);
    }
    await hub.publish("news", "1");
    for (const tab of tabs) await gets(tab, ["1"]);
    await tabs[0].lifecycle("frozen");
    await hub.publish("news", "2");
    for (const tab of tabs.slice(1)) await gets(tab, ["1", "2"]);
    await tabs[1].lifecycle("frozen");
    await hub.publish("news", "3");
    await gets(tabs[2], ["1", "2", "3"]);
    for (const tab of tabs) await tab.lifecycle("active");
    await hub.publish("news", "4");
    for (const tab of tabs) await gets(tab, ["1", "2", "3", "4"]);
  });
});

const stateOf = (page) => page.evaluate(() => stream.state);

// How many subscriptions the hub has.
const subscribers = (hub) => hub.metric("fanfare_subscribers");

// Waits until a tab was given as many events, and asserts that they are these.
async function gets(page, data) {
  const met = async () => (await dataOf(page)).length >= data.length;
  await until(met, `${data.length} events`, 20_000);
  assert.deepEqual(await dataOf(page), data);
}
