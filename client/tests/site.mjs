// A site whose pages use the client module: what a tab of it does, and what it has got.

import { createServer, get } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

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

/** What a tab was told: all, or the values of one kind. */
export async function told(page, kind) {
  const got = await page.evaluate(() => window.got);
  return kind ? got.filter(([what]) => what === kind).map(([, value]) => value) : got;
}

/** The data of the events that a tab was given. */
export const dataOf = async (page) => (await told(page, "event")).map(({ data }) => data);
