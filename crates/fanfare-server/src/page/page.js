// The page at `/`: subscribes to a channel with the browser's own EventSource, shows what comes,
// publishes, and lets its reader break the connection and watch it resume.
//
// It keeps the newest id it saw and closes its stream while its tab is hidden. A browser opens at
// most six HTTP/1.1 connections to a host, over all tabs: a seventh open stream would just hang.

const ROWS_MAX = 200;
const HISTORY_WAIT_MS_MAX = 5000;
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };

const GAP_REASONS = {
  evicted: "the hub no longer keeps them",
  epoch: "the hub was started anew and its earlier events are gone",
  lagged: "this connection was too slow for the channel",
};

let channel = "";
let lastId = ""; // where to resume: the newest id seen on this channel
let source = null; // the EventSource, while there should be one
let heard = new Set(); // the types that `source` listens to
let broken = false; // the reader broke the connection
let ended = ""; // why the hub ended the subscription
let leaving = false; // between pagehide and pageshow
let resume = null; // the newest resume, while its replayed events are being counted
let received = 0;
const fresh = []; // rows for the next frame, newest first: a fast channel redraws once a frame

const byId = (id) => document.getElementById(id);
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const seqOf = (id) => Number(id.slice(id.lastIndexOf("-") + 1));
const pathOf = (name) => name.split("/").map(encodeURIComponent).join("/");
const channelUrl = () => new URL(`/channels/${pathOf(channel)}`, location.origin);
const typesNamed = () => byId("types").value.split(",").map((type) => type.trim()).filter(Boolean);

// Begins a new subscription: no id is carried over and the list is empty.
function begin(name) {
  disconnect();
  [channel, lastId, ended, broken, received, resume] = [name, "", "", false, 0, null];
  fresh.length = 0;
  byId("events").replaceChildren();
  byId("channel").value = channel;
  byId("publish-title").textContent = `Publish to ${channel}`;
  document.title = `${channel} · Fanfare`;
  const url = channelUrl().href.replaceAll("'", "%27");
  byId("shell").textContent = `curl -N '${url}'\ncurl -d 'hello' '${url}'`;
  typesChanged();
  update();
}

// Opens or closes the stream as it is wanted now. Every change of what is wanted ends here.
function update() {
  const wanted = !broken && !ended && !leaving && !document.hidden;
  if (wanted && !source) connect();
  if (!wanted) disconnect();
  showState();
}

function connect() {
  const url = channelUrl();
  if (lastId) url.searchParams.set("last_event_id", lastId);
  source = new EventSource(url);
  source.addEventListener("open", showState);
  source.addEventListener("error", failed);
  listen();
}

function disconnect() {
  source?.close();
  source = null;
  heard.clear();
}

// Listens to the types that are named now. EventSource has no way to ask for all of them.
function listen() {
  const named = new Set(["message", ...Object.keys(control), ...typesNamed()]);
  for (const type of heard) if (!named.has(type)) source.removeEventListener(type, receive);
  for (const type of named) source.addEventListener(type, receive);
  heard = named;
}

// EventSource reconnects by itself after a cut, with the last id. After a 204 or an error status it
// gives up, its state is CLOSED, and it cannot say why; so the page asks for the channel's history.
async function failed(event) {
  if (event instanceof MessageEvent) return; // an event whose type is "error"
  if (source?.readyState !== EventSource.CLOSED) return showState();
  const reason = ended = "the answer was no event stream";
  update();
  const why = await newest().then(
    ({ closed }) => closed && "the channel is closed", (error) => error.message);
  if (why && ended === reason) ended = why;
  showState();
}

function receive(event) {
  if (!(event instanceof MessageEvent)) return; // the connection's own "open" or "error"
  const before = lastId;
  lastId = event.lastEventId;
  if (Object.hasOwn(control, event.type)) {
    control[event.type](JSON.parse(event.data), before);
  } else {
    received += 1;
    addRow("event", event.type, event.data);
    resume?.seqs.push(seqOf(lastId));
    showReplayed();
  }
  showState();
}

// What the hub says about the stream itself: each is a row of its own.
const control = {
  "fanfare.open"({ channels }, before) {
    if (!before) return addRow("open", "open", `Subscribed to ${channels.join(", ")}.`);
    resume = { after: before, seqs: [], row: addRow("resumed", "resumed", "") };
    countReplayed(resume);
  },
  "fanfare.gap"({ requested, resumed_after: after, reason }) {
    if (resume) setRow(resume.row, "open", "open", "Connected again.");
    resume = null;
    addRow("gap", "gap", `Events are missing here: ${GAP_REASONS[reason] ?? reason}. ` +
      `Asked for what came after ${requested}; it goes on after ${after}.`);
  },
  "fanfare.end"({ reason }) {
    addRow("end", "end", `The channel was closed: ${reason}.`);
    ended = `the channel was closed: ${reason}`;
    update();
  },
  "fanfare.reconnect"({ reason }) {
    addRow("reconnect", "reconnect", `The hub asks to connect again: ${reason}.`);
  },
};

