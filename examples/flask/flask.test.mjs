// The page of the app in Chromium.

import assert from "node:assert/strict";
import { it } from "node:test";
import { Proxy } from "../../crates/fanfare/tests/clients/proxy.mjs";
import { Hub, launchChromium, screenshot, start, until } from "../tests/support.mjs";

it("shows what the app announces, also after its connection was cut", async (t) => {
  const hub = await Hub.start(t);
  const proxy = await Proxy.start(t, hub);
  const env = { FANFARE_URL: hub.url, FANFARE_PUBLIC_URL: proxy.url };
  const serve = ["python", "-m", "flask", "run", "--port", "0"];
  const app = await start(t, serve, {
    ready: /Running on (http:\S+)/, env, cwd: import.meta.dirname,
  });
  const browser = await launchChromium();
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 720, height: 480 } });
  await page.goto(app.ready[1]);
  await until(async () => (await hub.metric("fanfare_subscribers")) === 1, "the page reads");

  const messages = () => page.locator("#messages li").allTextContents();
  const sees = (count) =>
    until(async () => (await messages()).length >= count, `${count} messages are shown`);
  await page.click("#ping");
  await sees(1);
  proxy.cut();
  for (let at = 0; at < 3; at += 1) await page.click("#ping");
  await sees(4);
  await page.click("#job");
  const value = () => page.locator("#progress").evaluate((bar) => bar.value);
  await until(async () => (await value()) > 0, "the job has begun");
  assert.ok((await value()) < 100, "its progress is told while it goes on");
  await until(async () => (await value()) === 100, "the job is done");

  const shown = await messages();
  assert.equal(shown.length, 4);
  assert.equal(new Set(shown).size, 4, shown.join());
  assert.ok(shown.every((text) => /^pong \([a-z0-9]+-\d+\)$/.test(text)), shown.join());
  assert.ok(proxy.cuts >= 1 && proxy.requests.at(-1).lastEventId, "it came back with an id");
  await screenshot(page, "flask");
});
