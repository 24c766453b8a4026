// Publishes a stream of events to a channel of the hub: one request, as they come.

import { once } from "node:events";
import { request } from "node:http";

/**
 * Begins to publish to the channel at `url`, which is there from then on. Returns a function that
 * publishes what `events` yields, closes the channel when that ends, and throws if the hub did not
 * take everything. Aborts `stop` when somebody asks the hub to cancel, or when the hub takes no
 * more: `events` should then end.
 */
export async function publishTo(url, stop) {
  const post = request(`${url}?close=on-end&acks=stream`, {
    method: "POST",
    headers: { "Content-Type": "application/x-ndjson" },
  });
  post.flushHeaders();
  // The hub answers while the request goes on: a line for each event, and one for a cancel.
  const [answer] = await once(post, "response");
  const acked = readAcks(answer, stop);
  acked.catch(() => stop.abort());
  post.on("error", () => {}); // `acked` says it

  return async (events) => {
    try {
      for await (const data of events) {
        const taken = post.write(`${JSON.stringify({ data })}\n`);
        if (!taken) await Promise.race([once(post, "drain"), acked]);
      }
    } catch (error) {
      post.destroy();
      // Readers need not wait for this producer to come back.
      await fetch(`${url}?close=error`, { method: "POST" }).catch(() => {});
      throw error;
    }
    post.end();
    await acked;
  };
}

async function readAcks(answer, stop) {
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
