// Stands in for a model: the parts of a UI message stream, 50 tokens a second, the same words for
// the same prompt. In your app this is `toUIMessageStream({ stream: streamText(…).stream })`.

import { setTimeout as delay } from "node:timers/promises";

const TOKENS_PER_SECOND = 50;

/** Streams the parts of the message `messageId`, which answers `prompt`, until `signal` aborts. */
export async function* generate(messageId, prompt, { tokens = 300, signal }) {
  yield { type: "start", messageId };
  yield { type: "start-step" };
  yield { type: "text-start", id: "0" };
  const words = wordsOf(prompt);
  const start = performance.now();
  for (let token = 0; token < tokens && !signal.aborted; token += 1) {
    yield { type: "text-delta", id: "0", delta: words.next().value };
    const due = start + ((token + 1) * 1000) / TOKENS_PER_SECOND;
    await delay(due - performance.now(), undefined, { signal }).catch(() => {});
  }
  yield { type: "text-end", id: "0" };
  if (signal.aborted) {
    yield { type: "message-metadata", messageMetadata: { stopped: true } };
    yield { type: "abort" };
    return;
  }
  yield { type: "finish-step" };
  yield { type: "finish", finishReason: "stop" };
}

// Without an end: what `seed` makes of these phrases, a word at a time.
function* wordsOf(seed) {
  const pick = pickerFrom(seed);
  for (let sentence = 1; ; sentence += 1) {
    const text = `${pick(WHO)} ${pick(DOES)} ${pick(WHAT)} ${pick(HOW)}.`;
    yield* text.match(/\S+/g).map((word, at) => (at || sentence % 4 !== 1 ? ` ${word}` : word));
    if (sentence % 4 === 0) yield "\n\n";
  }
}

const WHO = ["The river", "A brass band", "The night train", "Every letter", "The old café"];
const DOES = ["carries", "remembers", "waits for", "answers", "follows", "borrows"];
const WHAT = ["the morning", "a quiet town", "its own echo", "the last ferry", "warm bread"];
const HOW = [
  "without a word",
  "until the lamps go out",
  "as if nothing had ever been lost",
  "one note at a time",
  "while the rain counts the roofs",
];

// Picks from lists, the same for the same seed.
function pickerFrom(seed) {
  let state = 2166136261;
  const mix = (value) => (state = Math.imul(state ^ value, 16777619) >>> 0);
  for (const character of seed) mix(character.codePointAt(0));
  return (list) => list[(mix(7) >>> 8) % list.length];
}
