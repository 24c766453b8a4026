// The operators' console: one page whose views are chosen by the fragment of its address, all fed
// by one stream of the hub's statistics.

import * as channel from "./console/channel.js";
import * as channels from "./console/channels.js";
import { byId, setText } from "./console/dom.js";
import * as drain from "./console/drain.js";
import { follow } from "./console/feed.js";
import { clock } from "./console/format.js";
import { History } from "./console/history.js";
import * as limits from "./console/limits.js";
import * as overview from "./console/overview.js";
import * as workers from "./console/workers.js";

const views = { overview, channels, channel, workers, limits, drain };
const FEED_WORDS = {
  connecting: "Connecting", live: "Live", paused: "Paused while hidden", refused: "Refused",
};

const samples = new History();
let current = "";
let stats = null; // the newest
let drawing = false; // a frame is asked for

/** What an address names: a view, its query, and for a channel's page the channel. */
function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [first, ...rest] = path.split("/");
  const link = new URLSearchParams(query);
  if (first === "channels" && rest.length) {
    return { view: "channel", link, name: rest.map(decoded).join("/") };
  }
  return { view: Object.hasOwn(views, first) && first !== "channel" ? first : "overview", link };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function route() {
  const { view, link, name } = parse(location.hash);
  const isFirst = !current;
  if (current && current !== view) views[current].hide();
  const hasMoved = current !== view || name !== undefined;
  current = view;
  for (const id of Object.keys(views)) byId(id).hidden = id !== view;
  for (const item of document.querySelectorAll("nav a")) {
    const isCurrent = item.dataset.view === (view === "channel" ? "channels" : view);
    if (isCurrent) item.setAttribute("aria-current", view === "channel" ? "true" : "page");
    else item.removeAttribute("aria-current");
  }
  views[view].show(link, name);
  const title = byId(`${view}-title`);
  document.title = `${title.textContent} · Fanfare console`;
  if (!isFirst && hasMoved) {
    title.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  draw();
}

function draw() {
  drawing = false;
  if (!stats) return;
  drain.showBanner(stats, current === "drain");
  views[current].update(stats, samples);
}

follow({
  onStats(told) {
    samples.add(told);
    stats = told;
    if (!drawing) requestAnimationFrame(draw);
    drawing = true;
  },
  onState(state, why = "") {
    byId("feed").dataset.state = state;
    document.body.dataset.feed = state;
    setText(byId("feed-name"), FEED_WORDS[state]);
    const isStale = stats && state === "connecting";
    setText(byId("feed-detail"), isStale ? `figures of ${clock(new Date(stats.time_ms))}` : why);
  },
});
addEventListener("hashchange", route);
route();
