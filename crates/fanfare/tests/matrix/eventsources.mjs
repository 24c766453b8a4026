// What follows a channel with a client that has the interface of `EventSource`, in Node and in
// Chromium. A subscription is its URL, and what its program tells: `event`, `again` and `over`.

export const TYPES = [
  "message", "tick", "fanfare.open", "fanfare.gap", "fanfare.end", "fanfare.reconnect",
];

export const withEventSource = (Client, options = {}) => ({ url, event, over }) => {
  const source = new Client(url, options);
  for (const type of TYPES) {
    source.addEventListener(type, ({ data, lastEventId }) => event(type, data, lastEventId));
  }
  source.onerror = () => {
    if (source.readyState === 2) over("closed");
  };
};
