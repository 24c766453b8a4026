// What holds for each client of examples/: short, exact when it is cut again and again, told of a
// gap, and stopped at the end.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { Hub, numbered, until } from "../../crates/fanfare/tests/clients/hub.mjs";
import { Proxy } from "../../crates/fanfare/tests/clients/proxy.mjs";

const LINES_MAX = 39;

/** Tests the client in `folder`, whose code is in `source`, and which `command` starts. */
export function testClient(folder, source, command) {
  const start = (t, url) => new Client(t, folder, command, url);

  describe(`${basename(folder)}`, { concurrency: true }, () => {
    it("is under 40 lines", async () => {
      const lines = (await readFile(join(folder, source), "utf8")).trimEnd().split("\n");
      assert.ok(lines.length <= LINES_MAX, `${lines.length} lines`);
    });

    it("loses and repeats nothing when it is cut, and stops at the end", async (t) => {
      const hub = await Hub.start(t);
      const proxy = await Proxy.start(t, hub);
      const client = start(t, `${proxy.url}/channels/news`);
      await until(async () => (await hub.metric("fanfare_subscribers")) > 0, "it subscribes");

      proxy.cutting = true;
      proxy.cut();
      let expected = "";
      for (const text of numbered(EVENTS)) {
        // The publisher stays near, so that the cuts are spread over live delivery and replay.
        const ahead = expected.length - CHARS_AHEAD_MAX;
        await until(() => client.output.length >= ahead, `${text} may be published`, DEADLINE_MS);
        await hub.publish("news", text);
        expected += `${text}\n`;
      }
      await until(() => client.output.length >= expected.length, "all arrives", DEADLINE_MS);
      proxy.cutting = false;
      proxy.cut(); // The last stream would be cut, too, perhaps between the last event and the end.
      await hub.publish("news", "the last", { close: "error" });

      assert.equal(await client.exit, 0, client.errors);
      assert.equal(client.output, `${expected}the last\n`);
      assert.match(client.errors, /fanfare\.end \{.*"error".*\}\s*$/);
      assert.doesNotMatch(client.errors, /fanfare\.gap/);
      assert.ok(proxy.cuts >= CUTS_MIN, `only ${proxy.cuts} cuts`);
    });

    it("tells of a gap, and goes on", async (t) => {
      const hub = await Hub.start(t);
      const proxy = await Proxy.start(t, hub);
      const client = start(t, `${proxy.url}/channels/news`);
      await until(async () => (await hub.metric("fanfare_subscribers")) > 0, "it subscribes");
      await hub.publish("news", "before");
      await until(() => client.output === "before\n", "the event before arrives");
      await hub.restart();
      await until(() => /fanfare\.gap \{.*"epoch".*\}/.test(client.errors), "the gap", DEADLINE_MS);
      await hub.publish("news", "after", { close: "done" });
      assert.equal(await client.exit, 0, client.errors);
      assert.equal(client.output, "before\nafter\n");
    });

    it("stops if the channel ended while it was away", async (t) => {
      const hub = await Hub.start(t);
      const { id } = await hub.publish("news", "all of it", { close: "done" });
      const client = start(t, `${hub.url}/channels/news?last_event_id=${id}`);
      assert.equal(await client.exit, 0, client.errors);
      assert.equal(client.output, "");
    });

    it("says why if it is refused", async (t) => {
      const hub = await Hub.start(t);
      const client = start(t, `${hub.url}/channels/a//b`);
      assert.notEqual(await client.exit, 0);
      assert.match(client.errors, /400/);
    });
  });
}

const EVENTS = 300;
// Some 50 events.
const CHARS_AHEAD_MAX = 2000;
const CUTS_MIN = 10;
// Some clients wait longer from cut to cut.
const DEADLINE_MS = 30_000;

// A running example. What it says is `output`; gaps, the end and its complaints are `errors`.
class Client {
  output = "";
  errors = "";

  constructor(t, cwd, [program, ...args], url) {
    const child = spawn(program, [...args, url], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    const kill = () => child.kill("SIGKILL");
    process.on("exit", kill);
    t.after(() => {
      process.off("exit", kill);
      kill();
    });
    child.stdout.setEncoding("utf8").on("data", (text) => (this.output += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (this.errors += text));
    this.exit = once(child, "close").then(([code]) => code);
  }
}
