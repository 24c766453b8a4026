// The page in Chromium, from Vite's development server and as it is built, with the real load.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Proxy } from "../../crates/fanfare/tests/clients/proxy.mjs";
import { freePort, Hub, launchChromium, screenshot, start, until } from "../tests/support.mjs";

const cwd = import.meta.dirname;
const VITE = join(cwd, "node_modules/vite/bin/vite.js");
const TSC = join(cwd, "node_modules/typescript/bin/tsc");

describe("the page of the load", () => {
  let browser;
  before(async () => {
    for (const command of [[TSC], [VITE, "build", "--logLevel", "warn"]]) {
      execFileSync(process.execPath, command, { cwd, stdio: "inherit" });
    }
    browser = await launchChromium();
  });
  after(() => browser.close());

  // A hub, a server of the page in front of it, and the page.
  async function open(t, command) {
    const hub = await Hub.start(t);
    const proxy = await Proxy.start(t, hub);
    const env = { FANFARE_URL: proxy.url };
    const port = await freePort();
    const serve = [process.execPath, VITE, ...command, "--host", "127.0.0.1", "--port", port];
    await start(t, [...serve, "--strictPort"], { ready: /Local:/, env, cwd });
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.goto(`http://127.0.0.1:${port}/`);
    const publisher = () => {
      const env = { FANFARE_URL: hub.url };
      return start(t, [process.execPath, "publish-load.mjs"], { ready: /^/, env, cwd });
    };
    return { hub, proxy, page, problems, publisher };
  }

  it("moves with the real load, also where its connection is cut", async (t) => {
    const { hub, proxy, page, problems, publisher } = await open(t, ["preview"]);
    await isState(page, "Live");
    await publisher();
    const line = await moves(page, "");
    const [sample] = (await events(hub)).slice(-1);
    assert.ok(sample.load >= 0 && sample.busy >= 0 && sample.busy <= 100, JSON.stringify(sample));
    assert.ok(sample.cores.every((busy) => busy >= 0 && busy <= 100), JSON.stringify(sample));

    proxy.cut();
    await until(() => proxy.requests.length > 1 && proxy.requests.at(-1).lastEventId, "it is back");
    await isState(page, "Live");
    await moves(page, line);
    const shown = await until(async () => {
      const ids = await rows(page);
      return ids.length >= 4 && ids;
    }, "rows are shown");
    const published = (await events(hub)).map(({ id }) => id);
    // Each event once and in order, those from around the cut as well.
    const first = published.indexOf(shown.at(-1));
    assert.deepEqual(shown.toReversed(), published.slice(first, first + shown.length));
    assert.deepEqual(problems, []);
  });

  it("comes back when the hub was away, and shows where events are missing", async (t) => {
    const { hub, page, problems, publisher } = await open(t, ["preview"]);
    await isState(page, "Live");
    await publisher();
    await moves(page, "");
    await hub.kill();
    await isState(page, "Connecting");
    await hub.again();
    await isState(page, "Live");
    await until(async () => (await page.locator(".feed .gap").count()) === 1, "the gap is shown");
    const { line } = await chart(page);
    await moves(page, line);
    assert.deepEqual(problems, []);
  });

  it("shows each event once under StrictMode, whose effects run twice", async (t) => {
    const { hub, page, problems } = await open(t, ["dev"]);
    await isState(page, "Live");
    await publish(hub, 20);
    await until(async () => (await rows(page)).length === 12, "the feed is full");
    assert.equal(new Set(await rows(page)).size, 12);
    await until(async () => (await hub.metric("fanfare_subscribers")) === 1, "one is left");
    assert.deepEqual(problems, []);
  });

  it("looks as the screenshots show", async (t) => {
    const { hub, page } = await open(t, ["preview"]);
    await publish(hub, 120);
    await until(async () => (await rows(page)).length === 12, "the feed is full");
    for (const [name, colorScheme, width, height] of [
      ["react-light", "light", 1280, 900],
      ["react-dark", "dark", 1280, 900],
      ["react-phone", "light", 390, 844],
    ]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${name}: ${wide} px in ${width}`);
      await screenshot(page, name);
    }
  });
});

const isState = (page, text) =>
  until(async () => (await page.locator(".state").textContent()) === text, text, 20_000);

const chart = (page) =>
  page.evaluate(() => ({
    line: document.querySelector(".chart .line").getAttribute("d"),
    value: document.querySelector(".chart output").textContent,
  }));

// Waits until the line is another one, of several points, and returns it.
async function moves(page, before) {
  const { line, value } = await until(async () => {
    const now = await chart(page);
    return now.line !== before && now.line.includes("L") && now;
  }, "the chart moves", 15_000);
  assert.match(value, /^\d+ %$/);
  return line;
}

// The ids that the feed shows, newest first.
const rows = (page) => page.locator(".feed li:not(.gap) code").allTextContents();

// What the hub has of the channel.
async function events(hub) {
  const headers = { Accept: "application/json" };
  const answer = await fetch(`${hub.url}/channels/machine/load?last=100`, { headers });
  return (await answer.json()).events.map(({ id, data }) => ({ id, ...JSON.parse(data) }));
}

// Publishes as many samples that look like a machine at work.
async function publish(hub, count) {
  const now = Date.now();
  for (let at = 0; at < count; at += 1) {
    const wave = (slow) => 45 + 30 * Math.sin(at / slow) + 12 * Math.sin(at * 1.7 + slow);
    const cores = [wave(14), wave(9)].map((busy) => Math.round(busy * 10) / 10);
    const sample = {
      at: now - 1000 * (count - at), busy: (cores[0] + cores[1]) / 2, cores,
      load: 0.9 + 0.7 * Math.sin(at / 30),
    };
    await hub.publish("machine/load", JSON.stringify(sample), { event: "sample" });
  }
}
