// One stream of a hub's events for all tabs of an origin: what EventSource cannot do alone.
//
// Each tab knows the id of the last event it was given. One tab, the leader, holds the connection
// and tells the others each event together with the id of the one before it. A tab takes an event
// if it is new and follows on what the tab has; if something is missing in between, the tab opens a
// connection of its own after its last id, for as long as it takes to catch up. So nothing depends
// on who leads, or on when a message of a tab that has closed arrives.

/** An event of the hub. */
export interface FanfareEvent<Data = string, Type = string> {
  type: Type;
  data: Data;
  id: string;
}

/** Events were lost to this subscriber; it goes on after `resumed_after`. */
export interface Gap {
  channels: string[];
  requested: string;
  resumed_after: string;
  reason: "evicted" | "epoch" | "lagged";
}

/** A channel was closed, or the subscription is not to be had. */
export interface End {
  /** Which channels, if the hub said so. */
  channels?: string[];
  /** Why; `closed` is a channel that had ended before (204), `refused` any other final status. */
  reason: "done" | "error" | "cancelled" | "deleted" | "closed" | "refused";
  /** The HTTP status, if it was one that ended it. */
  status?: number;
  /** Whether all has ended: nothing comes any more. */
  final: boolean;
}

export type State = "connecting" | "open" | "closed";

export interface Options<Events> {
  /** What is called for the events of each type; those without a type are of type `message`. */
  on?: { [Type in keyof Events]?: (event: FanfareEvent<Events[Type], Type>) => void };
  onGap?: (gap: Gap) => void;
  onEnd?: (end: End) => void;
  onState?: (state: State) => void;
  /** Makes an event's `data` from its text, such as JSON.parse. Without it `data` is the text. */
  parse?: (data: string) => any;
  /** Where to begin: after the event of this id. */
  lastEventId?: string;
  /** Whether tabs with the same URL and types share one connection: true unless set. */
  shared?: boolean;
}

export interface Connection {
  /** The id of the last event that this tab was given. */
  readonly lastEventId: string | undefined;
  readonly state: State;
  close(): void;
}

// What tabs tell each other: an event, where the leader is, or the question where it is.
interface Message {
  event?: FanfareEvent & { final?: boolean };
  /** The leader's last id, before `event` if there is one. */
  at?: string;
  state?: State;
  asks?: boolean;
}

const OPEN = "fanfare.open";
const GAP = "fanfare.gap";
const END = "fanfare.end";
const LIVE = "fanfare.live";

/** A leader that has not answered a visible tab for so long is frozen, and the tab takes over. */
const ANSWER_MS_MAX = 5_000;
const RETRY_MS_MAX = 30_000;

