// The chat in Chromium, and its streams in the SDK's own transport: an answer survives a reload and
// a lost connection, stops when it is told to, and nothing is resumed when nothing is active.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  DefaultChatTransport, UI_MESSAGE_STREAM_HEADERS,
} from "../node_modules/ai/dist/index.js";
import { Proxy } from "../../../crates/fanfare/tests/clients/proxy.mjs";
import { freePort, Hub, launchChromium, screenshot, start, until } from "../../tests/support.mjs";

const cwd = join(import.meta.dirname, "..");
const VITE = join(cwd, "node_modules/vite/bin/vite.js");
const TSC = join(cwd, "node_modules/typescript/bin/tsc");
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
const ANSWER_WITHIN_MS = 20_000; // it takes 6 s
const TOKENS = 300;
const PROMPT = "How does an answer survive a reload?";

describe("the chat with useChat", () => {
  let browser;
  before(async () => {
    for (const command of [[TSC], [VITE, "build", "--logLevel", "warn"]]) {
      execFileSync(process.execPath, command, { cwd, stdio: "inherit" });
    }
    browser = await launchChromium();
  });
  after(() => browser.close());

  for (const command of ["preview", "dev"]) {
    it(`resumes after a reload in the middle, served by vite ${command}`, async (t) => {
      const app = await App.start(t, browser, command);
      const page = await app.open(DESK);
      await ask(page, PROMPT);
      await until(async () => 100 <= tokensIn(await textOf(page)), "token 100", ANSWER_WITHIN_MS);
      const before = await textOf(page);
      await screenshot(page, `chat-ai-sdk-1-before-reload-${command}`);
      await page.reload();
      await until(async () => before.length <= (await textOf(page)).length, "it is back");
      assert.ok((await textOf(page)).startsWith(before));
      assert.equal(await stateOf(page), "streaming");
      await screenshot(page, `chat-ai-sdk-2-after-reload-${command}`);
      await isReady(page);

      const text = await textOf(page);
      assert.equal(text, await app.hubsText());
      assert.equal(text, app.textOf((await app.messages()).at(-1)));
      assert.equal(tokensIn(text), TOKENS);
      assert.equal(await page.locator("article").count(), 2);
      assert.equal(app.statuses("/stream").at(-1), 200);

      await page.reload();
      await isReady(page);
      await until(() => app.statuses("/stream").at(-1) === 204, "nothing is active");
      assert.equal(await textOf(page), text);
      await screenshot(page, `chat-ai-sdk-3-whole-${command}`);
      assert.deepEqual(app.problems, []);
      await until(async () => (await app.hub.metric("fanfare_subscribers")) === 0, "none reads");
    });
  }

  it("stops the generator, which ends the stream itself", async (t) => {
    const app = await App.start(t, browser);
    const page = await app.open(PHONE);
    await ask(page, PROMPT);
    await until(async () => 50 <= tokensIn(await textOf(page)), "token 50", ANSWER_WITHIN_MS);
    await screenshot(page, "chat-ai-sdk-4-phone");
    await page.click("button.quiet");
    await isReady(page);

    const text = await textOf(page);
    assert.equal(text, await app.hubsText());
    const message = (await app.messages()).at(-1);
    assert.equal(text, app.textOf(message));
    assert.deepEqual(message.metadata, { stopped: true });
    assert.ok(tokensIn(text) < TOKENS, `${tokensIn(text)} tokens`);
    const { state, reason } = await app.status();
    assert.deepEqual({ state, reason }, { state: "closed", reason: "cancelled" });
    const parts = (await app.events()).slice(-4);
    assert.deepEqual(
      parts.map((data) => (data === "[DONE]" ? data : JSON.parse(data).type)),
      ["text-end", "message-metadata", "abort", "[DONE]"],
    );
    assert.equal(await page.locator("small").textContent(), "Stopped");
    await screenshot(page, "chat-ai-sdk-5-stopped-phone");

    // The next question comes after it, and what was stopped stays so.
    await ask(page, "And then?");
    await until(async () => 5 <= tokensIn(await textOf(page)), "the next answer");
    await page.click("button.quiet");
    await isReady(page);
    await page.setViewportSize(DESK);
    await page.reload();
    await until(async () => (await page.locator("article").count()) === 4, "all are back");
    assert.equal(await page.locator("article.assistant p").first().textContent(), text);
    await screenshot(page, "chat-ai-sdk-6-two-answers");
    assert.deepEqual(app.problems, []);
  });

  it("has nothing to resume where nothing is active", async (t) => {
    const app = await App.start(t, browser);
    const page = await app.open(DESK);
    await until(() => app.statuses("/stream").length, "it asks");
    assert.equal(app.statuses("/stream").at(-1), 204);
    assert.equal(await stateOf(page), "ready");
    assert.equal(await page.locator(".state").textContent(), "");
    await page.emulateMedia({ colorScheme: "dark" });
    await screenshot(page, "chat-ai-sdk-7-empty-dark");
    assert.deepEqual(app.problems, []);
  });

  it("gets the rest where the connection broke, also after the end", async (t) => {
    const app = await App.start(t, browser);
    const page = await app.open(DESK);
    await ask(page, PROMPT);
    await until(async () => 20 <= tokensIn(await textOf(page)), "token 20", ANSWER_WITHIN_MS);
    app.proxy.cut();
    await until(async () => (await stateOf(page)) === "error", "it notices");
    await until(async () => (await app.messages()).length === 2, "the end", ANSWER_WITHIN_MS);
    await screenshot(page, "chat-ai-sdk-8-broken");
    await page.click("button.quiet");
    await isReady(page);
    assert.equal(await textOf(page), await app.hubsText());
    assert.equal(tokensIn(await textOf(page)), TOKENS);
    assert.equal(await page.locator("article").count(), 2);
  });

  it("sends streams that are valid to the SDK's transport", async (t) => {
    const app = await App.start(t, browser);
    const id = "an id/with, ümlauts";
    const answers = [];
    const transport = new DefaultChatTransport({
      api: `${app.api}/api/chat`,
      fetch: async (...request) => (answers[answers.length] = await fetch(...request)),
      prepareSendMessagesRequest: ({ id, messages }) => ({
        body: { id, message: messages.at(-1) },
      }),
    });
    assert.equal(await transport.reconnectToStream({ chatId: id }), null);
    const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: PROMPT }] }];
    const sent = await transport.sendMessages({ chatId: id, messages });
    const again = await transport.reconnectToStream({ chatId: id });
    const [live, replay] = await Promise.all([collect(sent), collect(again)]);
    const late = await collect(await transport.reconnectToStream({ chatId: id }));

    const textIn = (parts) => parts.map(({ delta = "" }) => delta).join("");
    const texts = [live, replay, late].map(textIn);
    assert.equal(tokensIn(texts[0]), TOKENS);
    assert.deepEqual(texts.slice(1), [texts[0], texts[0]]);
    // What was there before it was read is merged; what comes after is not.
    assert.ok(TOKENS / 2 < live.length && live.length <= TOKENS + 6, `${live.length} parts`);
    assert.deepEqual(late.map(({ type }) => type), [
      "start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish",
    ]);
    for (const { headers } of answers.slice(1)) {
      for (const [name, value] of Object.entries(UI_MESSAGE_STREAM_HEADERS)) {
        assert.equal(headers.get(name), value, name);
      }
    }
  });
});

