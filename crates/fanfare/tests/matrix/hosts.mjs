// The programs that hold the clients, one for each language, and Chromium; and the subscriptions
// that they make, with all that the program of each is told.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { until } from "../clients/hub.mjs";
import playwright from "../clients/node_modules/playwright-core/index.js";
import { CHROMIUM_ARGS } from "../clients/tabs.mjs";

const HERE = import.meta.dirname;
const TARGET = join(HERE, "../../../../target");

const STARTS_WITHIN_MS = 60_000;

const inMatrix = (path) => join(TARGET, "matrix", path);

const PROGRAMS = {
  go: [join(TARGET, "examples/matrix-go")],
  java: ["java", "-cp", ["java", "jars/*"].map(inMatrix).join(":"), "Clients"],
  node: [process.execPath, "--experimental-eventsource", "node.mjs"],
  python: [join(TARGET, "clients-venv/bin/python"), "python.py"],
  rust: [join(TARGET, "examples/debug/fanfare-matrix")],
};

/** What one client's program is told in one subscription. */
class Subscription {
  /** Each event, as `{type, data, id}`. */
  events = [];
  /** Why the program had to subscribe again by hand, each time. */
  again = [];
  /** Why the client has stopped. */
  over = null;

  take({ type, data, id, again, over }) {
    if (over !== undefined) this.over = over;
    else if (again !== undefined) this.again.push(again);
    else this.events.push({ type, data, id });
  }
}

export class Hosts {
  static async start(t, without) {
    const hosts = new Hosts();
    const starting = [];
    for (const [language, [program, ...args]] of Object.entries(PROGRAMS)) {
      if (language === without) continue;
      const child = spawn(program, args, { cwd: HERE, stdio: ["pipe", "pipe", "pipe"] });
      let errors = "";
      child.stderr.on("data", (text) => (errors = (errors + text).slice(-4000)));
      const kill = () => child.kill("SIGKILL");
      process.on("exit", kill);
      let isExpected = false;
      t.after(() => {
        isExpected = true;
        kill();
      });
      const complain = () => console.error(`the ${language} clients ended:\n${errors}`);
      child.on("exit", () => isExpected || complain());
      child.stdin.on("error", () => {});
      let isReady = false;
      eachLine(child.stdout, (line) => {
        const { ready, ...what } = JSON.parse(line);
        if (ready) isReady = true;
        else hosts.#told(what);
      });
      hosts.#subscribe[language] = (line) => child.stdin.write(`${line.join("\t")}\n`);
      starting.push(until(() => isReady, `the ${language} clients start`, STARTS_WITHIN_MS));
    }
    starting.push(hosts.#startBrowser(t));
    await Promise.all(starting);
    return hosts;
  }

  subscribe({ name, language }, url) {
    const at = String(this.#subscriptions.length);
    const subscription = new Subscription();
    this.#subscriptions.push(subscription);
    this.#subscribe[language]([at, name, url]);
    return subscription;
  }

  async #startBrowser(t) {
    const server = createServer(serve).listen(0, "127.0.0.1");
    await once(server, "listening");
    const executablePath = process.env.CHROMIUM;
    const browser = await playwright.chromium.launch({ executablePath, args: CHROMIUM_ARGS });
    t.after(async () => {
      await browser.close();
      server.closeAllConnections();
      server.close();
    });
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(`the page: ${error}`));
    await page.exposeFunction("told", (what) => this.#told(what));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForFunction("globalThis.subscribe");
    this.#subscribe.browser = (command) =>
      page.evaluate((of) => void globalThis.subscribe(...of), command);
  }

  #told({ at, ...what }) {
    this.#subscriptions[at].take(what);
  }

  #subscribe = {};
  #subscriptions = [];
}

// Node's readline ends lines at U+2028, too.
function eachLine(stream, told) {
  let rest = "";
  stream.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    lines.forEach(told);
  });
}

const PAGE = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:">
<script src="/npm/event-source-polyfill/src/eventsource.js"></script>
<script type="module" src="/page.mjs"></script>`;

// The page, its scripts, and files of packages, which leave out `.js` where they import.
async function serve(request, response) {
  if (request.url === "/") {
    response.setHeader("Content-Type", "text/html");
    return response.end(PAGE);
  }
  const path = join(HERE, request.url.replace(/^\/npm\//, "/node_modules/"));
  const text = await readFile(path).catch(() => readFile(`${path}.js`)).catch(() => null);
  response.writeHead(text ? 200 : 404, { "Content-Type": "text/javascript" });
  response.end(text ?? "");
}
