import { useEffect, useRef, useState } from "react";

export interface ChannelEvent {
  id: string;
  type: string;
  data: string;
}

export interface Channel {
  state: "connecting" | "open" | "ended";
  /** The newest events, oldest first. A `fanfare.gap` stands where events are missing. */
  events: ChannelEvent[];
}

/** Subscribes to a channel of the hub, and keeps its newest events of these types. */
export function useChannel(url: string, types = ["message"], keep = 100): Channel {
  const [channel, setChannel] = useState({ ...EMPTY, url });
  const last = useRef({ url, id: "" });
  const typeList = types.join(); // an array would be another one at each render

  useEffect(() => {
    // Effects run twice under StrictMode and again at each hot reload: go on after what is there.
    if (last.current.url !== url) last.current = { url, id: "" };
    const address = new URL(url, location.href);
    if (last.current.id) address.searchParams.set("last_event_id", last.current.id);
    const source = new EventSource(address);

    const update = (change: (channel: Channel) => Partial<Channel>) =>
      setChannel((old) => {
        const current = old.url === url ? old : { ...EMPTY, url };
        return { ...current, ...change(current) };
      });
    const receive = ({ type, data, lastEventId: id }: MessageEvent<string>) => {
      last.current.id = id;
      update(({ events }) => ({ events: [...events, { id, type, data }].slice(-keep) }));
    };
    for (const type of ["fanfare.gap", ...typeList.split(",")]) {
      source.addEventListener(type, receive);
    }
    source.addEventListener("fanfare.end", () => {
      source.close(); // or it would ask once more, to be told that nothing comes
      update(() => ({ state: "ended" }));
    });
    source.onopen = () => update(() => ({ state: "open" }));
    source.onerror = () =>
      update(() => ({ state: source.readyState === EventSource.CLOSED ? "ended" : "connecting" }));
    return () => source.close();
  }, [url, typeList, keep]);

  return channel.url === url ? channel : EMPTY;
}

const EMPTY: Channel = { state: "connecting", events: [] };
