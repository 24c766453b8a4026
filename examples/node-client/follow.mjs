// Follows a channel with npm's eventsource: resumes exactly after a cut, tells of gaps, stops at
// the end. The same code runs in browsers, with their own EventSource.

import { EventSource } from "eventsource";

function follow(url, { types = ["message"], onEvent, onGap, onEnd, onRefused }) {
  const source = new EventSource(url);
  for (const type of types) source.addEventListener(type, onEvent);
  source.addEventListener("fanfare.gap", ({ data }) => onGap(JSON.parse(data)));
  source.addEventListener("fanfare.end", ({ data }) => {
    source.close();
    onEnd(JSON.parse(data).reason);
  });
  source.addEventListener("error", ({ code, message }) => {
    if (source.readyState !== EventSource.CLOSED) return; // It was cut, and comes back by itself.
    if (code === 204) onEnd(); // It ended while we were away, and we had seen all of it.
    else onRefused(message);
  });
}

// While eventsource waits to come back, it does not keep a program that does nothing else alive.
const alive = setInterval(() => {}, 60_000);

follow(process.argv[2], {
  onEvent: ({ data }) => console.log(data),
  onGap: (gap) => console.error("fanfare.gap", JSON.stringify(gap)),
  onEnd: (reason) => {
    clearInterval(alive);
    console.error("fanfare.end", JSON.stringify({ reason }));
  },
  onRefused: (message) => {
    console.error(message);
    process.exit(1);
  },
});
