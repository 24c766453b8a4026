// Stands in for a model: streams OpenAI's `chat.completion.chunk`s, 50 tokens a second, the same
// words for the same prompt. In your app this is the SDK of your provider.

import { setTimeout as delay } from "node:timers/promises";

const TOKENS_PER_SECOND = 50;

/** Streams the chunks of an answer to `prompt`, and stops when `signal` is aborted. */
export async function* complete(prompt, { tokens = 600, signal }) {
  const created = Math.floor(Date.now() / 1000);
  const chunk = (delta, finish_reason = null) => ({
    id: "chatcmpl-example",
    object: "chat.completion.chunk",
    created,
    model: "example",
    choices: [{ index: 0, delta, finish_reason }],
  });

  yield chunk({ role: "assistant", content: "" });
  const words = wordsOf(prompt);
  const start = performance.now();
  for (let token = 0; token < tokens; token += 1) {
    const due = start + (token * 1000) / TOKENS_PER_SECOND;
    await delay(due - performance.now(), undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    yield chunk({ content: words.next().value });
  }
  yield chunk({}, "stop");
}

// Without an end: what `seed` makes of these phrases, a word at a time.
function* wordsOf(seed) {
  const pick = pickerFrom(seed);
  for (let sentence = 1; ; sentence += 1) {
    const text = `${pick(WHO)} ${pick(DOES)} ${pick(WHAT)} ${pick(HOW)}.`;
    yield* text.match(/\S+/g).map((word, at) => (at || sentence % 5 !== 1 ? ` ${word}` : word));
    if (sentence % 5 === 0) yield "\n\n";
  }
}

const WHO = ["The river", "A brass band", "The night train", "Every letter", "The old café"];
const DOES = ["carries", "remembers", "waits for", "answers", "follows", "borrows"];
const WHAT = ["the morning", "a quiet town", "its own echo", "the last ferry", "warm bread 😋"];
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
