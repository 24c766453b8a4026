// The operators' console in Chromium, on the real hub: what an operator sees and does there.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { Hub, until } from "./hub.mjs";
import { Browser, CHROMIUM_ARGS } from "./tabs.mjs";

const ROWS_MAX = 200; // as in tail.js
const LIST_ROWS = 50; // as in channels.js
const CHANNELS = 100_000;
const TABS = 7; // one more than the HTTP/1.1 connections that a browser opens to a host
// Elements of the whole page, whatever the hub holds.
const ELEMENTS_MAX = 2_000;

describe("the console", { concurrency: 2 }, () => {
  let browser;
  before(async () => {
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM,
      args: CHROMIUM_ARGS,
    });
  });
  after(() => browser.close());

  it("moves its charts when events flow", async (t) => {
    const hub = await Hub.start(t);
    const { page, problems } = await open(t, browser, hub);
    await shows(page, "#identity", /^version \d+\.\d+\.\d+ · up \d+\s\S+.* · running$/);
    const reader = new EventSource(`${hub.url}/channels/news`);
    t.after(() => reader.close());
    await until(async () => (await valueOf(page, "Subscribers")) === "1", "the subscriber");
    // The curve begins level, at nothing, and rises with the first second in which events come.
    assert.deepEqual(await heights(page, "Events in"), new Set([0]));
    await until(async () => {
      await publishLines(hub, Array.from({ length: 50 }, (_, n) => ({ channel: "news", data: n })));
      return parseFloat(await valueOf(page, "Events out")) > 0;
    }, "events flow");
    for (const title of ["Events in", "Events out", "Bytes out", "Memory", "Subscribers"]) {
      const highest = Math.max(...await heights(page, title));
      assert.ok(highest > 10 && highest <= 100, `${title}: ${highest}`);
    }
    await until(
      async () => /^p99 \d.*\sm?s$/.test(await valueOf(page, "Delivery")), "the latency is known");
    await shows(page, "#totals", /Events published.*[1-9]/);
    await shows(page, "#shares", /rings.*of/);

    // A moment is read off a chart by keyboard, too.
    await page.getByRole("slider", { name: "Events in" }).focus();
    await page.keyboard.press("End");
    const newest = await page.textContent(":focus .reading");
    assert.match(newest, /^\d\d:\d\d:\d\d .*\/s$/);
    await page.keyboard.press("Home");
    assert.notEqual(await page.textContent(":focus .reading"), newest);
    // Before the oldest sample there was none to tell a rate from.
    assert.match(await page.getAttribute(":focus", "aria-valuetext"), /^\d\d:\d\d:\d\d +–$/);
    assert.deepEqual(problems, []);
  });

  it("finds, sorts and turns pages of 100,000 channels", async (t) => {
    const hub = await Hub.start(t, ["--channels-max", String(2 * CHANNELS)]);
    const name = (n) => ({ channel: `orders/${String(n).padStart(6, "0")}`, data: n });
    for (let at = 0; at < CHANNELS; at += 10_000) {
      await publishLines(hub, Array.from({ length: 10_000 }, (_, n) => name(at + n)));
    }
    await publishLines(hub, [{ channel: "zebra/käse 1%", data: "x".repeat(5_000) }]);
    const { page, problems } = await open(t, browser, hub, "/#/channels");
    await shows(page, "#channels-count", "100,001 channels");
    assert.equal((await listed(page)).length, LIST_ROWS);
    assert.ok(await elements(page) < ELEMENTS_MAX, `${await elements(page)} elements`);

    const sortBy = (head) => page.getByRole("columnheader").getByRole("button", { name: head });
    await sortBy("Channel").click();
    await firstIs(page, "orders/000000");
    assert.equal(await page.getAttribute("th[data-sort=name]", "aria-sort"), "ascending");
    await page.getByRole("button", { name: "Next" }).click();
    await firstIs(page, "orders/000050");
    await page.getByRole("button", { name: "Next" }).click();
    await firstIs(page, "orders/000100");
    await shows(page, "#channels-page", /^Page 3 of 2,001$/);
    await page.getByRole("button", { name: "Previous" }).click();
    await firstIs(page, "orders/000050");
    await page.getByRole("button", { name: "First" }).click();
    await firstIs(page, "orders/000000");
    assert.ok(await page.getByRole("button", { name: "Previous" }).isDisabled());
    await sortBy("Ring bytes").click();
    await firstIs(page, "zebra/käse 1%");
    await sortBy("Events").first().click();

    await page.getByRole("searchbox", { name: "Name" }).fill("4321");
    await shows(page, "#channels-count", "20 channels found by what the name contains");
    assert.ok((await listed(page)).every((channel) => channel.includes("4321")));
    await page.selectOption("#search-how", "prefix");
    await shows(page, "#channels-count", "0 channels found by how the name begins");
    await page.fill("#search-text", "zebra");
    await firstIs(page, "zebra/käse 1%");
    await page.getByRole("link", { name: "zebra/käse 1%" }).click();
    await shows(page, "#channel-title", "zebra/käse 1%");
    await shows(page, "#tail .data", /^x+… \(5,000 characters\)$/);
    // The way back leads to what was searched for.
    await page.goBack();
    await firstIs(page, "zebra/käse 1%");
    assert.equal(await page.inputValue("#search-text"), "zebra");
    assert.ok(await elements(page) < ELEMENTS_MAX);
    assert.deepEqual(problems, []);
  });

  it("shows the workers, and the limits that were reached", async (t) => {
    const settings = ["--workers", "3", "--event-data-bytes-max", "1KiB", "--channels-max", "2"];
    const hub = await Hub.start(t, settings);
    const reader = new EventSource(`${hub.url}/channels/news`);
    t.after(() => reader.close());
    for (const [channel, bytes] of [["a", 9], ["b", 9], ["a", 2_000], ["a", 3_000]]) {
      await fetch(`${hub.url}/channels/${channel}`, { method: "POST", body: "x".repeat(bytes) });
    }
    const { page, problems } = await open(t, browser, hub, "/#/workers");
    const subscribersOf = async () => (await page.locator("#workers-rows tr").evaluateAll(
      (rows) => rows.map(({ cells }) => Number(cells[2].textContent)))).sort();
    await until(async () => String(await subscribersOf()) === "0,0,1", "one of three has it");
    await page.getByRole("link", { name: "Limits" }).click();
    const rowOf = (limit) => page.getByRole("row", { name: new RegExp(`^${limit} `) });
    const cells = (limit) => rowOf(limit).locator("th, td").allTextContents();
    await until(async () => (await cells("event data bytes")).at(-1) === "2", "it was met twice");
    const [, used, reached] = await cells("channels");
    assert.deepEqual([used, reached], ["2 of 2 (100\u00a0%)", "1"]);
    assert.equal(await rowOf("channels").locator(".bar").getAttribute("data-level"), "full");
    await shows(page, "#limits-count", /^1 near now · 2 limits reached since the start$/);
    assert.deepEqual(problems, []);
  });

  it("shows a channel's events as text, the kept ones and those that come", async (t) => {
    const hub = await Hub.start(t);
    for (const n of numbers(0, 30)) await hub.publish("news", `kept ${n}`);
    const { page, problems } = await open(t, browser, hub, "/#/channels/news");
    await tailed(page, 20);
    const evil = "<img src=x onerror=alert(1)>\nsecond line";
    // The type is no less the publisher's, and names what every object has.
    const { id } = await hub.publish("news", evil, { event: "constructor" });
    const [newest, ...rest] = await tailed(page, 21);
    assert.deepEqual([newest.type, newest.id, newest.data], ["constructor", id, evil]);
    assert.match(newest.time, /^\d\d:\d\d:\d\d$/);
    const kept = numbers(10, 30).reverse().map((n) => `kept ${n}`);
    assert.deepEqual(rest.map(({ data }) => data), kept);
    assert.ok(rest.every(({ time }) => time === "kept"));
    assert.equal(await page.locator("#tail img").count(), 0);

    // What is published while it is paused comes when it goes on, and is no gap.
    await page.getByRole("button", { name: "Pause" }).click();
    await shows(page, "#tail-state", "paused");
    await hub.publish("news", "while it was paused");
    await page.getByRole("button", { name: "Resume" }).click();
    await until(async () => (await tail(page))[0].data === "while it was paused", "it goes on");
    assert.equal((await tail(page)).length, 22, "nothing is shown twice");

    await publishLines(hub, numbers(0, 500).map((n) => ({ channel: "news", data: `many ${n}` })));
    await until(async () => (await tail(page))[0].data === "many 499", "the last of many");
    const shown = await tail(page);
    assert.equal(shown.length, ROWS_MAX);
    assert.deepEqual(shown.map(({ kind }) => kind), Array(ROWS_MAX).fill("event"));
    await shows(page, "#channel-facts", /Subscribers1/);
    await shows(page, "#channel-ring", /Ring events[1-9]\d* of/);
    assert.deepEqual(problems, []);
  });

  it("publishes, and says why the hub refuses", async (t) => {
    const hub = await Hub.start(t);
    const { page, problems } = await open(t, browser, hub, "/#/channels/orders/käse 42");
    await page.getByText("There is no such channel now.").waitFor();
    await page.getByLabel("Data").fill("hello");
    await page.getByLabel("Event type").fill("greeting");
    await page.getByRole("button", { name: "Publish" }).click();
    await shows(page, "#publish-result.good", /^Published \S+ to \d+ subscribers?\.$/);
    await until(async () => (await tail(page))[0]?.data === "hello", "it is shown");
    // The same by keyboard.
    await page.getByLabel("Event type").fill("");
    await page.getByLabel("Data").press("Control+Enter");
    assert.deepEqual((await tailed(page, 2)).map(({ type }) => type), ["message", "greeting"]);

    await page.getByLabel("Event type").fill("fanfare.mine");
    await page.getByRole("button", { name: "Publish" }).click();
    await shows(page, "#publish-result.bad", /.+: .*fanfare\./);
    // Chromium reports each answer of 4xx by itself; the page adds nothing.
    assert.ok(problems.length > 1);
    assert.ok(problems.every((text) => /Failed to load resource.*40[04]/.test(text)), problems);
  });

  it("closes and deletes a channel after a question, by keyboard alone", async (t) => {
    const hub = await Hub.start(t);
    await hub.publish("news", "x");
    const { page, problems } = await open(t, browser, hub, "/#/channels/news");
    await tailed(page, 1);
    await tabTo(page, "channel-close");
    await page.keyboard.press("Enter");
    await shows(page, "#dialog-title", "Close news?");
    await page.keyboard.press("Escape");
    assert.equal(await focused(page), "channel-close");
    await shows(page, "#channel-state", "live");

    await page.keyboard.press("Enter");
    await tabTo(page, "dialog-reason");
    await page.keyboard.press("ArrowDown");
    await tabTo(page, "dialog-confirm");
    await page.keyboard.press("Enter");
    await shows(page, "#end-result.good", "Closed: error.");
    await shows(page, "#channel-state", "closed: error");
    await until(async () => (await tail(page))[0].kind === "end", "the tail's end");
    assert.match((await tail(page))[0].data, /closed: error/);

    await tabTo(page, "channel-delete");
    await page.keyboard.press("Enter");
    // The focus begins at what does no harm.
    assert.equal(await focused(page), "dialog-cancel");
    await page.keyboard.press("Enter");
    await shows(page, "#channel-state", "closed: error");
    await page.keyboard.press("Enter");
    await tabTo(page, "dialog-confirm");
    await page.keyboard.press("Space");
    await shows(page, "#end-result.good", "Deleted.");
    await shows(page, "#channel-state", "not there");
    assert.equal((await fetch(`${hub.adminUrl}/api/channels/news`)).status, 404);
    assert.ok(problems.every((text) => /Failed to load resource.*404/.test(text)), problems);
  });

  it("starts a drain, shows how it goes, and takes it back", async (t) => {
    const hub = await Hub.start(t, ["--drain-delay", "10m"]);
    const { page, problems } = await open(t, browser, hub, "/#/drain");
    await shows(page, "#drain-state", "running, no drain");
    await page.getByRole("button", { name: "Start a drain…" }).click();
    await page.getByRole("button", { name: "Start the drain" }).click();
    await shows(page, "#drain-result.good", "The drain has begun.");
    await shows(page, "[aria-current=step]", /^Delay/);
    assert.equal((await fetch(`${hub.adminUrl}/readyz`)).status, 503);
    await page.getByRole("link", { name: "Overview", exact: true }).click();
    await shows(page, "#banner-text", "The hub is draining: waiting.");
    await page.getByRole("link", { name: "Look at the drain" }).click();
    await page.getByRole("button", { name: "Take back" }).click();
    await shows(page, "#drain-result.good", "The drain is taken back.");
    await shows(page, "#drain-state", "running, no drain");
    assert.equal((await fetch(`${hub.adminUrl}/readyz`)).status, 200);
    assert.equal(await page.locator("[aria-current=step]").count(), 0);
    assert.deepEqual(problems, []);
  });

  it("shows who was sent away by a drain, and that they come back", async (t) => {
    const hub = await Hub.start(t, ["--drain-period", "200ms"]);
    const reader = new EventSource(`${hub.url}/channels/news`);
    t.after(() => reader.close());
    const { page, problems } = await open(t, browser, hub, "/#/drain");
    await until(async () => (await hub.metric("fanfare_subscribers")) === 1, "the subscriber");
    await page.getByRole("button", { name: "Start a drain…" }).click();
    await page.getByRole("button", { name: "Start the drain" }).click();
    await shows(page, "#drain-state", "drained");
    await shows(page, "#drain-facts", /Subscribers left0Sent away1/);
    assert.equal(await page.getAttribute("#drain-progress", "value"), "1");
    await page.getByRole("button", { name: "Take back" }).click();
    await shows(page, "#drain-state", "running, no drain");
    await until(
      async () => (await hub.metric("fanfare_subscribers")) === 1, "it is back", 20_000);
    assert.deepEqual(problems, []);
  });

  it("comes back when the hub was killed and started again", async (t) => {
    const hub = await Hub.start(t);
    for (const n of numbers(0, 10)) await hub.publish("news", `before ${n}`);
    const { page } = await open(t, browser, hub, "/#/channels/news");
    await tailed(page, 10);
    await hub.kill();
    await hasFeed(page, "connecting");
    await shows(page, "#feed-detail", /^figures of \d\d:\d\d:\d\d$/);
    await shows(page, "#channel-problem", "The hub did not answer.");
    await hub.again();
    await hub.publish("news", "after");
    await hasFeed(page, "live");
    await until(async () => (await tail(page))[0].data === "after", "the tail goes on", 20_000);
    await hub.publish("news", "live again");
    await until(async () => (await tail(page))[0].data === "live again", "it is live again");
    assert.match((await tail(page))[0].time, /^\d\d:\d\d:\d\d$/);
    assert.ok((await tail(page)).some(({ kind }) => kind === "gap"), "the gap is told");
    await page.getByRole("link", { name: "Fanfare console" }).click();
    await shows(page, "#identity", /running$/);
  });

  it("works in more tabs than a browser has connections to a host", async (t) => {
    const hub = await Hub.start(t);
    await hub.publish("news", "the first");
    const many = await Browser.start(t);
    const feedOf = (tab) => tab.evaluate(() => document.querySelector("#feed").dataset.state);
    const newestOf = (tab) =>
      tab.evaluate(() => document.querySelector("#tail .data")?.textContent);
    const tabs = [];
    for (const at of numbers(0, TABS)) {
      tabs.push(await many.open(`${hub.adminUrl}/#/channels/news`));
      await until(async () => (await feedOf(tabs[at])) === "live", `tab ${at} is live`);
      const others = await Promise.all(tabs.slice(0, at).map(feedOf));
      assert.deepEqual(others, Array(at).fill("paused"));
    }
    for (const [at, tab] of tabs.entries()) {
      await tab.front();
      await until(async () => (await feedOf(tab)) === "live", `tab ${at} is live again`);
      await hub.publish("news", `while tab ${at} is shown`);
      const shown = async () => (await newestOf(tab)) === `while tab ${at} is shown`;
      await until(shown, `tab ${at} shows it`);
      assert.deepEqual(tab.problems, []);
    }
    // Only the tab in front subscribes.
    await until(async () => (await hub.metric("fanfare_subscribers")) === 1, "one tail is left");
  });

  it("looks as the screenshots show, in light, in dark and on a phone", async (t) => {
    const hub = await Hub.start(t);
    await publishLines(hub, numbers(0, 200).flatMap((n) => [
      { channel: `orders/${n}`, data: { order: n, state: "packed" } },
      { channel: "news", data: `Item ${n}`, event: n % 3 ? "headline" : "price" },
    ]));
    await publishLines(hub, [{ channel: "wide".repeat(60), data: "wide".repeat(400) }]);
    const { page, problems } = await open(t, browser, hub);
    const folder = process.env.SCREENSHOTS;
    await mkdir(folder, { recursive: true });
    await page.emulateMedia({ reducedMotion: "reduce" });
    for (const [name, colorScheme, width, height] of [
      ["light", "light", 1280, 900],
      ["dark", "dark", 1280, 900],
      ["phone", "light", 390, 844],
    ]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      for (const view of VIEWS) {
        await page.goto(`${hub.adminUrl}/#/${view}`);
        await page.locator("main > section:visible h1").waitFor();
        if (view.startsWith("channels/")) await tailed(page, 1);
        const wide = await page.evaluate(() => document.scrollingElement.scrollWidth);
        assert.ok(wide <= width, `${view || "overview"}, ${name}: ${wide} px in ${width}`);
        const cut = await page.locator(".flush:visible").evaluateAll((cards) =>
          cards.filter((card) => card.scrollWidth > card.clientWidth).length);
        assert.equal(cut, 0, `${view}, ${name}: no table is wider than its card`);
        if (view.includes("wide")) continue;
        const file = `console-${view.replace("/", "-") || "overview"}-${name}.png`;
        await page.screenshot({ path: join(folder, file), fullPage: true });
      }
    }
    assert.deepEqual(problems, []);
  });
});

