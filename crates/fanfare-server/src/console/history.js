// What the charts show: one small sample for each event of the feed, for the last five minutes.

export const WINDOW_MS = 300_000;
const SAMPLES_MAX = 400;

export class History {
  /** Oldest first. */
  samples = [];
  #before = null;

  /** Adds a sample; what the stream repeats is not added again. */
  add(stats) {
    const before = this.#before;
    if (before && before.epoch === stats.epoch && stats.time_ms <= before.time_ms) return;
    this.#before = stats;
    this.samples.push(sample(stats, before?.epoch === stats.epoch ? before : null));
    const oldest = stats.time_ms - WINDOW_MS;
    while (this.samples[0].at < oldest || this.samples.length > SAMPLES_MAX) this.samples.shift();
  }
}

function sample(stats, before) {
  const seconds = before && (stats.time_ms - before.time_ms) / 1000;
  const rate = (name) => before ? Math.max(0, (stats[name] - before[name]) / seconds) : null;
  const { delivery, memory, subscribers } = stats;
  return {
    at: stats.time_ms,
    subscribers: subscribers.http1 + subscribers.http2,
    eventsIn: rate("events_published_total"),
    eventsOut: rate("events_delivered_total"),
    bytesOut: rate("bytes_sent_total"),
    cpu: rate("cpu_seconds_total"),
    p50: delivery.p50_ms,
    p90: delivery.p90_ms,
    p99: delivery.p99_ms,
    memory: memory.resident_bytes,
  };
}
