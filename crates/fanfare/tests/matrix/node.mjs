// The clients for Node, and curl. A line of standard input, `NUMBER<tab>CLIENT<tab>URL`,
// subscribes; a line of JSON on standard output says what the subscription's program is told.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { EventSource as NpmEventSource } from "eventsource";
import { createParser } from "eventsource-parser";
import { withEventSource } from "./eventsources.mjs";

// How long a program waits until it subscribes again by hand.
const WAIT_MS = 200;

// Subscribes by hand: `read` feeds the parser with one answer, and says if it is the last.
const byHand = (read) => async ({ url, event, again, over }) => {
  for (let lastEventId = ""; ; await delay(WAIT_MS)) {
    const parser = createParser({
      onEvent: ({ event: type = "message", data, id }) => {
        lastEventId = id ?? lastEventId;
        event(type, data, id);
      },
    });
    try {
      const last = await read(url, lastEventId, parser);
      if (last) return over(last);
      again("the stream ends");
    } catch (error) {
      again(error.message);
    }
  }
};

const withFetch = byHand(async (url, lastEventId, parser) => {
  const answer = await fetch(url, { headers: { "Last-Event-ID": lastEventId } });
  if (answer.status === 204) return "204";
  const texts = answer.body.pipeThrough(new TextDecoderStream());
  for await (const text of texts) parser.feed(text);
});

// The output is parsed only so that it can be compared.
const withCurl = byHand(async (url, lastEventId, parser) => {
  const shown = "%{stderr}%{http_code}";
  const id = lastEventId ? ["-H", `Last-Event-ID: ${lastEventId}`] : [];
  const curl = spawn("curl", ["-sN", "-w", shown, ...id, url]);
  let status = "";
  curl.stderr.on("data", (text) => (status += text));
  curl.stdout.setEncoding("utf8").on("data", (text) => parser.feed(text));
  const [code] = await new Promise((closed) => curl.on("close", (...end) => closed(end)));
  if (status === "204") return "204";
  if (code !== 0) throw new Error(`curl exits with ${code}`);
});

const CLIENTS = {
  undici: withEventSource(globalThis.EventSource),
  eventsource: withEventSource(NpmEventSource),
  "eventsource-parser": withFetch,
  curl: withCurl,
};

console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const [at, client, url] = line.split("\t");
  const say = (what) => console.log(JSON.stringify({ at, ...what }));
  CLIENTS[client]({
    url,
    event: (type, data, id) => say({ type, data, id }),
    again: (why) => say({ again: why }),
    over: (why) => say({ over: why }),
  });
}
