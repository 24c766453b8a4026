// The app's server: the three requests that `useChat` and its Stop button make. An answer is a
// channel of the hub. It is generated whoever reads it, and read from its start by whoever asks.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { generate } from "./generator.mjs";

const HUB = process.env.HUB ?? "http://127.0.0.1:8080";
const PORT = Number(process.env.PORT ?? 3000);
const BODY_BYTES_MAX = 64 * 1024;
// What the SDK calls UI_MESSAGE_STREAM_HEADERS.
const STREAM_HEADERS = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-cache",
  "X-Accel-Buffering": "no",
  "x-vercel-ai-ui-message-stream": "v1",
};

// Your database. `messages` are whole; while an answer is streaming it is in its channel alone.
const chats = new Map();
const chatOf = (id) => chats.get(id) ?? { messages: [], channel: null, isStreaming: false };

// Who may read and write which chat is for your app to check here.
const routes = {
  "GET /api/chat/:id": (chat, request, response) => json(response, 200, chat.messages),

  "POST /api/chat": async (_, request, response) => {
    const { id, message } = await bodyOf(request);
    const chat = chatOf(String(id));
    if (chat.isStreaming) return json(response, 409, { error: "an answer is streaming" });
    chats.set(String(id), chat);
    chat.messages.push(message);
    chat.channel = `answers/${randomUUID()}`; // whoever knows the name can read it
    chat.isStreaming = true;
    void answer(chat);
    await pipe(chat, response);
  },

  // `useChat` asks when it is mounted. The hub keeps an answer for some minutes after its end, for
  // pages that saw only a part of it; `messages` is how many this page has whole.
  "GET /api/chat/:id/stream": async (chat, request, response, query) => {
    const hasAll = chat.messages.length <= Number(query.get("messages") ?? 0);
    if (!chat.isStreaming && hasAll) return response.writeHead(204).end();
    await pipe(chat, response);
  },

  "POST /api/chat/:id/stop": async (chat, request, response) => {
    if (chat.isStreaming) await fetch(`${HUB}/cancel/${chat.channel}`, { method: "POST" });
    response.writeHead(204).end();
  },
};

/** Generates an answer into the chat's channel, and keeps it. */
async function answer(chat) {
  const prompt = chat.messages.at(-1).parts.map(({ text = "" }) => text).join("");
  const message = { id: randomUUID(), role: "assistant", parts: [{ type: "text", text: "" }] };
  const stop = new AbortController();
  async function* events() {
    for await (const part of generate(message.id, prompt, { signal: stop.signal })) {
      if (part.type === "text-delta") message.parts[0].text += part.delta;
      if (part.messageMetadata) message.metadata = part.messageMetadata;
      yield part;
    }
    keep(); // first, for whoever has read the end may ask for the message, or send the next one
    yield "[DONE]";
  }
  const keep = () => {
    if (chat.isStreaming) chat.messages.push(message);
    chat.isStreaming = false;
  };
  try {
    await publish(chat.channel, events(), stop);
  } catch (error) {
    console.error(`${chat.channel}:`, error);
    keep();
  }
}

/**
 * Publishes what `events` yields in one request, whose end closes the channel. Aborts `stop` when
 * the hub is asked to cancel, and when it takes no more: `events` should then end.
 */
async function publish(channel, events, stop) {
  const post = httpRequest(`${HUB}/channels/${channel}?close=on-end&acks=stream`, {
    method: "POST",
    headers: { "Content-Type": "application/x-ndjson" },
  });
  post.on("error", () => {}); // `acked` says it
  post.flushHeaders();
  // The hub answers while the request goes on: a line for each event, and one for a cancel.
  const acked = readAcks(post, stop);
  acked.catch(() => stop.abort());
  for await (const data of events) {
    const isTaken = post.write(`${JSON.stringify({ data })}\n`);
    if (!isTaken) await Promise.race([once(post, "drain"), acked]);
  }
  post.end();
  await acked;
}

async function readAcks(post, stop) {
  const [answer] = await once(post, "response");
  let rest = "";
  for await (const text of answer.setEncoding("utf8")) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const ack = JSON.parse(line);
      if (ack.cancel) stop.abort();
      if (ack.type) throw new Error(`${ack.title}: ${ack.detail}`);
    }
  }
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${rest}`);
}

/** Answers with the chat's channel: what is there in few events, then the rest as it comes. */
async function pipe(chat, response) {
  // The SDK takes every event for a part of its stream, so the hub's own must not be among them.
  const query = new URLSearchParams({ from: "start", control: "off", coalesce: "ai-sdk" });
  if (!chat.isStreaming) query.set("must_exist", "1"); // or one that has expired would be silence
  const gone = new AbortController();
  response.on("close", () => gone.abort()); // the reader left, which stops nothing but reading
  const url = `${HUB}/channels/${chat.channel}?${query}`;
  const stream = await fetch(url, { signal: gone.signal });
  if (stream.status === 404) return response.writeHead(204).end();
  if (!stream.ok) return json(response, 502, { error: `the hub answered ${stream.status}` });
  response.writeHead(200, STREAM_HEADERS).flushHeaders();
  await pipeline(Readable.fromWeb(stream.body), response);
}

const json = (response, status, body) =>
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));

async function bodyOf(request) {
  let body = "";
  for await (const part of request.setEncoding("utf8")) {
    body += part;
    if (BODY_BYTES_MAX < body.length) throw new Error("the body is too long");
  }
  return JSON.parse(body);
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const [, api, id, action = ""] = /^(\/api\/chat)\/([^/]+)(\/.+)?$/.exec(pathname) ?? [];
  const route = routes[`${request.method} ${id ? `${api}/:id${action}` : pathname}`];
  if (!route) return json(response, 404, { error: "no such page" });
  try {
    await route(chatOf(id && decodeURIComponent(id)), request, response, searchParams);
  } catch (error) {
    if (response.headersSent || response.destroyed) return response.destroy();
    json(response, 400, { error: error.message });
  }
});
server.listen(PORT, "127.0.0.1", () => {
  console.log(`the app's API is on http://127.0.0.1:${server.address().port}`);
});
