// curl against the hub: what the two commands of the README show, and the wire byte for byte.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, it } from "node:test";
import { Hub, until } from "./hub.mjs";

const CURL_OK = 0;

describe("curl", { concurrency: true }, () => {
  it("sees a heartbeat first, then fanfare.open, then events, byte for byte", async (t) => {
    const hub = await Hub.start(t);
    const curl = new Curl(t, "-i", `${hub.url}/channels/news`);
    await until(() => curl.blocks().length === 1, "fanfare.open arrives");

    const head = curl.head();
    assert.equal(head[0], "HTTP/1.1 200 OK");
    for (const line of [
      "content-type: text/event-stream",
      "cache-control: no-cache, no-store, no-transform",
      "x-accel-buffering: no",
      "x-content-type-options: nosniff",
      "vary: origin",
      "transfer-encoding: chunked",
      "connection: close",
    ]) {
      assert.ok(head.some((told) => told.toLowerCase() === line), `${line} in ${head.join("\n")}`);
    }
    assert.ok(head.some((line) => /^date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/i.test(line)));
    const begins = /^fanfare-last-event-id: (.+)$/im.exec(head.join("\n"))[1];

    const published = [];
    for (const [data, type] of [
      ["hello", ""],
      ["a\nb\r\nc\rd", "tick"],
      ["ends with a line end\n", ""],
      ["", "empty"],
      ["not a line end: \u2028 \u0085 \v \f", ""],
      [" a space first: {\"a\": 1}", "käse"],
    ]) {
      const { id, subscribers } = await hub.publish("news", data, type ? { event: type } : {});
      assert.equal(subscribers, 1);
      const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`).join("");
      published.push(`id: ${id}\n${type && `event: ${type}\n`}${lines}\n`);
    }
    const open = `id: ${begins}\nevent: fanfare.open\ndata: {"channels":["news"]}\n\n`;
    const expected = `:\n${open}${published.join("")}`;
    await until(() => curl.body().length >= expected.length, "all bytes arrive");
    assert.equal(curl.body(), expected);
  });

  it("resumes by Last-Event-ID exactly", async (t) => {
    const hub = await Hub.start(t);
    const ids = [];
    for (const data of ["1", "2", "3", "4", "5"]) ids.push((await hub.publish("news", data)).id);
    const curl = new Curl(t, "-H", `Last-Event-ID: ${ids[1]}`, `${hub.url}/channels/news`);
    await until(() => curl.blocks().length === 4, "the replay arrives");
    ids.push((await hub.publish("news", "6")).id);
    await until(() => curl.blocks().length === 5, "the live event arrives");
    const [open, ...events] = curl.blocks();
    assert.equal(open, `id: ${ids[1]}\nevent: fanfare.open\ndata: {"channels":["news"]}`);
    const after = ["3", "4", "5", "6"];
    assert.deepEqual(events, after.map((data) => `id: ${ids[data - 1]}\ndata: ${data}`));
  });

  it("sees heartbeats of two bytes, without an empty line", async (t) => {
    const hub = await Hub.start(t);
    const { id } = await hub.publish("news", "before");
    const curl = new Curl(t, `${hub.url}/channels/news?last=1&heartbeat=1`);
    await until(() => curl.body().endsWith("\n\n:\n:\n"), "two heartbeats arrive");
    await hub.publish("news", "after");
    await until(() => curl.body().includes("after\n\n"), "the next event arrives");
    const rest = curl.body().slice(curl.body().indexOf(`id: ${id}\ndata:`));
    assert.match(rest, /^id: \S+\ndata: before\n\n(:\n){2,}id: \S+\ndata: after\n\n$/);
  });

  it("sees the end of a closed channel, each subscriber with a retry of its own", async (t) => {
    const hub = await Hub.start(t);
    const curls = Array.from({ length: 4 }, () => new Curl(t, `${hub.url}/channels/job`));
    await until(() => curls.every((curl) => curl.blocks().length === 1), "all are subscribed");
    const { id } = await hub.publish("job", "result", { close: "error" });
    const retries = [];
    for (const curl of curls) {
      assert.equal(await curl.exit, CURL_OK);
      const [, event, end] = curl.blocks();
      assert.equal(event, `id: ${id}\ndata: result`);
      const lines = end.split("\n");
      const retry = lines.find((line) => line.startsWith("retry: "));
      retries.push(Number(retry?.slice("retry: ".length)));
      // The end has a place of its own, after the event that it came with.
      assert.deepEqual(lines.filter((line) => line !== retry), [
        `id: ${next(id)}`, "event: fanfare.end", 'data: {"channels":["job"],"reason":"error"}',
      ]);
    }
    assert.ok(retries.every((ms) => ms >= 5000 && ms <= 60_000), `retries of ${retries} ms`);
    assert.ok(new Set(retries).size > 1, `retries of ${retries} ms`);

    const again = new Curl(t, "-w", "%{http_code}", "-H", `Last-Event-ID: ${id}`,
      `${hub.url}/channels/job`);
    assert.equal(await again.exit, CURL_OK);
    assert.equal(again.output(), "204");
  });
});

// The id after another.
function next(id) {
  const [epoch, seq] = id.split("-");
  return `${epoch}-${Number(seq) + 1}`;
}

// A running `curl -N`, killed when the test ends.
class Curl {
  constructor(t, ...args) {
    const child = spawn("curl", ["-sN", ...args], { stdio: ["ignore", "pipe", "inherit"] });
    t.after(() => child.kill());
    child.stdout.on("data", (bytes) => (this.#bytes = Buffer.concat([this.#bytes, bytes])));
    this.exit = new Promise((resolve) => child.on("close", resolve));
  }

  output() {
    return this.#bytes.toString("utf8");
  }

  // The lines of the head that `-i` shows.
  head() {
    return this.output().split("\r\n\r\n")[0].split("\r\n");
  }

  body() {
    const output = this.output();
    return output.startsWith("HTTP/") ? output.slice(output.indexOf("\r\n\r\n") + 4) : output;
  }

  // The whole event blocks so far, without heartbeats.
  blocks() {
    return this.body().replaceAll(/^:\n/gm, "").split("\n\n").slice(0, -1);
  }

  #bytes = Buffer.alloc(0);
}
