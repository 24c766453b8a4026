// Reads Server-Sent Events of every type. EventSource hands an event with a type only to a
// listener for that type, and an operator does not know which types publishers use.

import { refusal } from "./api.js";

const RETRY_MS = 2_000;
const RETRY_MS_MAX = 60_000;
// Characters of one event that is not whole yet. The hub's largest is far below.
const EVENT_CHARS_MAX = 32 * 1024 * 1024;

class TooLarge extends Error {}

/** Takes a stream apart. The hub ends lines with LF only. */
export class Parser {
  #rest = "";
  #event = { data: [] };

  /** The events that are whole with this text: `{ id, type, data, retry }`. */
  push(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    if (this.#rest.length > EVENT_CHARS_MAX) throw new TooLarge("An event is too large to show.");
    const events = [];
    for (const line of lines) {
      if (line) this.#take(line);
      else if (this.#event.data.length) events.push(this.#end());
    }
    return events;
  }

  #take(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#event.data.push(value);
    else if (name) this.#event[name] = value;
  }

  #end() {
    const { id, event = "message", data, retry } = this.#event;
    this.#event = { data: [] };
    return { id, type: event, data: data.join("\n"), retry: retry && Number(retry) };
  }
}

/** A subscription that comes back after a cut, at the event after the last one it saw. */
export class Subscription {
  /** The id after which it goes on. */
  lastId = "";
  #abort = new AbortController();
  #retry = RETRY_MS;

  /** `told` has `onOpen()`, `onEvents(events)`, `onCut()` and `onEnd(why)`, which is the last. */
  constructor(url, lastId, told) {
    Object.assign(this, { url, lastId, told });
    this.#run();
  }

  close() {
    this.#abort.abort();
  }

  async #run() {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      const why = await this.#read(signal).catch(
        (error) => error instanceof TooLarge && error.message);
      if (signal.aborted) return;
      if (why) return this.told.onEnd(why);
      this.told.onCut();
      await pause(this.#retry, signal);
    }
  }

  /** Reads one connection to its end. What it returns is why there will be no other. */
  async #read(signal) {
    const url = new URL(this.url);
    if (this.lastId) url.searchParams.set("last_event_id", this.lastId);
    const answer = await fetch(url, { signal, headers: { Accept: "text/event-stream" } });
    if (answer.status === 204) return "The channel is closed.";
    if (answer.status >= 500) return null;
    if (!answer.ok) return (await refusal(answer)).message;
    this.told.onOpen();
    const parser = new Parser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return null;
      const events = parser.push(value);
      for (const { id, retry } of events) {
        if (id) this.lastId = id;
        if (retry >= 0) this.#retry = Math.min(retry, RETRY_MS_MAX);
      }
      if (events.length) this.told.onEvents(events);
      const end = events.find(({ type }) => type === "fanfare.end");
      if (end) return `The channel was closed: ${JSON.parse(end.data).reason}.`;
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
