// Tabs of one site that share a connection over HTTP/1.1, in Chromium against the hub.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Hub, until } from "../../crates/fanfare/tests/clients/hub.mjs";
import { Browser } from "../../crates/fanfare/tests/clients/tabs.mjs";
import {
  begin, dataOf, gets, numbers, openTab, Site, stateOf, subscribe, subscribers, told, useChromium,
} from "./site.mjs";

const TABS = 7; // one more than the HTTP/1.1 connections that a browser opens to a host
const QUIET_MS = 1500; // how long a thing is watched that must not happen

describe("tabs that share a connection", { concurrency: 2 }, () => {
  useChromium();

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
    await publish(["600"]); // a tab may have come after all others
    for (const page of tabs) {
      // A tab that came later began later, and from there on it missed nothing.
      await until(async () => (await dataOf(page)).at(-1) === "600", "the last event arrives");
      const data = await dataOf(page);
      assert.deepEqual(data, numbers(Number(data[0]), 601));
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
    await until(async () => (await subscribers(hub)) === 1, "who caught up has no connection");
  });

  it("knows whether a tab caught up, also if the leader began after its last event", async (t) => {
    const { hub, join } = await begin(t, { count: 0 });
    const ids = [];
    for (const data of numbers(0, 4)) ids.push((await hub.publish("news", data)).id);
    await hub.publish("other", "x");
    const leader = await join();
    const resumed = await join({ lastEventId: ids[1] });
    await gets(resumed, ["2", "3"]);
    await until(async () => (await subscribers(hub)) === 1, "who caught up has no connection");
    await hub.publish("news", "4");
    await gets(leader, ["4"]);
    await gets(resumed, ["2", "3", "4"]);
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
