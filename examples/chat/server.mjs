// The app's server: it knows the conversations, and lets the generator answer through the hub. No
// browser's stream passes through here: each answer is a channel that browsers read from the hub.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { complete } from "./generator.mjs";
import { publishTo } from "./publish.mjs";

const HUB = process.env.HUB ?? "http://127.0.0.1:8080";
const HUB_OF_BROWSERS = process.env.HUB_OF_BROWSERS ?? HUB;
const PORT = Number(process.env.PORT ?? 3000);
const BODY_BYTES_MAX = 64 * 1024;

// Your database. An answer is { prompt, channel, state, text }; `text` is whole once it has ended.
const conversations = new Map();

const routes = {
  "GET /api/conversations": () =>
    [...conversations].map(([id, [first]]) => ({ id, title: first.prompt })).reverse(),

  // The page asks the hub for answers that are still streaming, and has the text of all others.
  "GET /api/conversation": ({ id }) => ({
    hub: HUB_OF_BROWSERS,
    answers: conversations.get(id) ?? [],
  }),

  // Who may ask, and what, is for your app to check here. The channel's name is not to be guessed.
  "POST /api/chat": async ({ id }, { prompt }) => {
    const channel = `answers/${randomUUID()}`;
    const stop = new AbortController();
    const publish = await publishTo(`${HUB}/channels/${channel}`, stop);
    const answer = { prompt: String(prompt), channel, state: "streaming", text: "" };
    conversations.set(String(id), [...(conversations.get(id) ?? []), answer]);
    void generate(answer, publish, stop);
    return answer;
  },
};

/** Streams an answer into its channel, and keeps it. Who reads it, or leaves, is not asked. */
async function generate(answer, publish, { signal }) {
  signal.addEventListener("abort", () => {
    console.log(`${new Date().toISOString()} stop ${answer.channel}`);
  });
  async function* chunks() {
    for await (const chunk of complete(answer.prompt, { signal })) {
      answer.text += chunk.choices[0].delta.content ?? "";
      yield chunk;
    }
    if (!signal.aborted) yield "[DONE]";
  }
  try {
    await publish(chunks());
    answer.state = signal.aborted ? "cancelled" : "done";
  } catch (error) {
    console.error(`${answer.channel}:`, error);
    answer.state = "error";
  }
}

async function bodyOf(request) {
  let body = "";
  for await (const part of request.setEncoding("utf8")) {
    body += part;
    if (BODY_BYTES_MAX < body.length) throw new Error("the body is too long");
  }
  return JSON.parse(body || "{}");
}

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const route = routes[`${request.method} ${pathname}`];
  const reply = (status, answer) =>
    response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  if (!route) return reply(404, { error: "no such page" });
  try {
    reply(200, await route(Object.fromEntries(searchParams), await bodyOf(request)));
  } catch (error) {
    reply(500, { error: error.message });
  }
});
server.listen(PORT, "127.0.0.1", () => {
  console.log(`the app's API is on http://127.0.0.1:${server.address().port}`);
});