const VIEWS = [
  "", "channels", "channels/news", `channels/${"wide".repeat(60)}`, "workers", "limits", "drain",
];

// Opens the console and waits until it is fed. `problems` collects what the browser complains of,
// violations of the page's policy included.
async function open(t, browser, hub, path = "/") {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const problems = [];
  page.on("console", (told) => {
    if (["error", "warning", "assert"].includes(told.type())) problems.push(told.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(hub.adminUrl + path);
  await hasFeed(page, "live");
  return { page, problems };
}

function hasFeed(page, state) {
  return until(
    async () => (await page.getAttribute("#feed", "data-state")) === state, `the feed is ${state}`,
    20_000);
}

function shows(page, selector, expected) {
  let text = "";
  return until(async () => {
    [text = ""] = await page.locator(selector).allTextContents();
    return expected instanceof RegExp ? expected.test(text) : text === expected;
  }, `${selector} shows ${expected}`).catch((error) => {
    throw new Error(`${error.message}, but: ${text}`);
  });
}

/** Publishes events, each of which names its channel. */
async function publishLines(hub, lines) {
  const answer = await fetch(`${hub.url}/events`, {
    method: "POST",
    headers: { "Content-Type": "application/x-ndjson" },
    body: lines.map((line) => JSON.stringify(line)).join("\n"),
  });
  assert.equal(answer.status, 200, await answer.text());
}

const numbers = (begin, end) => Array.from({ length: end - begin }, (_, at) => begin + at);

// A chart of the overview by its title.
const chartOf = (page, title) =>
  page.locator("#charts .chart", { has: page.getByRole("heading", { name: title, exact: true }) });

const valueOf = (page, title) => chartOf(page, title).locator(".value").textContent();

// The heights of a chart's points, of 100.
async function heights(page, title) {
  const path = await chartOf(page, title).locator(".curve").getAttribute("d");
  return new Set([...path.matchAll(/ (\d+\.?\d*)/g)].map(([, y]) => 100 - Number(y)));
}

const listed = (page) => page.locator("#channels-rows a").allTextContents();

const firstIs = (page, channel) =>
  until(async () => (await listed(page))[0] === channel, `the list begins with ${channel}`);

const elements = (page) => page.evaluate(() => document.querySelectorAll("*").length);

// What the tail shows, newest first.
function tail(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("#tail li")].map((row) => ({
      kind: row.dataset.kind,
      type: row.querySelector(".type").textContent,
      id: row.querySelector(".id").textContent,
      time: row.querySelector("time").textContent,
      data: row.querySelector(".data").textContent,
    })));
}

// The same, once there are at least `count` events.
function tailed(page, count) {
  return until(async () => {
    const rows = await tail(page);
    return rows.length >= count && rows;
  }, `${count} events are shown`);
}

const focused = (page) => page.evaluate(() => document.activeElement.id);

// Presses the tabulator until it has reached an element.
async function tabTo(page, id) {
  for (let pressed = 0; pressed < 100; pressed += 1) {
    if ((await focused(page)) === id) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`no way by keyboard to ${id}`);
}
