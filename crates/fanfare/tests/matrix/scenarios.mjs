// What every client goes through, all of them at once; and what is found, as a report each.

import { isDeepStrictEqual } from "node:util";
import { until } from "../clients/hub.mjs";
import { Relay } from "./relay.mjs";

const EVENTS = 60;
// How many events the publisher may be ahead of a client that is cut.
const AHEAD_MAX = 6;
const CUTS = 5;
const DEADLINE_MS = 30_000;
// How long a client may take to come back, or to say that it does not.
const RETURN_MS = 12_000;
// The default heartbeat comes after 15 s.
const SILENCE_MS = 25_000;

const LONG = "0123456789abcdef".repeat(60 * 64);

// Each kind of event that clients are known to trip over.
const KINDS = [
  ["plain data", "plain"],
  ["types", "typed", "tick"],
  ["lines", "one\n\nthree\n"],
  ["empty data", ""],
  ["spaces", "  two before, one after "],
  ["unicode", "käse \u2028 \u0085 🧀"],
  ["60 KiB", LONG],
];
const JSON_KINDS = [
  ["plain data", '{"is":"plain"}'],
  ["lines", '{\n  "is": [\n    "pretty"\n  ]\n}'],
  ["unicode", '{"is":"käse \u2028 \u0085 🧀"}'],
  ["60 KiB", `{"is":"${LONG}"}`],
];

/** Runs everything, and gives a report for each client. */
export async function run(clients, hubs, hosts, seed) {
  const random = randomFrom(seed);
  const follow = (client, hub, scenario, query) =>
    Following.start({ client, hub, hosts, random, scenario, query });
  const [alone, drains] = await Promise.all([
    Promise.all(clients.map((client) => oneClient(client, hubs, follow))),
    throughADrain(clients, hubs.draining, follow),
  ]);
  return clients.map(({ name }, at) => ({ name, ...alone[at], drain: drains[at] }));
}

async function oneClient(client, hubs, follow) {
  const [read, silence, cut, end, overload] = await Promise.all([
    readsExactly(await follow(client, hubs.ordinary, "read", "heartbeat=1"), client),
    bearsSilence(await follow(client, hubs.ordinary, "silence")),
    resumes(await follow(client, hubs.ordinary, "cut", "heartbeat=4"), client),
    ends(await follow(client, hubs.ordinary, "end", "heartbeat=4")),
    bearsOverload(client, hubs.full, follow),
  ]);
  return { read, silence, cut, end, overload };
}

// Each kind of event, and then some with heartbeats between any two.
async function readsExactly(following, client) {
  const { relay } = following;
  await following.isOpen();
  const kinds = client.isJson ? JSON_KINDS : KINDS;
  const sent = [];
  for (const [kind, data, type] of kinds) {
    sent.push({ kind, ...await following.publish(data, type) });
  }
  const mark = await following.publish(following.numbered("mark"));
  await following.has(mark);
  const got = following.told;
  const wrong = sent.filter((event) => !got.some((told) => following.isSame(told, event)));
  const extra = Math.max(0, got.length - sent.length - 1);

  const begin = following.told.length;
  const beaten = [];
  for (let at = 0; at < 3; at += 1) {
    await until(() => relay.endsWithHeartbeat, `${client.name}: a heartbeat`, DEADLINE_MS);
    beaten.push(await following.publish(following.numbered(at)));
    await until(() => relay.body.includes(beaten.at(-1).id), "the event passes", DEADLINE_MS);
  }
  await until(() => relay.endsWithHeartbeat, `${client.name}: a heartbeat`, DEADLINE_MS);
  beaten.push(await following.publish(following.numbered("last")));
  await following.has(beaten.at(-1));
  const after = following.told.slice(begin);
  const isHarmless = after.length === beaten.length
    && after.every((told, at) => following.isSame(told, beaten[at]))
    && relay.subscribes.length === 1;
  return { wrong: wrong.map(({ kind }) => kind), extra, isHarmless, ...following.trouble() };
}

// The default heartbeat is the first thing after the head: does the client wait for it?
async function bearsSilence(following) {
  const { relay, trouble } = following;
  await following.isOpen();
  const heartbeats = () => relay.body.match(/^:$/gm)?.length ?? 0;
  await within(SILENCE_MS, () => relay.subscribes.length > 1 || heartbeats() > 1);
  return { isPatient: relay.subscribes.length === 1 && heartbeats() > 1, ...trouble() };
}

// Cuts anywhere in the stream.
async function resumes(following) {
  const { relay, subscription } = following;
  await following.isOpen();
  const sent = [await following.publish(following.numbered(0))];
  await following.has(sent[0]);
  relay.cut(CUTS);
  for (let at = 1; at < EVENTS; at += 1) {
    const near = () => following.told.length > at - AHEAD_MAX || subscription.over;
    await within(DEADLINE_MS, near);
    sent.push(await following.publish(following.numbered(at)));
  }
  await within(DEADLINE_MS, () => following.told.length >= EVENTS || subscription.over);
  const got = following.told;
  const lost = sent.filter((event) => !got.some((told) => following.isSame(told, event))).length;
  return { cuts: relay.cuts, lost, extra: got.length - (EVENTS - lost), ...following.trouble() };
}

