// The list of channels. The hub searches, sorts and pages; this page holds one page of it.

import { ask, linkTo, urlOf } from "./api.js";
import { byId, element, keepRows, setText, showText } from "./dom.js";
import { ago, alive, bytes, count, plural, short } from "./format.js";

const ROWS = 50;
const REFRESH_MS = 3_000;
const TYPING_MS = 250;
// Pages that "previous" finds again; beyond them it begins at the first.
const TRAIL_MAX = 10_000;
const COLUMNS = [
  ["", (row) => row.channel],
  ["number", (row) => count(row.subscribers)],
  ["number", (row) => short(row.rate_per_s)],
  ["number wide", (row) => count(row.events_total)],
  ["number wide", (row) => count(row.ring_events)],
  ["number wide", (row) => bytes(row.ring_bytes)],
  ["number wide", (row, now) => ago(row.last_published_at, now)],
  ["wide", (row) => row.closed ? `closed: ${row.closed}` : alive(row)],
];

let asked = { text: "", how: "contains", sort: "subscribers" };
let trail = [""]; // what each page up to this one was asked with, as `after`
let next = null;
let said = ""; // the search whose result was said
let hubTime = null; // the newest that the hub told: a browser's clock may be wrong
let shown = false;
let timer = 0;
let request = null;

/** Opens the list as the link says. */
export function show(link) {
  shown = true;
  const how = link.has("prefix") ? "prefix" : "contains";
  const sort = link.get("sort") ?? "subscribers";
  const wanted = { text: link.get(how) ?? "", how, sort };
  if (JSON.stringify(wanted) !== JSON.stringify(asked)) trail = [""];
  asked = wanted;
  if (byId("search-text").value !== asked.text) byId("search-text").value = asked.text;
  byId("search-how").value = how;
  byId("search-sort").value = sort;
  for (const head of byId("channels-table").querySelectorAll("[data-sort]")) {
    const direction = sort === "name" ? "ascending" : "descending";
    if (head.dataset.sort === sort) head.setAttribute("aria-sort", direction);
    else head.removeAttribute("aria-sort");
  }
  load();
}

export function hide() {
  shown = false;
  request?.abort();
  clearTimeout(timer);
}

export function update(stats) {
  hubTime = stats.time_ms;
}

async function load() {
  clearTimeout(timer);
  request?.abort();
  const { signal } = request = new AbortController();
  const query = { [asked.how]: asked.text, sort: asked.sort, limit: ROWS, after: trail.at(-1) };
  let [page, problem] = [null, ""];
  try {
    page = await ask(urlOf("channels", query), { signal });
  } catch (error) {
    problem = error.message;
  }
  if (signal.aborted) return;
  timer = setTimeout(refresh, REFRESH_MS);
  showText(byId("channels-problem"), problem);
  if (page) showPage(page);
}

// Rows do not move under a pointer that is about to click, under the keyboard's focus, or unseen.
function refresh() {
  const rows = byId("channels-rows");
  const isHeld = document.hidden || rows.matches(":hover") || rows.contains(document.activeElement);
  if (isHeld) timer = setTimeout(refresh, REFRESH_MS);
  else load();
}

function showPage(page) {
  const now = hubTime ?? Date.now();
  keepRows(byId("channels-rows"), page.channels, makeRow, (row, info) => {
    const link = row.cells[0].firstElementChild;
    link.setAttribute("href", linkTo(info.channel));
    COLUMNS.forEach(([, text], at) => setText(at ? row.cells[at] : link, text(info, now)));
    row.dataset.closed = Boolean(info.closed);
  });
  next = page.next ?? null;
  const { total } = page;
  const how = asked.how === "prefix" ? "by how the name begins" : "by what the name contains";
  const found = plural(total, "channel") + (asked.text ? ` found ${how}` : "");
  setText(byId("channels-count"), found);
  // Said once for each search, not each time that the list is refreshed.
  if (said !== JSON.stringify(asked)) setText(byId("channels-said"), found);
  said = JSON.stringify(asked);
  showEmpty(page.channels.length === 0);
  const pages = Math.max(1, Math.ceil(total / ROWS));
  setText(byId("channels-page"), `Page ${count(trail.length)} of ${count(pages)}`);
  byId("channels-first").disabled = byId("channels-previous").disabled = trail.length === 1;
  byId("channels-next").disabled = next === null;
}

function makeRow() {
  const cells = COLUMNS.slice(1).map(([name]) => element("td", { class: name }));
  return element("tr", {}, element("th", { scope: "row" }, element("a")), ...cells);
}

// A channel that is not there yet has a page, too: there it can be published to.
function showEmpty(isEmpty) {
  const empty = byId("channels-empty");
  empty.hidden = !isEmpty;
  if (!isEmpty) return;
  empty.replaceChildren(asked.text ? "No channel matches. " : "There is no channel yet.");
  if (!asked.text) return;
  const link = element("a", { href: linkTo(asked.text) }, `Open “${asked.text}” all the same`);
  empty.append(link, ".");
}

// What is asked for is kept in the address, so that the browser's way back leads here again.
function askFor(changed) {
  const { text, how, sort } = { ...asked, ...changed };
  const link = new URLSearchParams();
  if (text) link.set(how, text);
  if (sort !== "subscribers") link.set("sort", sort);
  history.replaceState(null, "", `#/channels${link.size ? `?${link}` : ""}`);
  if (how === "prefix" && !text) link.set("prefix", "");
  trail = [""];
  show(link);
}

function turn(pages) {
  trail = pages.slice(-TRAIL_MAX);
  if (trail[0] !== "") trail[0] = "";
  load();
  byId("channels-table").scrollIntoView({ block: "nearest" });
}

let typing = 0;
byId("search-text").addEventListener("input", ({ target }) => {
  clearTimeout(typing);
  typing = setTimeout(() => shown && askFor({ text: target.value.trim() }), TYPING_MS);
});
byId("search").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  clearTimeout(typing);
  askFor({ text: byId("search-text").value.trim() });
});
byId("search-how").addEventListener("change", ({ target }) => askFor({ how: target.value }));
byId("search-sort").addEventListener("change", ({ target }) => askFor({ sort: target.value }));
byId("channels-table").tHead.addEventListener("click", ({ target }) => {
  const sort = target.closest("button")?.parentElement.dataset.sort;
  if (sort) askFor({ sort });
});
byId("channels-first").addEventListener("click", () => turn([""]));
byId("channels-previous").addEventListener("click", () => turn(trail.slice(0, -1)));
byId("channels-next").addEventListener("click", () => turn([...trail, next]));
