// A site whose pages use the client module: what a tab of it does, and what it has got.

import assert from "node:assert/strict";
import { createServer, get } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before } from "node:test";
import { Hub, until } from "../../crates/fanfare/tests/clients/hub.mjs";
import { Proxy } from "../../crates/fanfare/tests/clients/proxy.mjs";
import { CHROMIUM_ARGS } from "../../crates/fanfare/tests/clients/tabs.mjs";
import playwright from "../../crates/fanfare/tests/clients/node_modules/playwright-core/index.js";

const MODULE = join(import.meta.dirname, "../dist/fanfare.js");

export class Site {
  /** What `/stream` answers: a status, or 0 for what `target` answers. */
  status = 0;
  target = "";
  /** While this is set, `/hang` is not answered. */
  hangs = null;
  /** How often `/stream` was asked for. */
  asked = 0;

  /** Starts the site, and stops it when the test `t` ends. */
  static async start(t) {
    const site = new Site();
    site.#server = createServer((request, answer) => site.#answer(request, answer));
    site.#server.listen(0, "127.0.0.1");
    await once(site.#server, "listening");
    t.after(() => {
      site.#server.close();
      site.#server.closeAllConnections();
    });
    return site;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  async #answer({ url, headers }, answer) {
    const path = new URL(url, this.url);
    if (path.pathname === "/fanfare.js") {
      answer.setHeader("Content-Type", "text/javascript");
      answer.setHeader("Access-Control-Allow-Origin", "*").end(await readFile(MODULE));
    } else if (path.pathname === "/hang") {
      await this.hangs;
      answer.end();
    } else if (path.pathname === "/stream") {
      this.asked += 1;
      if (this.status) answer.writeHead(this.status).end();
      else this.#relay(path.search, headers, answer);
    } else {
      answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>A tab</title>");
    }
  }

  #relay(search, headers, answer) {
    const { host, ...rest } = headers;
    const asked = get(this.target + search, { headers: rest }, (from) => {
      answer.writeHead(from.statusCode, from.headers);
      from.on("error", () => answer.destroy()).pipe(answer);
    });
    asked.on("error", () => answer.writeHead(502).end());
    answer.on("close", () => asked.destroy());
  }

  #server;
}

let chromium;

/** Starts Chromium before the tests of a suite, and ends it after them. */
export function useChromium() {
  before(async () => {
    const executablePath = process.env.CHROMIUM;
    chromium = await playwright.chromium.launch({ executablePath, args: CHROMIUM_ARGS });
  });
  after(() => chromium.close());
}

/** A hub, a site, and `count` tabs that have subscribed to `path` one after the other. */
export async function begin(t, given = {}) {
  const { count = 3, path = "/channels/news", options, proxied, settings, init } = given;
  const hub = await Hub.start(t, settings);
  const proxy = proxied && await Proxy.start(t, hub);
  const site = await Site.start(t);
  const context = await chromium.newContext();
  t.after(() => context.close());
  if (init) await context.addInitScript(init);
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

/** Opens a tab of the site. */
export async function openTab(context, site) {
  const page = await context.newPage();
  await page.goto(site.url);
  return page;
}

/** Subscribes in a tab with the module; `window.got` has all that its callbacks were told. */
export async function subscribe(page, url, { types = ["message"], ...options } = {}) {
  await page.evaluate(async ([url, types, options]) => {
    const { connect } = await import("/fanfare.js");
    window.got = [];
    const told = (what) => (value) => got.push([what, value]);
    const on = Object.fromEntries(types.map((type) => [type, told("event")]));
    const callbacks = { onGap: told("gap"), onEnd: told("end"), onState: told("state") };
    window.stream = connect(url, { on, ...callbacks, ...options });
  }, [url, types, options]);
}

/** The texts of the numbers from `from`, up to but not with `to`. */
export const numbers = (from, to) => Array.from({ length: to - from }, (_, at) => `${from + at}`);

/** What a tab was told: all, or the values of one kind. */
export async function told(page, kind) {
  const got = await page.evaluate(() => window.got);
  return kind ? got.filter(([what]) => what === kind).map(([, value]) => value) : got;
}

/** The data of the events that a tab was given. */
export const dataOf = async (page) => (await told(page, "event")).map(({ data }) => data);

/** What the module says of the connection. */
export const stateOf = (page) => page.evaluate(() => stream.state);

/** How many subscriptions the hub has. */
export const subscribers = (hub) => hub.metric("fanfare_subscribers");

/** Waits until a tab was given as many events, and asserts that they are these. */
export async function gets(page, data) {
  const met = async () => (await dataOf(page)).length >= data.length;
  await until(met, `${data.length} events`, 20_000);
  assert.deepEqual(await dataOf(page), data);
}