// The end of the channel, and what becomes of the client when it comes back.
async function ends(following) {
  const { relay, subscription } = following;
  await following.isOpen();
  const last = await following.publish(following.numbered(0), undefined, { close: "done" });
  await following.has(last);
  await within(RETURN_MS, () => subscription.over || relay.subscribes.length > 2);
  return {
    isTold: subscription.events.some(({ type }) => type === "fanfare.end"),
    returns: relay.subscribes.length - 1,
    stops: subscription.over !== null,
    has: following.told.length,
    ...following.trouble(),
  };
}

// The channel has all the subscribers that it may have; then that one leaves.
async function bearsOverload(client, hub, follow) {
  const other = await fetch(`${hub.url}/channels/${channelOf(client, "overload")}`);
  const following = await follow(client, hub, "overload");
  const { relay, subscription } = following;
  const isRefused = () => relay.subscribes.length > 2 || subscription.over;
  await within(RETURN_MS, () => relay.subscribes.length > 1 || subscription.over);
  const sent = [await following.publish(following.numbered("while it is refused"))];
  await within(RETURN_MS, isRefused);
  await other.body.cancel();
  sent.push(await following.publish(following.numbered("after")));
  await within(DEADLINE_MS, () => following.told.length > 1 || subscription.over);
  return following.returned(sent);
}

// All clients are sent away at once; then the hub takes its drain back.
async function throughADrain(clients, hub, follow) {
  const drained = (method) => fetch(`${hub.adminUrl}/api/drain`, { method });
  const begin = async (client) => {
    const following = await follow(client, hub, "drain");
    await following.isOpen();
    const before = await following.publish(following.numbered("before"));
    await following.has(before);
    return { following, before };
  };
  const all = await Promise.all(clients.map(begin));
  await drained("POST");
  const isBack = ({ following: { relay, subscription } }) =>
    relay.subscribes.length > 1 || subscription.over;
  await within(RETURN_MS, () => all.every(isBack));
  await until(async () => (await drained("DELETE")).status === 200, "the drain is taken back");
  return Promise.all(all.map(async ({ following, before }) => {
    const after = await following.publish(following.numbered("after"));
    await within(DEADLINE_MS, () => following.told.length > 1 || following.subscription.over);
    return following.returned([before, after]);
  }));
}

// A client that follows a channel of its own through a relay of its own.
class Following {
  static async start({ client, hub, hosts, random, scenario, query = "" }) {
    const following = new Following();
    following.#client = client;
    following.#hub = hub;
    following.#channel = channelOf(client, scenario);
    following.relay = await Relay.start(hub, random);
    const asked = [client.query, query].filter(Boolean).join("&");
    const url = `${following.relay.url}/channels/${following.#channel}?${asked}`;
    following.subscription = hosts.subscribe(client, url);
    return following;
  }

  /** What the client delivered of publishers. */
  get told() {
    const isControl = ({ type }) => type?.startsWith("fanfare.");
    return this.subscription.events.filter((event) => !isControl(event));
  }

  /** Data that tells one event from another, as this client takes it. */
  numbered(at) {
    return this.#client.isJson ? JSON.stringify({ at }) : `event ${at}: käse`;
  }

  async isOpen() {
    const isOpen = () => this.relay.isOpen && this.relay.body.startsWith(":\n");
    await until(isOpen, `${this.#channel}: the client subscribes`, DEADLINE_MS);
  }

  async publish(data, type = this.#client.type, query = {}) {
    const event = type ? { event: type } : {};
    const { id } = await this.#hub.publish(this.#channel, data, { ...event, ...query });
    return { id, type: type ?? "message", data };
  }

  /** Waits until the client has delivered an event, or has had time enough. */
  async has(event) {
    const isThere = () => this.told.some((told) => this.isSame(told, event));
    return within(RETURN_MS, () => isThere() || this.subscription.over);
  }

  /** Whether what a client told is an event that was published, as far as it tells. */
  isSame(told, { id, type, data }) {
    const isSameData = this.#client.isJson
      ? isDeepStrictEqual(JSON.parse(told.data), JSON.parse(data))
      : told.data === data;
    return isSameData && (told.type ?? type) === type && (told.id || id) === id;
  }

  /** Whether the client came back and has what was published, in order and nothing else. */
  returned(sent) {
    const got = this.told;
    return {
      isExact: got.length === sent.length && got.every((told, at) => this.isSame(told, sent[at])),
      isTold: this.subscription.events.some(({ type }) => type === "fanfare.reconnect"),
      ...this.trouble(),
    };
  }

  /** What the client's program had to do itself, and why the client stopped. */
  trouble = () => {
    const { again, over } = this.subscription;
    const statuses = this.relay.subscribes.map(({ status }) => status);
    return { again: again.length, why: again[0] ?? null, over, statuses: statuses.slice(0, 20) };
  };

  #client;
  #hub;
  #channel;
}

const channelOf = ({ name }, scenario) => `${name.replaceAll("/", "-")}/${scenario}`;

// Waits until `condition` holds, and says whether it did in time.
const within = (ms, condition) =>
  until(condition, "", ms).then(() => true, () => false);

// The generator mulberry32: small, and the same numbers for the same seed.
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
