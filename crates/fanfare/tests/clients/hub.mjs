// Starts and kills hubs for the tests, publishes to them, and waits for conditions with a deadline.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";

const LISTENS_WITHIN_MS = 10_000;

export const CONTROL_TYPES = ["fanfare.open", "fanfare.gap", "fanfare.end", "fanfare.reconnect"];

/** The sequence number in an event id. */
export const seqOf = (id) => Number(id.slice(id.lastIndexOf("-") + 1));

/** Asserts that ids rise strictly: no event is out of order, none comes twice. */
export function assertRising(ids) {
  ids.forEach((id, at) => at && assert.ok(seqOf(ids[at - 1]) < seqOf(id), `${ids[at - 1]}, ${id}`));
}

/** As many different data: two lines each, and characters of several bytes. */
export function numbered(count) {
  return Array.from({ length: count }, (_, at) => `${at}: käse 🧀\nsecond line of ${at}`);
}

/** Waits until `condition` gives something true, and returns that. */
export async function until(condition, what, ms = 10_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const met = await condition();
    if (met) return met;
    if (Date.now() > deadline) assert.fail(`not within ${ms} ms: ${what}`);
    await delay(10);
  }
}

/** A hub in a process of its own. */
export class Hub {
  /** Starts a hub on ports that are free, and kills it when the test `t` ends. */
  static async start(t, settings = []) {
    const hub = new Hub();
    hub.#settings = settings;
    t.after(() => hub.kill());
    await hub.#spawn();
    return hub;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Where operators ask. */
  get adminUrl() {
    return `http://127.0.0.1:${this.adminPort}`;
  }

  /** Kills the process as a crash would, and waits until it is gone. */
  async kill() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    this.#expectedEnd = true;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** Lets the hub drain, and waits until it has exited. */
  async drain() {
    const child = this.#child;
    this.#expectedEnd = true;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    const [code] = await exited;
    assert.equal(code, 0, "the hub's exit status after its drain");
  }

  /** Starts the hub, which has ended, again on the same ports. */
  async again() {
    await this.#spawn(this.port, this.adminPort);
  }

  /** A sample of the hub's metrics, all its labels added up. */
  async metric(name) {
    const text = await (await fetch(`${this.adminUrl}/metrics`)).text();
    const samples = text.split("\n").filter((line) => /^\w+/.exec(line)?.[0] === name);
    assert.notEqual(samples.length, 0, `the hub has a metric ${name}`);
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }

  /** Kills the hub and starts it again on the same ports. */
  async restart() {
    await this.kill();
    await this.again();
  }

  /** Publishes one event, closes the channel if `query` says so, and returns the hub's answer. */
  async publish(channel, data, query = {}) {
    const url = `${this.url}/channels/${channel}?${new URLSearchParams(query)}`;
    const answer = await fetch(url, { method: "POST", body: data });
    const text = await answer.text();
    assert.equal(answer.status, 200, `publish to ${channel}: ${text}`);
    return JSON.parse(text);
  }

  async #spawn(port = 0, adminPort = 0) {
    const { FANFARE_BIN, ...env } = process.env;
    assert.ok(FANFARE_BIN, "FANFARE_BIN names the hub's binary");
    const listen = ["--listen", `127.0.0.1:${port}`, "--admin-listen", `127.0.0.1:${adminPort}`];
    const args = ["serve", ...listen, ...this.#settings];
    const child = spawn(FANFARE_BIN, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.#expectedEnd = false;
    running.add(child);
    let output = "";
    child.stdout.on("data", (text) => (output += text));
    child.stderr.on("data", (text) => (output = (output + text).slice(-OUTPUT_CHARS_MAX)));
    child.on("exit", (code, signal) => {
      running.delete(child);
      if (!this.#expectedEnd) console.error(`the hub ended: ${code ?? signal}\n${output}`);
    });
    const found = await until(
      () => /^ +hub +http:\/\/127\.0\.0\.1:(\d+)$/m.exec(output) ?? child.exitCode !== null,
      "the hub says where it listens",
      LISTENS_WITHIN_MS,
    );
    assert.ok(found[1], `the hub did not start:\n${output}`);
    this.port = Number(found[1]);
    this.adminPort = Number(/^ +admin +http:\/\/127\.0\.0\.1:(\d+)$/m.exec(output)?.[1]);
  }

  #settings = [];
  #child = null;
  #expectedEnd = false;
}

const OUTPUT_CHARS_MAX = 20_000;
const running = new Set();

// Whatever ends the tests, no hub outlives them. The runner ends a file that hangs by SIGTERM.
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(1));
