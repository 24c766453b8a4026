// The AI SDK's own transport and reader, unchanged, on streams of the hub whose deltas are put
// together: the same message as of all of them.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { DefaultChatTransport, readUIMessageStream } from "ai";
import { Hub } from "./hub.mjs";

const STREAM = new URL("../../../fanfare-server/tests/streams/ai-sdk.sse", import.meta.url);

/** What the SDK makes of a URL of the hub, and how many parts that took. */
async function follow(url) {
  const transport = new DefaultChatTransport({ fetch: (_, init) => fetch(url, init) });
  const parts = await transport.reconnectToStream({ chatId: "chat" });
  const counting = { count: 0 };
  const counted = parts.pipeThrough(
    new TransformStream({
      transform(part, controller) {
        counting.count += 1;
        controller.enqueue(part);
      },
    }),
  );
  const message = (async () => {
    let last;
    const onError = (error) => assert.fail(error);
    for await (last of readUIMessageStream({ stream: counted, onError }));
    return last;
  })();
  return { message, counting };
}

/** Publishes the stream as a service sends it. */
async function publish(hub) {
  const headers = { "Content-Type": "text/event-stream" };
  const request = { method: "POST", headers, body: await readFile(STREAM) };
  const answer = await fetch(`${hub.url}/channels/answer?close`, request);
  assert.equal(answer.status, 200, await answer.text());
}

describe("The AI SDK's message", { concurrency: true }, () => {
  it("is the same of a replay in few parts", async (t) => {
    const hub = await Hub.start(t);
    await publish(hub);
    const url = `${hub.url}/channels/answer?from=start&control=off`;
    const plain = await follow(url);
    const few = await follow(`${url}&coalesce=ai-sdk`);
    const message = await plain.message;
    assert.match(JSON.stringify(message), /Nothing is lost, nothing comes twice/);
    assert.match(JSON.stringify(message), /🚀👍/u, "halves of characters make whole ones");
    assert.deepEqual(await few.message, message);
    assert.ok(few.counting.count * 8 < plain.counting.count, `${few.counting.count} parts`);
  });

  it("is the same of a live stream", async (t) => {
    const hub = await Hub.start(t);
    const url = `${hub.url}/channels/answer?control=off`;
    const plain = await follow(url);
    const few = await follow(`${url}&coalesce=ai-sdk&window=25`);
    await publish(hub);
    assert.deepEqual(await few.message, await plain.message);
    assert.ok(few.counting.count < plain.counting.count, `${few.counting.count} parts`);
  });
});
