// What Chromium does with an EventSource and with a WebSocket: the bytes of their requests, what
// comes back after a cut, and how many may be open. docs/sse-or-websocket.md has what it said.
// `node browser.mjs` with playwright-core and /usr/bin/chromium.

import { createHash } from "node:crypto";
import { createServer } from "node:net";
import { chromium } from "playwright-core";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const open = { EventSource: 0, WebSocket: 0 };
const opened = { EventSource: 0, WebSocket: 0 };
const sockets = new Set();

// Answers a page, an event stream or an upgrade by the request's head, and says nothing more.
const server = createServer((socket) => {
  let head = "", kind;
  sockets.add(socket);
  socket.on("error", () => {});
  socket.on("close", () => {
    sockets.delete(socket);
    if (kind) open[kind] -= 1;
  });
  socket.on("data", (bytes) => {
    if (kind) return;
    head += bytes.toString("latin1");
    if (!head.endsWith("\r\n\r\n")) return;
    if (!head.startsWith("GET /stream")) {
      socket.end("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n");
      return;
    }
    const key = /Sec-WebSocket-Key: (.*)\r\n/i.exec(head)?.[1];
    kind = key ? "WebSocket" : "EventSource";
    open[kind] += 1;
    opened[kind] += 1;
    if (opened[kind] === 1) console.log(`${kind}: a request of ${head.length} bytes`);
    if (!key) {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n");
      return;
    }
    const accept = createHash("sha1").update(key + GUID).digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
      + `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  });
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));

// Waits until something is so, or for so long.
async function until(isSo, seconds) {
  for (const end = Date.now() + seconds * 1000; !isSo() && Date.now() < end;) {
    await new Promise((done) => setTimeout(done, 50));
  }
}

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const make = (kind, count) => page.evaluate(([kind, count]) => {
  globalThis.all ??= [];
  for (let n = 0; n < count; n += 1) all.push(new globalThis[kind](`/stream?${n}`));
}, [kind, count]);

await make("EventSource", 1);
await make("WebSocket", 1);
await until(() => open.EventSource && open.WebSocket, 5);
for (const socket of sockets) socket.resetAndDestroy();
await until(() => opened.EventSource > 1 && opened.WebSocket > 1, 15);
console.log("open 15 s after a cut, without a line of code for it:", open);
await page.evaluate(() => all.splice(0).forEach((one) => one.close()));
await until(() => open.EventSource === 0, 5);
await make("EventSource", 10);
await until(() => open.EventSource > 6, 5);
await make("WebSocket", 300);
await until(() => open.WebSocket > 255, 10);
console.log("open of 10 EventSources over HTTP/1.1 and of 300 WebSockets:", open);
await browser.close();
sockets.forEach((socket) => socket.destroy());
server.close();
