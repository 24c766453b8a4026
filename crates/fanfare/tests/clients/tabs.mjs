// Chromium with real tabs, over its DevTools protocol. Playwright tells every page that it is
// visible (focus emulation, which cannot be turned off); here a tab in the background is hidden.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./hub.mjs";

// Debian's Chromium, as root in a container, and without calls home.
export const CHROMIUM_ARGS = [
  "--no-sandbox",
  "--no-first-run",
  "--no-proxy-server",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-dev-shm-usage",
  "--disable-sync",
];

const CLOSES_WITHIN_MS = 5000;

export class Browser {
  /** Starts a browser with a fresh profile, and kills it when the test `t` ends. */
  static async start(t) {
    const profile = await mkdtemp(join(tmpdir(), "fanfare-chromium-"));
    const args = [...CHROMIUM_ARGS, "--headless", "--remote-debugging-port=0"];
    const child = spawn(process.env.CHROMIUM, [...args, `--user-data-dir=${profile}`], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const killed = () => child.kill("SIGKILL");
    process.on("exit", killed);
    let output = "";
    child.stderr.on("data", (text) => (output += text));
    const browser = new Browser();
    t.after(async () => {
      process.off("exit", killed);
      const exited = once(child, "exit");
      // On a busy machine Chromium at times does not answer, nor exit, once a tab was frozen.
      const late = setTimeout(killed, CLOSES_WITHIN_MS);
      browser.#send("Browser.close").catch(killed);
      if (child.exitCode === null && child.signalCode === null) await exited;
      clearTimeout(late);
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    });
    const found = await until(() => /ws:\/\/\S+/.exec(output), "Chromium says where it listens");
    browser.#socket = new WebSocket(found[0]);
    browser.#socket.onmessage = ({ data }) => browser.#receive(JSON.parse(data));
    await once(browser.#socket, "open");
    return browser;
  }

  /** Opens a tab in front of the others. */
  async open(url) {
    const { targetId } = await this.#send("Target.createTarget", { url });
    const attach = { targetId, flatten: true };
    const { sessionId } = await this.#send("Target.attachToTarget", attach);
    const problems = [];
    this.#problems.set(sessionId, problems);
    for (const domain of ["Runtime", "Log"]) await this.#send(`${domain}.enable`, {}, sessionId);
    return {
      /** What the console says that is no mere information. */
      problems,
      front: () => this.#send("Page.bringToFront", {}, sessionId),
      /** Freezes a tab in the background, as phones do, and makes it `active` again. */
      lifecycle: (state) => this.#send("Page.setWebLifecycleState", { state }, sessionId),
      evaluate: async (asked) => {
        const evaluated = { expression: `(${asked})()`, returnByValue: true };
        return (await this.#send("Runtime.evaluate", evaluated, sessionId)).result.value;
      },
    };
  }

  #send(method, params = {}, sessionId = undefined) {
    const id = (this.#asked += 1);
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject, method }));
  }

  #receive({ id, result, error, method, params, sessionId }) {
    if (id) {
      const answer = this.#answers.get(id);
      this.#answers.delete(id);
      if (error) answer.reject(new Error(`${answer.method}: ${error.message}`));
      else answer.resolve(result);
    }
    const bad = ["error", "warning", "assert"];
    const isBad = method === "Runtime.exceptionThrown"
      || (method === "Runtime.consoleAPICalled" && bad.includes(params.type))
      || (method === "Log.entryAdded" && bad.includes(params.entry.level));
    if (isBad) this.#problems.get(sessionId)?.push(JSON.stringify(params));
  }

  #socket;
  #asked = 0;
  #answers = new Map();
  #problems = new Map();
}
