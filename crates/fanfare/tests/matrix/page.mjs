// The clients for browsers, in one page of Chromium. `subscribe` is called from outside, and `told`
// goes there.

import { fetchEventSource } from "/npm/@microsoft/fetch-event-source/lib/esm/index.js";
import ReactNative from "/npm/react-native-sse/src/EventSource.js";
import Reconnecting from "/npm/reconnecting-eventsource/build/esnext/reconnecting-eventsource.js";
import { SSE } from "/npm/sse.js/lib/sse.js";
import { TYPES, withEventSource } from "/eventsources.mjs";

// How long a program waits until it subscribes again by hand.
const WAIT_MS = 200;

const delay = (ms) => new Promise((passed) => setTimeout(passed, ms));

// By hand: its own retry loses an event that was cut after its id, which it then sends.
async function withFetchEventSource({ url, event, again, over }) {
  for (let lastEventId = ""; ; await delay(WAIT_MS)) {
    let status;
    try {
      await fetchEventSource(url, {
        headers: { "last-event-id": lastEventId },
        openWhenHidden: true,
        onopen: async (answer) => (status = answer.status),
        onmessage: ({ event: type, data, id }) => {
          lastEventId = id || lastEventId;
          event(type || "message", data, id);
        },
        onerror: (error) => {
          throw error;
        },
      });
      if (status === 204) return over("204");
      again("the promise resolves");
    } catch (error) {
      again(error.message);
    }
  }
}

// React Native knows no CORS. Here a header that its client sends would be refused.
const { setRequestHeader } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.setRequestHeader = function (name, value) {
  if (name !== "X-Requested-With") setRequestHeader.call(this, name, value);
};

function withReactNative({ url, event, again }) {
  const source = new ReactNative(url);
  for (const type of TYPES) {
    source.addEventListener(type, ({ data, lastEventId }) => event(type, data, lastEventId));
  }
  source.addEventListener("error", async ({ xhrStatus }) => {
    if (xhrStatus !== 0) return;
    again("an error of the network");
    await delay(WAIT_MS);
    source.open();
  });
}

function withSseJs({ url, event }) {
  const source = new SSE(url, { autoReconnect: true });
  for (const type of TYPES) {
    source.addEventListener(type, ({ data, lastEventId }) => event(type, data, lastEventId));
  }
}

const CLIENTS = {
  EventSource: withEventSource(EventSource),
  "fetch-event-source": withFetchEventSource,
  "event-source-polyfill": withEventSource(globalThis.EventSourcePolyfill),
  "reconnecting-eventsource": withEventSource(Reconnecting),
  "sse.js": withSseJs,
  "react-native-sse": withReactNative,
};

globalThis.subscribe = (at, client, url) => {
  const say = (what) => globalThis.told({ at, ...what });
  CLIENTS[client]({
    url,
    event: (type, data, id) => say({ type, data, id }),
    again: (why) => say({ again: why }),
    over: (why) => say({ over: why }),
  });
};
