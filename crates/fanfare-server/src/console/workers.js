// The worker threads, one row each.

import { byId, element, keepRows, makeGauge, setGauge, setText } from "./dom.js";
import { count } from "./format.js";

export function show() {}

export function hide() {}

export function update({ workers }) {
  keepRows(byId("workers-rows"), workers, makeRow, (row, worker) => {
    const [name, busy, ...numbers] = row.cells;
    setText(name, worker.worker);
    const share = worker.busy_percent / 100;
    setGauge(busy.firstElementChild, share, `${worker.busy_percent.toFixed(1)}\u00a0%`);
    const { subscribers, queue_groups: groups, queue_members: members, queue_attach: attach } =
      worker;
    [subscribers, groups, members, attach].forEach((number, at) =>
      setText(numbers[at], count(number)));
  });
}

function makeRow() {
  const numbers = Array.from({ length: 4 }, () => element("td", { class: "number" }));
  return element("tr", {}, element("th", { scope: "row" }), element("td", {}, makeGauge()),
    ...numbers);
}
