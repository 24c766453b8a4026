// Numbers as people read them. A unit does not go to the next line without its number.

const whole = new Intl.NumberFormat("en");
const POWERS = ["", "\u00a0k", "\u00a0M", "\u00a0G", "\u00a0T"];
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];
const SPANS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];
const NONE = "–";

/** A number in full. */
export const count = (number) => (number ?? null) === null ? NONE : whole.format(number);

/** A number in three digits. */
export function short(number) {
  if ((number ?? null) === null) return NONE;
  const rounded = Number(number.toPrecision(3));
  if (rounded < 1000) return String(rounded);
  const power = Math.min(POWERS.length - 1, Math.floor(Math.log10(rounded) / 3));
  return `${Number((rounded / 1000 ** power).toPrecision(3))}${POWERS[power]}`;
}

export function bytes(number) {
  if ((number ?? null) === null) return NONE;
  const power = Math.min(BYTES.length - 1, Math.floor(Math.log2(Math.max(1, number)) / 10));
  const value = number / 1024 ** power;
  const text = value < 99.95 && power ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value);
  return `${text}\u00a0${BYTES[power]}`;
}

/** A latency. */
export function millis(ms) {
  if ((ms ?? null) === null) return NONE;
  if (ms >= 1000) return `${(ms / 1000).toPrecision(3)}\u00a0s`;
  return `${ms < 0.01 && ms > 0 ? "<0.01" : Number(ms.toPrecision(ms < 1 ? 2 : 3))}\u00a0ms`;
}

/** A length of time in its two largest units. */
export function span(ms) {
  if ((ms ?? null) === null) return NONE;
  const first = SPANS.findIndex(([, unit]) => ms >= unit);
  if (first === -1) return "0\u00a0s";
  let left = ms;
  return SPANS.slice(first, first + 2).map(([name, unit]) => {
    const units = Math.floor(left / unit);
    left -= units * unit;
    return units && `${units}\u00a0${name}`;
  }).filter(Boolean).join(" ");
}

/** How long ago a time of the hub's clock was, seen from `now` of the same clock. */
export function ago(time, now) {
  const at = typeof time === "number" ? time : Date.parse(time ?? "");
  if (!Number.isFinite(at)) return NONE;
  return now - at < 1000 ? "now" : `${span(now - at).replace(/ \d+\u00a0s$/, "")} ago`;
}

/** A number of things a second, as `write` writes them. */
export const rate = (number, write = short) =>
  (number ?? null) === null ? NONE : `${write(number)}/s`;

export function percent(share) {
  const few = share > 0 && share < 0.0001;
  return `${few ? "<0.01" : Number((100 * share).toPrecision(share < 0.1 ? 2 : 3))}\u00a0%`;
}

export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

export const clock = (date) => date.toLocaleTimeString("en-GB");

/** What a channel is that takes events. */
export const alive = ({ state }) => state === "cancelling" ? "cancelling" : "live";
