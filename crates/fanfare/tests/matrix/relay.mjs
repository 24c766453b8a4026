// A TCP relay between one subscription of one client and the hub. It notes what both send, cuts
// event streams, and makes waiting for a `retry` short.

import { once } from "node:events";
import { connect, createServer } from "node:net";

// What a client is told to wait instead of seconds: a line in the first event of each stream, and
// in place of what the hub says, with zeros before it, so that no length changes.
const RETRY_MS = "200";
const RETRY_CHUNK = `b\r\nretry: ${RETRY_MS}\n\r\n`;

const open = new Set();

export class Relay {
  /** The subscribes that came: which last event id each named, and the status of its answer. */
  subscribes = [];
  /** All that the hub sent in event streams, without the framing of HTTP. */
  body = "";
  /** How many streams are still to be cut, each after some bytes of its body. */
  cutsLeft = 0;
  /** How many were cut. */
  cuts = 0;

  static async start(hub, random) {
    const relay = new Relay();
    relay.#random = random;
    relay.#server = createServer((client) => relay.#carry(client, hub.port)).listen(0, "127.0.0.1");
    await once(relay.#server, "listening");
    open.add(relay);
    return relay;
  }

  static stopAll() {
    open.forEach((relay) => relay.#stop());
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** Whether a stream is open. */
  get isOpen() {
    return this.#streams.size > 0;
  }

  /** Whether the last thing that the client got is a heartbeat after an event. */
  get endsWithHeartbeat() {
    return /\n\n(:\n)+$/.test(this.body);
  }

  /** Cuts the streams that are open, and `count` in all. */
  cut(count) {
    this.cutsLeft = count;
    for (const end of this.#streams) end();
  }

  #carry(client, port) {
    const hub = connect(port, "127.0.0.1");
    let head = ""; // of an answer, as long as it is not whole
    let bytesLeft = Infinity;
    const cut = () => {
      if (!this.#streams.delete(cut)) return;
      this.cuts += 1;
      this.cutsLeft -= 1;
      client.resetAndDestroy();
    };

    client.on("data", (bytes) => {
      this.#note(bytes.toString("latin1"));
      hub.write(bytes);
    });
    hub.on("data", (bytes) => {
      let text = bytes.toString("latin1");
      if (!this.#streams.has(cut)) {
        head += text;
        const end = head.indexOf("\r\n\r\n") + 4;
        if (end < 4) return;
        this.#answered(head);
        text = head;
        head = "";
        if (/^HTTP\/1.1 200 [^]*?\r\ncontent-type: text\/event-stream\r\n/i.test(text)) {
          this.#streams.add(cut);
          if (this.cutsLeft > 0) bytesLeft = end + 60 + Math.floor(this.#random() * 800);
          this.body += bodyOf(text.slice(end));
          text = text.slice(0, end) + RETRY_CHUNK + text.slice(end);
        }
      } else {
        this.body += bodyOf(text);
      }
      text = text.replace(/(?<=retry: )\d+(?=\n)/g, ({ length }) => RETRY_MS.padStart(length, "0"));
      client.write(Buffer.from(text, "latin1").subarray(0, Math.min(text.length, bytesLeft)));
      bytesLeft -= text.length;
      if (bytesLeft <= 0) cut();
    });

    this.#sockets.add(client);
    client.on("close", () => {
      this.#sockets.delete(client);
      this.#streams.delete(cut);
      hub.destroy();
    });
    // What the hub aborts, a client must see aborted.
    hub.on("close", (failed) => (failed ? client.resetAndDestroy() : client.end()));
    client.on("error", () => {});
    hub.on("error", () => {});
  }

  #note(text) {
    if (!text.startsWith("GET ")) return;
    const header = /\r\nlast-event-id: *(\S*)\r\n/i.exec(text)?.[1];
    this.subscribes.push({ lastEventId: header, status: null });
  }

  #answered(head) {
    const waiting = this.subscribes.find(({ status }) => status === null);
    if (waiting) waiting.status = Number(head.slice(9, 12));
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

// Without the framing of chunks. The hub sends no carriage return but in that.
const bodyOf = (text) => text.replaceAll(/(^|\r\n)[0-9a-f]+\r\n/g, "").replaceAll("\r\n", "");