async function ask(page, prompt) {
  await page.fill("input", prompt);
  await page.press("input", "Enter");
}

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

// A token of the generator is a word with the space before it, or the end of a paragraph.
const tokensIn = (text) => text.match(/\S+|\n\n/g)?.length ?? 0;

const textOf = (page) =>
  page.evaluate(() => {
    const last = [...document.querySelectorAll("article")].at(-1);
    return last?.matches(".assistant") ? (last.querySelector("p")?.textContent ?? "") : "";
  });
const stateOf = (page) =>
  page.evaluate(() => document.querySelector(".state")?.className.replace("state ", ""));
const isReady = (page) =>
  until(async () => (await stateOf(page)) === "ready", "it is ready", ANSWER_WITHIN_MS);

/** A hub, the app's server, and its page. */
class App {
  /** What the consoles of all pages say that is wrong. */
  problems = [];

  static async start(t, browser, command = "preview") {
    const app = new App();
    app.hub = await Hub.start(t);
    const server = await start(t, ["node", "server.mjs"], {
      cwd, env: { PORT: "0", HUB: app.hub.url }, ready: /API is on (\S+)/,
    });
    app.api = server.ready[1];
    app.proxy = await Proxy.start(t, { port: new URL(app.api).port });
    const port = await freePort();
    app.#origin = `http://127.0.0.1:${port}`;
    const serve = ["node", VITE, command, "--host", "127.0.0.1", "--port", port, "--strictPort"];
    await start(t, serve, { cwd, env: { API: app.proxy.url }, ready: /Local:/ });
    app.#context = await browser.newContext({ colorScheme: "light" });
    t.after(() => app.#context.close());
    return app;
  }

  /** Opens a tab with a new chat. */
  async open(viewport) {
    const page = await this.#context.newPage();
    await page.setViewportSize(viewport);
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.problems.push(message.text());
    });
    page.on("response", (answer) => {
      this.#answers.push({ path: new URL(answer.url()).pathname, status: answer.status() });
    });
    await page.goto(this.#origin);
    await page.waitForSelector("form");
    this.#chat = new URL(page.url()).hash.slice(1);
    return page;
  }

  /** The statuses of the answers to requests whose paths end so. */
  statuses(end) {
    return this.#answers.filter(({ path }) => path.endsWith(end)).map(({ status }) => status);
  }

  /** What the app's server keeps of the chat. */
  async messages() {
    return (await fetch(`${this.api}/api/chat/${this.#chat}`)).json();
  }

  textOf({ parts }) {
    return parts.map(({ text = "" }) => text).join("");
  }

  /** What the generator has sent to the hub in its only answer: the data of the events. */
  async events() {
    const url = `${this.hub.url}/channels/${await this.#channel()}?from=start&limit=1000`;
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    return (await answer.json()).events.map(({ data }) => data);
  }

  async hubsText() {
    const parts = (await this.events()).filter((data) => data !== "[DONE]");
    return parts.map((data) => JSON.parse(data).delta ?? "").join("");
  }

  async status() {
    return (await fetch(`${this.hub.url}/status/${await this.#channel()}`)).json();
  }

  // The one channel of the hub.
  async #channel() {
    const answer = await (await fetch(`${this.hub.adminUrl}/api/channels`)).json();
    assert.equal(answer.channels.length, 1);
    return answer.channels[0].channel;
  }

  #origin;
  #context;
  #chat;
  #answers = [];
}