// Counts the replayed events of a resume: those up to the newest that the channel had by then.
async function countReplayed(counted) {
  showReplayed();
  try {
    const { events } = await newest();
    counted.through = seqOf(events.at(-1)?.id ?? "-0");
    showReplayed();
  } catch {
    if (resume === counted) resume = null; // the resume stays in the list, without the count
  }
}

function showReplayed() {
  if (!resume) return;
  const { after, seqs, through, row } = resume;
  const replayed = seqs.filter((seq) => seq <= through).length;
  const count = through === undefined ? "" : `, ${plural(replayed, "event")} replayed`;
  setRow(row, "resumed", "resumed", `Resumed after ${after}${count}.`);
  if (seqs.at(-1) > through) resume = null; // events are live again
}

async function publish(submitted) {
  submitted.preventDefault();
  const url = channelUrl();
  const type = byId("event-type").value;
  if (type) url.searchParams.set("event", type);
  if (type && !typesNamed().includes(type)) {
    byId("types").value = [...typesNamed(), type].join(", ");
    typesChanged();
  }
  const result = byId("publish-result");
  try {
    const { id, subscribers } = await ask(url, { method: "POST", body: byId("data").value });
    result.textContent = `Published ${id} to ${plural(subscribers, "subscriber")}.`;
    result.className = "good";
  } catch (error) {
    result.textContent = error.message;
    result.className = "bad";
  }
}

// The channel's history of one event, the newest.
function newest() {
  const url = channelUrl();
  url.searchParams.set("last", "1");
  const signal = AbortSignal.timeout(HISTORY_WAIT_MS_MAX);
  return ask(url, { headers: { Accept: "application/json" }, signal });
}

// Asks the hub for JSON. A refusal is thrown with the words of its problem+json.
async function ask(url, options) {
  const answer = await fetch(url, options).catch(() => {
    throw new Error("The hub did not answer.");
  });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const { title = `Status ${answer.status}`, detail } = body;
  throw new Error(detail ? `${title}: ${detail}` : title);
}

function addRow(kind, type, data) {
  const row = byId("row").content.firstElementChild.cloneNode(true);
  const now = new Date();
  row.querySelector(".id").textContent = lastId;
  row.querySelector("time").textContent = now.toLocaleTimeString("en-GB", CLOCK);
  row.querySelector("time").dateTime = now.toISOString();
  setRow(row, kind, type, data);
  if (fresh.unshift(row) === 1) requestAnimationFrame(showRows);
  fresh.length = Math.min(fresh.length, ROWS_MAX);
  return row;
}

function setRow(row, kind, type, data) {
  row.dataset.kind = kind;
  row.querySelector(".type").textContent = type;
  row.querySelector(".data").textContent = data;
}

function showRows() {
  const list = byId("events");
  list.prepend(...fresh.splice(0));
  while (list.children.length > ROWS_MAX) list.lastChild.remove();
}

function showState() {
  const [state, name, detail] =
    ended ? ["ended", "Ended", ended]
    : broken ? ["broken", "Broken by you", lastId && `last id ${lastId}`]
    : !source ? ["paused", "Paused while hidden", ""]
    : source.readyState === EventSource.OPEN ? ["live", "Live", lastId && `last id ${lastId}`]
    : ["connecting", "Connecting", lastId && `again, after ${lastId}`];
  byId("state").dataset.state = state;
  setText("state-name", name);
  setText("state-detail", detail);
  setText("restore", ended ? "Subscribe again" : "Restore");
  setText("count", received ? `${received} received` : "");
  byId("break").disabled = broken || Boolean(ended);
  byId("restore").disabled = !broken && !ended;
}

// Text that has not changed is left alone, so that a screen reader does not say it again.
function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

// The link that opens this channel, and these types, is kept in the address.
function typesChanged() {
  if (source) listen();
  const types = typesNamed().map(encodeURIComponent).join();
  history.replaceState(null, "", `#channel=${pathOf(channel)}${types && `&types=${types}`}`);
}

function openLink() {
  const link = new URLSearchParams(location.hash.slice(1) || location.search);
  byId("types").value = link.get("types") ?? "";
  begin(link.get("channel") || "news");
}

byId("subscribe").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  begin(byId("channel").value);
});
byId("types").addEventListener("change", typesChanged);
byId("publish").addEventListener("submit", publish);
byId("data").addEventListener("keydown", (key) => {
  if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) byId("publish").requestSubmit();
});
byId("break").addEventListener("click", () => {
  broken = true;
  update();
  byId("restore").focus(); // the button just used is disabled now
});
byId("restore").addEventListener("click", () => {
  broken = false;
  ended = "";
  update();
  byId("break").focus();
});
document.addEventListener("visibilitychange", update);
addEventListener("pagehide", () => { leaving = true; update(); });
addEventListener("pageshow", () => { leaving = false; update(); });
addEventListener("hashchange", openLink);
openLink();
