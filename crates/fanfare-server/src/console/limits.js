// Every limit, how near it is, and how often it was reached.

import { NEAR, byId, element, keepRows, makeGauge, setGauge, setText } from "./dom.js";
import { bytes, count, percent, plural } from "./format.js";

export function show() {}

export function hide() {}

export function update({ limits }) {
  keepRows(byId("limits-rows"), limits, makeRow, (row, { limit, used, max, reached_total }) => {
    const [name, gauge, reached] = row.cells;
    setText(name, limit.replaceAll("_", " "));
    const share = shareOf({ used, max });
    setGauge(gauge.firstElementChild, share, words(limit, used, max, share));
    setText(reached, count(reached_total));
    row.dataset.reached = reached_total > 0;
  });
  const near = limits.filter((limit) => shareOf(limit) >= NEAR).length;
  const reached = limits.filter(({ reached_total: total }) => total).length;
  setText(byId("limits-count"), `${near ? `${near} near now` : "none is near now"} · ` +
    `${reached ? `${plural(reached, "limit")} reached` : "none was reached"} since the start`);
}

function shareOf({ used, max }) {
  return max && (used ?? null) !== null ? used / max : null;
}

function words(limit, used, max, share) {
  const write = limit.includes("bytes") ? bytes : count;
  const isSet = Boolean(max);
  if ((used ?? null) === null) return isSet ? `at most ${write(max)}` : "no limit";
  return isSet ? `${write(used)} of ${write(max)} (${percent(share)})` : `${write(used)}, no limit`;
}

function makeRow() {
  return element("tr", {}, element("th", { scope: "row" }), element("td", {}, makeGauge()),
    element("td", { class: "number" }));
}
