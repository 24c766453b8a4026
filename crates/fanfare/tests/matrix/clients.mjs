// The clients of the table, and what its last column advises. `query` is what a program adds to the
// URL for that client; `isJson` says that the client parses the data of each event; `type` is the
// one type of event that it lets through.

export const CLIENTS = [
  {
    name: "EventSource", language: "browser", what: "`EventSource` of Chromium",
    advice: "No headers and no status: [the client module](../client/README.md) adds what it lacks",
  },
  {
    name: "fetch-event-source", language: "browser", what: "`@microsoft/fetch-event-source` 2.0.1",
    advice: "Not kept since 2023. Its own retry loses an event that was cut after its id: throw "
      + "from `onerror`, then call it again with the id of the last event as `last-event-id` in "
      + "`headers`. A clean end resolves its promise",
  },
  {
    name: "event-source-polyfill", language: "browser", what: "`event-source-polyfill` 1.0.31",
    advice: "Reconnects after 45 s of silence: the default heartbeat of 15 s is enough",
  },
  {
    name: "reconnecting-eventsource", language: "browser", what: "`reconnecting-eventsource` 1.6.5",
    advice: "204 does not stop it: call `close()` at `fanfare.end`",
  },
  {
    name: "sse.js", language: "browser", what: "`sse.js` 2.8.0",
    advice: "Set `autoReconnect: true`. 204 does not stop it: call `close()` at `fanfare.end`. It "
      + "keeps all text of a connection in memory: `--connection-age-max` bounds it",
  },
  {
    name: "react-native-sse", language: "browser", what: "`react-native-sse` 1.2.1",
    advice: "Strips spaces: send JSON. After an error of the network call `open()` again; "
      + "204 does not stop it: call `close()` at `fanfare.end`",
  },
  {
    name: "undici", language: "node", what: "`EventSource` of Node 24 (undici)",
    advice: "Wants `--experimental-eventsource`, or import it from `undici`",
  },
  {
    name: "eventsource", language: "node", what: "`eventsource` 5.1.5",
    advice: "While it waits to come back it does not keep an idle process alive: see "
      + "[examples/node-client](../examples/node-client/follow.mjs)",
  },
  {
    name: "eventsource-parser", language: "node", what: "`eventsource-parser` 4.1.3 and `fetch`",
    advice: "A parser only: subscribe again with the last id in `Last-Event-ID`",
  },
  {
    name: "curl", language: "node", what: "`curl -N`",
    advice: "Exit status 18 is a cut: ask again with `-H 'Last-Event-ID: …'`",
  },
  {
    name: "httpx-sse", language: "python", what: "`httpx-sse` 0.4.3",
    advice: "A loop of 15 lines: [examples/python-client](../examples/python-client/follow.py)",
  },
  {
    name: "sseclient-py", language: "python", what: "`sseclient-py` 1.9.0 and `requests`",
    advice: "A parser only: subscribe again with the last id in `Last-Event-ID`",
  },
  {
    name: "aiohttp-sse-client", language: "python", what: "`aiohttp-sse-client` 0.2.1",
    advice: "Not kept since 2021. Strips spaces before data and line ends after it: send JSON. "
      + "After a cut begin again with the last id in `headers`. aiohttp ends a connection after 5 "
      + "minutes unless `timeout` is given",
  },
  {
    name: "openai", language: "python", what: "`openai` 3.54.0", isJson: true,
    query: "from=start&control=off",
    advice: "`control=off`, `Accept: text/event-stream`, and JSON in every event. It shows no ids: "
      + "read again with `from=start` and skip what was seen",
  },
  {
    name: "anthropic", language: "python", what: "`anthropic` 2.12.0", isJson: true,
    query: "from=start&control=off", type: "content_block_delta",
    advice: "As `openai`. Events without a type are left out, and so are those of type `ping`",
  },
  {
    name: "reqwest-eventsource", language: "rust", what: "`reqwest-eventsource` 0.6.0",
    advice: "Not kept since 2024",
  },
  {
    name: "eventsource-client", language: "rust", what: "`eventsource-client` 0.18 (LaunchDarkly)",
    advice: "204 does not stop it: stop at `fanfare.end`, and at a `Connected` of status 204 as in "
      + "[examples/rust-client](../examples/rust-client/src/main.rs)",
  },
  {
    name: "r3labs/sse", language: "go", what: "`r3labs/sse` 2.10.0",
    advice: "Not kept since 2023. Delivers the rest of an event that was cut, as if it were whole: "
      + "take another. Its backoff gives up after 15 minutes unless `ReconnectStrategy` "
      + "is set, and at 204 it comes back until then: stop at `fanfare.end`. Events of more than "
      + "64 KiB want `ClientMaxBufferSize`",
  },
  {
    name: "tmaxmax/go-sse", language: "go", what: "`tmaxmax/go-sse` 0.12.0",
    advice: "Events of more than 64 KiB want `Buffer`: "
      + "[examples/go-client](../examples/go-client/main.go)",
  },
  {
    name: "okhttp-eventsource", language: "java", what: "`okhttp-eventsource` 4.1.1 (LaunchDarkly)",
    advice: "Set `readTimeout` to 40 s, or ask for `heartbeat=4`; `ErrorStrategy.alwaysContinue()` "
      + "makes it reconnect. 204 does not stop it: stop at `fanfare.end`",
  },
  {
    name: "okhttp-sse", language: "java", what: "`okhttp-sse` 4.12.0",
    advice: "Set OkHttp's `readTimeout` to 40 s, or ask for `heartbeat=9`. Subscribe again from "
      + "`onClosed` and `onFailure`, but not at 204",
  },
];