/** Subscribes to `url`, such as `https://hub.example/channels/news`. */
export function connect<Events extends object = { message: string }>(
  url: string | URL,
  options: Options<Events> = {},
): Connection {
  const { shared = true, parse = (data: string) => data } = options;
  const on = (options.on ?? {}) as Record<string, (event: FanfareEvent<any>) => void>;
  const address = new URL(url, location.href);
  const types = Object.keys(on).sort();
  const name = `fanfare ${address} ${types}`;
  const { locks } = navigator;
  const life = new AbortController(); // aborted by `close`
  // Where events are put together is each connection's own, so no tab can go on after another's.
  const coalesces = address.searchParams.has("coalesce");
  const sharing = shared && !coalesces && locks && self.BroadcastChannel;
  const bus = sharing ? new BroadcastChannel(name) : undefined;

  let last = options.lastEventId; // of the last event that was given
  // A tab that asks for what was before cannot begin where the leader is.
  const replays = last !== undefined || /[?&](from=(?!now)|last)/i.test(address.search);
  let leads = !bus;
  let source: EventSource | undefined;
  let leaderAt: string | undefined; // the leader's last id, as far as this tab was told
  let leaderWasAt: string | undefined; // what that was when `source` was opened
  let channels: Set<string> | undefined; // those that have not ended
  let state: State = "connecting";
  let asks = false; // the leader where it is, and has no answer yet
  let tries = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let candidacy: AbortController | undefined;
  let resign: (() => void) | undefined;

  const tell = (message: Message) => bus?.postMessage(message);
  const tellPlace = () => leads && tell({ at: last, state });

  const setState = (now: State) => {
    if (state === now || state === "closed") return;
    state = now;
    tellPlace();
    options.onState?.(now);
  };

  const close = () => {
    withdraw();
    setState("closed");
    drop();
    clearInterval(watch);
    clearTimeout(retry);
    bus?.close();
    life.abort();
  };

  // Has a connection exactly as long as this tab needs one of its own.
  const settle = () => {
    if (!leads && (!leaderAt || order(last, leaderAt) >= 0)) return drop();
    if (source || retry || state === "closed") return;
    if (last) address.searchParams.set("last_event_id", last);
    // A tab that catches up has to know when it has.
    if (!leads) address.searchParams.set("live", "1");
    leaderWasAt = leaderAt;
    source = new EventSource(address);
    source.onopen = () => {
      tries = 0;
      setState("open");
    };
    source.onerror = fail;
    for (const type of [...types, OPEN, GAP, END, LIVE]) source.addEventListener(type, receive);
  };

  const drop = () => {
    source?.close();
    source = undefined;
  };

  const fail = (event: Event) => {
    if ("data" in event) return; // an event of the type `error`
    setState("connecting");
    if (source?.readyState !== EventSource.CLOSED) return; // it reconnects by itself
    drop();
    // It gives up at any answer but a stream of events, and cannot say which it was.
    if (last) address.searchParams.set("last_event_id", last);
    fetch(address, { headers: { Accept: "text/event-stream" } })
      .then(({ status, body }) => (body?.cancel(), status), () => 0)
      .then((status) => {
        if (state === "closed") return;
        const refused = status >= 400 && status < 500 && ![408, 425, 429].includes(status);
        if (status === 204 || refused) {
          close();
          options.onEnd?.({ reason: refused ? "refused" : "closed", status, final: true });
          return;
        }
        const wait = Math.min(1000 * 2 ** tries++, RETRY_MS_MAX) * (0.5 + Math.random() / 2);
        retry = setTimeout(() => {
          retry = undefined;
          settle();
        }, wait);
      });
  };

  // What comes over the tab's own connection.
  const receive = ({ type, data, lastEventId: id }: MessageEvent) => {
    if (data === undefined) return; // the connection's own `open` or `error`
    if (type === OPEN) {
      channels ??= new Set(JSON.parse(data).channels);
      if (last === undefined) last = id;
      tellPlace();
    } else if (type === LIVE) {
      // All that the leader had been given has come.
      if (order(last, leaderWasAt) < 0) last = leaderWasAt;
    } else if (type === GAP || !(order(last, id) >= 0)) {
      const event: Message["event"] = { type, data, id };
      if (type === END) {
        for (const channel of JSON.parse(data).channels) channels?.delete(channel);
        event.final = channels?.size === 0;
      }
      if (leads) tell({ event, at: last });
      give(event);
    }
    settle();
  };

  const give = ({ type, data, id, final }: FanfareEvent & { final?: boolean }) => {
    last = id;
    if (type === GAP) options.onGap?.(JSON.parse(data));
    else if (type === END) {
      if (final) close();
      options.onEnd?.({ ...JSON.parse(data), final });
    } else on[type]({ type, data: parse(data), id });
  };

  // What another tab tells.
  const hear = ({ data: message }: MessageEvent<Message>) => {
    if (message.asks) return tellPlace();
    const { event, at } = message;
    asks = false;
    if (last === undefined && !replays) last = at;
    leaderAt = event ? event.id : at;
    if (event) {
      const follows = last === at || order(last, at) >= 0;
      if (follows && !(order(last, event.id) >= 0)) give(event);
    } else if (!leads) setState(message.state!);
    settle();
  };

  const withdraw = () => {
    candidacy?.abort();
    candidacy = undefined;
    resign?.();
    leads = false;
  };

  const stand = (steal?: boolean) => {
    withdraw();
    const mine = (candidacy = new AbortController());
    const lead = () =>
      new Promise<void>((resolve) => {
        if (mine !== candidacy) return resolve();
        resign = resolve;
        leads = true;
        settle();
        tellPlace();
      });
    locks.request(name, steal ? { steal } : { signal: mine.signal }, lead).catch(() => {
      if (mine !== candidacy) return;
      if (leads) stand(); // another tab took over
      else leads = true; // this page may have no locks
      settle();
    });
  };

  const ask = () => tell({ asks: (asks = true) });

  const enter = () => {
    stand();
    ask();
    settle();
  };

  const watch = setInterval(() => {
    if (leads || self.document?.hidden) return;
    if (asks) stand(true);
    else ask();
  }, ANSWER_MS_MAX);
  if (bus) {
    bus.onmessage = hear;
    // A frozen tab hears the others, but gets nothing over its connection.
    addEventListener("freeze", withdraw, { capture: true, signal: life.signal });
    addEventListener("resume", enter, { capture: true, signal: life.signal });
    enter();
  } else settle();

  return {
    get lastEventId() {
      return last;
    },
    get state() {
      return state;
    },
    close,
  };
}

/** How far `a` is after `b`; ids of two epochs have no order, nor has what is no id. */
function order(a: string | undefined, b: string | undefined): number {
  const [[, epoch, seq], [, itsEpoch, itsSeq]] = [a, b].map(
    (id) => /^(.*)-(\d+)$/.exec(id ?? "") ?? [],
  );
  return epoch && epoch === itsEpoch ? +seq - +itsSeq : NaN;
}
