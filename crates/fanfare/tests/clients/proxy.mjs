// A TCP proxy between a client and the hub that cuts event streams anywhere, even inside an event.
//
// It does not cut inside the head of an answer, which is one small write: Chromium takes a head
// that ends early for a whole one, finds no content type, and gives the subscription up for good.

import { randomInt } from "node:crypto";
import { connect, createServer } from "node:net";
import { once } from "node:events";

// Clients wait 3 s before they reconnect. The proxy puts this line in front of each event stream,
// a chunk of its own, so that a test can cut dozens of times. All else passes as it is.
const RETRY_CHUNK = Buffer.from("a\r\nretry: 20\n\r\n");

// Enough for some events on the average, and now and then too little for the first.
const STREAM_BYTES_MAX = 2500;

export class Proxy {
  /** The requests that clients made: method, path and, if it was there, the last event id. */
  requests = [];
  /** How many event streams were cut so far. */
  cuts = 0;
  /** While this is set, each new event stream is cut after a random number of bytes. */
  cutting = false;

  /** Starts a proxy to the hub, and stops it when the test `t` ends. PROXY_SEED fixes the cuts. */
  static async start(t, hub) {
    const proxy = new Proxy();
    const seed = Number(process.env.PROXY_SEED ?? randomInt(2 ** 31));
    t.diagnostic(`the proxy's seed is ${seed}`);
    proxy.#random = randomFrom(seed);
    proxy.#server = createServer((client) => proxy.#carry(client, hub.port)).listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    t.after(() => proxy.#stop());
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Cuts every open event stream now. */
  cut() {
    for (const end of this.#streams) end();
  }

  #carry(client, port) {
    const hub = connect(port, "127.0.0.1");
    let held = Buffer.alloc(0); // a head that is not whole yet
    let bytesLeft = Infinity; // of an event stream that is to be cut
    const cut = () => {
      this.#streams.delete(cut);
      this.cuts += 1;
      if (this.#random() < 0.5) client.resetAndDestroy();
      else client.destroy();
    };

    client.on("data", (bytes) => {
      this.#note(bytes.toString("latin1"));
      hub.write(bytes);
    });
    hub.on("data", (bytes) => {
      held = Buffer.concat([held, bytes]);
      const text = held.toString("latin1");
      if (text.startsWith("HTTP/1.1 200") && !text.includes("\r\n\r\n")) return;
      if (isStreamHead(text)) {
        const body = text.indexOf("\r\n\r\n") + 4;
        held = Buffer.concat([held.subarray(0, body), RETRY_CHUNK, held.subarray(body)]);
        this.#streams.add(cut);
        if (this.cutting) bytesLeft = body + 1 + Math.floor(this.#random() * STREAM_BYTES_MAX);
      }
      client.write(held.subarray(0, Math.min(held.length, bytesLeft)), () => {
        if (bytesLeft <= 0 && !client.destroyed) cut();
      });
      bytesLeft -= held.length;
      held = Buffer.alloc(0);
    });

    this.#sockets.add(client);
    client.on("close", () => {
      this.#sockets.delete(client);
      this.#streams.delete(cut);
      hub.destroy();
    });
    hub.on("close", () => client.end());
    client.on("error", () => {});
    hub.on("error", () => {});
  }

  #note(text) {
    const line = /^(GET|POST|DELETE|OPTIONS) (\S+) HTTP\/1\.1\r\n/.exec(text);
    if (!line) return;
    const lastEventId = /\r\nlast-event-id: *(.*)\r\n/i.exec(text)?.[1];
    this.requests.push({ method: line[1], path: line[2], lastEventId });
  }

  #stop() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #random;
  #server;
  #sockets = new Set();
  #streams = new Set();
}

function isStreamHead(text) {
  return /^HTTP\/1\.1 200 [^]*?\r\ncontent-type: text\/event-stream\r\n[^]*?\r\n\r\n/i.test(text);
}

// The generator mulberry32: small, and the same numbers for the same seed.
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
