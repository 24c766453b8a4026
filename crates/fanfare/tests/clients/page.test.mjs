// The page at `/` in Chromium: what a person does there, and what the browser does beneath.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { assertRising, Hub, numbered, until } from "./hub.mjs";
import { Proxy } from "./proxy.mjs";
import { Browser, CHROMIUM_ARGS } from "./tabs.mjs";

const ROWS_MAX = 200; // as in page.js
const TABS = 7; // one more than the HTTP/1.1 connections that a browser opens to a host

describe("the page", { concurrency: 2 }, () => {
  let browser;
  before(async () => {
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM,
      args: CHROMIUM_ARGS,
    });
  });
  after(() => browser.close());

  it("publishes, and shows events with id, type, time and data, as text only", async (t) => {
    const hub = await Hub.start(t);
    const { page, problems } = await open(t, browser, hub.url);
    await page.fill("#data", "<img src=x onerror=alert(1)>\nsecond line");
    await page.fill("#event-type", "tick");
    await page.click("#publish-button");
    const [first] = await eventsOf(page, 1);
    assert.equal(first.type, "tick");
    assert.equal(first.data, "<img src=x onerror=alert(1)>\nsecond line");
    assert.match(first.time, /^\d\d:\d\d:\d\d\.\d{3}$/);
    assert.equal(await page.inputValue("#types"), "tick");
    assert.equal(await page.locator("#events img").count(), 0);
    await shows(page, "#publish-result", `Published ${first.id} to 1 subscriber.`);

    // The same by keyboard.
    await page.fill("#event-type", "");
    await page.focus("#data");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("käse 🧀");
    await page.keyboard.press("Control+Enter");
    const [, second] = await eventsOf(page, 2);
    assert.deepEqual([second.type, second.data], ["message", "käse 🧀"]);
    assertRising([first.id, second.id]);
    assert.equal((await hub.publish("news", "from outside")).subscribers, 1);
    await eventsOf(page, 3);
    assert.deepEqual(problems, []);
  });

  it("shows why the hub refuses an event", async (t) => {
    const hub = await Hub.start(t);
    const { page, problems } = await open(t, browser, hub.url);
    await page.fill("#event-type", "fanfare.mine");
    await page.click("#publish-button");
    await shows(page, "#publish-result.bad", /.+: .*fanfare\./);
    // Chromium reports each answer of 400 by itself; the page adds nothing.
    assert.equal(problems.length, 1);
    assert.match(problems[0], /Failed to load resource.*400/);
    assert.equal(await page.getAttribute("#state", "data-state"), "live");
  });

  it("opens the channel and the types that its link names", async (t) => {
    const hub = await Hub.start(t);
    const link = "/#channel=orders/käse 42&types=tick,open,error";
    const { page, problems } = await open(t, browser, hub.url, link);
    const path = encodeURIComponent("käse 42");
    for (const event of ["tick", "open", "error", ""]) {
      await hub.publish(`orders/${path}`, `of ${event}`, event ? { event } : {});
    }
    const events = await eventsOf(page, 4);
    assert.deepEqual(events.map(({ type }) => type), ["tick", "open", "error", "message"]);
    assert.equal(await page.getAttribute("#state", "data-state"), "live");

    await page.fill("#channel", "other");
    await page.press("#channel", "Enter");
    await until(async () => (await hub.publish("other", "x")).subscribers, "it subscribes anew");
    await until(async () => (await rows(page)).at(-1)?.data === "x", "the other channel's event");
    assert.ok((await rows(page)).every(({ data }) => !data.startsWith("of ")));
    assert.ok(page.url().endsWith("/#channel=other&types=tick,open,error"), page.url());
    assert.deepEqual(problems, []);
  });

  it("resumes exactly after its connection was broken and restored", async (t) => {
    const hub = await Hub.start(t);
    const { page, problems } = await open(t, browser, hub.url);
    const { id } = await hub.publish("news", "before");
    await eventsOf(page, 1);
    await page.click("#break");
    await hasState(page, "broken");
    for (const data of ["1", "2", "3"]) await hub.publish("news", data);
    await page.click("#restore");
    await until(async () => (await resumedOf(page)).includes("3 events replayed"), "the count");
    await hub.publish("news", "after");
    const events = await eventsOf(page, 5);
    assert.deepEqual(events.map(({ data }) => data), ["before", "1", "2", "3", "after"]);
    assert.equal(await resumedOf(page), `Resumed after ${id}, 3 events replayed.`);
    assert.equal((await rows(page)).filter(({ kind }) => kind === "gap").length, 0);
    assert.deepEqual(problems, []);
  });

  it("shows the gap when the hub was killed and started again", async (t) => {
    const hub = await Hub.start(t);
    const proxy = await Proxy.start(t, hub);
    const { page, problems } = await open(t, browser, proxy.url);
    const { id } = await hub.publish("news", "before");
    await eventsOf(page, 1);
    assert.deepEqual(problems, []);
    await hub.restart();
    const gap = page.locator('#events li[data-kind="gap"]');
    await gap.waitFor({ state: "visible" });
    assert.match(await gap.textContent(), new RegExp(`Events are missing.*started anew.*${id}`));
    await hub.publish("news", "after");
    const events = await eventsOf(page, 2);
    assert.deepEqual(events.map(({ data }) => data), ["before", "after"]);
    assert.ok(!(await resumedOf(page)).startsWith("Resumed"), "it does not claim a resume");
  });

  it("loses and repeats nothing when it is cut again and again", async (t) => {
    const hub = await Hub.start(t);
    const proxy = await Proxy.start(t, hub);
    const { page, problems } = await open(t, browser, proxy.url);
    assert.deepEqual(problems, []);
    proxy.cutting = true;
    proxy.cut();
    const texts = numbered(120);
    const received = async () => parseInt(await page.textContent("#count")) || 0;
    for (const [at, text] of texts.entries()) {
      await hub.publish("news", text);
      if (at % 10 === 0) await until(async () => (await received()) > at - 50, `event ${at - 50}`);
    }
    const events = await eventsOf(page, texts.length);
    assert.deepEqual(events.map(({ data }) => data), texts);
    assertRising(events.map(({ id }) => id));
    assert.ok(proxy.cuts >= 5, `only ${proxy.cuts} cuts`);
    assert.equal((await rows(page)).filter(({ kind }) => kind === "gap").length, 0);
  });

  it("shows the end of a closed channel and does not reconnect", async (t) => {
    const hub = await Hub.start(t);
    const proxy = await Proxy.start(t, hub);
    const { page, problems } = await open(t, browser, proxy.url, "/#channel=job");
    const subscribes = () =>
      proxy.requests.filter(({ path }) => /^\/channels\/job(\?last_event_id=|$)/.test(path)).length;
    assert.equal(subscribes(), 1);
    await hub.publish("job", "result", { close: "done" });
    await hasState(page, "ended");
    await shows(page, "#state-detail", "the channel was closed: done");
    assert.deepEqual((await rows(page)).map(({ kind }) => kind), ["open", "event", "end"]);

    // Subscribing again is answered with 204, and EventSource gives up.
    assert.equal(subscribes(), 1);
    await page.click("#restore");
    await shows(page, "#state-detail", "the channel is closed");
    await hasState(page, "ended");
    assert.equal(subscribes(), 2);
    assert.deepEqual(problems, []);
  });

  it("keeps the newest rows of a fast channel", async (t) => {
    const hub = await Hub.start(t);
    const { page, problems } = await open(t, browser, hub.url);
    const count = ROWS_MAX + 30;
    for (let at = 0; at < count; at += 1) await hub.publish("news", String(at));
    await shows(page, "#count", `${count} received`);
    const last = await until(async () => {
      const shown = await rows(page);
      return shown.at(-1).data === String(count - 1) && shown;
    }, "the newest row");
    assert.equal(last.length, ROWS_MAX);
    assert.equal(last[0].data, "30");
    assert.deepEqual(problems, []);
  });

  it("works in seven tabs, because it closes its stream while its tab is hidden", async (t) => {
    const hub = await Hub.start(t);
    const many = await Browser.start(t);
    const stateOf = (tab) => tab.evaluate(() => document.getElementById("state")?.dataset.state);
    const dataOf = (tab) => tab.evaluate(() => {
      const shown = document.querySelectorAll("#events li[data-kind=event] .data");
      return [...shown].map((data) => data.textContent);
    });
    const tabs = [];
    for (let at = 0; at < TABS; at += 1) {
      tabs.push(await many.open(`${hub.url}/`));
      await until(async () => (await stateOf(tabs[at])) === "live", `tab ${at} is live`);
      const others = await Promise.all(tabs.slice(0, at).map(stateOf));
      assert.deepEqual(others, Array(at).fill("paused"));
    }
    const published = Array.from({ length: TABS }, (_, at) => `while tab ${at} is shown`);
    for (const [at, tab] of tabs.entries()) {
      await tab.front();
      await until(async () => (await stateOf(tab)) === "live", `tab ${at} is live again`);
      await hub.publish("news", published[at]);
      await until(async () => (await dataOf(tab))[0] === published[at], `tab ${at} shows it`);
      // It also shows, once, all that was published while it was hidden.
      assert.deepEqual(await dataOf(tab), published.slice(0, at + 1).reverse());
      assert.deepEqual(tab.problems, []);
    }
  });

  it("looks as the screenshots show, in light, in dark and on a phone", async (t) => {
    const hub = await Hub.start(t);
    const proxy = await Proxy.start(t, hub);
    const link = "/#channel=news&types=price,alert";
    const { page } = await open(t, browser, proxy.url, link);
    await hub.publish("news", "The hub is up.");
    await eventsOf(page, 1);
    await hub.restart();
    await page.locator('#events li[data-kind="gap"]').waitFor();
    await hub.publish("news", '{"symbol": "FAN", "price": 41.25}', { event: "price" });
    await eventsOf(page, 2);
    await page.click("#break");
    await hub.publish("news", '{"symbol": "FAN", "price": 41.5}', { event: "price" });
    await hub.publish("news", "Trading is halted.\nIt goes on at noon.", { event: "alert" });
    await page.click("#restore");
    await until(async () => (await resumedOf(page)).includes("2 events replayed"), "the resume");
    await page.fill("#data", "hello from the page");
    await page.click("#publish-button");
    await eventsOf(page, 5);

    const folder = process.env.SCREENSHOTS;
    await mkdir(folder, { recursive: true });
    await page.emulateMedia({ reducedMotion: "reduce" });
    for (const [name, colorScheme, width, height] of [
      ["light", "light", 1180, 900],
      ["dark", "dark", 1180, 900],
      ["phone", "light", 390, 844],
    ]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${name}: ${wide} px in ${width}`);
      await page.screenshot({ path: join(folder, `page-${name}.png`), fullPage: true });
    }
  });
});

// Opens the page and waits until it is live. `problems` collects the console's errors and warnings.
async function open(t, browser, url, path = "/") {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const problems = [];
  page.on("console", (told) => {
    if (["error", "warning", "assert"].includes(told.type())) problems.push(told.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(url + path);
  await hasState(page, "live");
  await until(async () => (await rows(page)).length, "fanfare.open is shown");
  return { page, problems };
}

function hasState(page, state) {
  return until(
    async () => (await page.getAttribute("#state", "data-state")) === state, `state ${state}`);
}

function shows(page, selector, expected) {
  return until(async () => {
    const [text = ""] = await page.locator(selector).allTextContents();
    return expected instanceof RegExp ? expected.test(text) : text === expected;
  }, `${selector} shows ${expected}`);
}

// What the list shows, oldest first.
function rows(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("#events li")].reverse().map((row) => ({
      kind: row.dataset.kind,
      type: row.querySelector(".type").textContent,
      id: row.querySelector(".id").textContent,
      time: row.querySelector("time").textContent,
      data: row.querySelector(".data").textContent,
    })));
}

// The publishers' events that the list shows, once there are at least `count`.
function eventsOf(page, count) {
  return until(async () => {
    const events = (await rows(page)).filter(({ kind }) => kind === "event");
    return events.length >= count && events;
  }, `${count} events are shown`);
}

// The text of the newest row that tells of a resume.
async function resumedOf(page) {
  return (await rows(page)).findLast(({ kind }) => kind === "resumed")?.data ?? "";
}
