// The few ways in which the console touches the document. Whatever the hub sends ends as text.

export const byId = (id) => document.getElementById(id);

/** An element with attributes, and children that are elements or text. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Text that has not changed is left alone: a screen reader would say it again. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** Shows a text or, if there is none, hides its place. */
export function showText(node, text) {
  setText(node, text);
  node.hidden = !text;
}

/** Says how an action ended. */
export function showResult(output, text, isGood) {
  output.className = isGood ? "good" : "bad";
  setText(output, text);
}

/** Gives `parent` as many children as there are `items`; those that are there are used again, so
    that focus and selection stay. */
export function keepRows(parent, items, make, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, at) => {
    if (at === parent.children.length) parent.append(make());
    update(parent.children[at], item);
  });
}

/** Fills a table body with bars: a name, its share or null, its words, whether it may be full. */
export function showGauges(body, gauges) {
  const make = () => element("tr", {}, element("th", { scope: "row" }),
    element("td", {}, makeGauge()));
  keepRows(body, gauges, make, (row, [name, ...gauge]) => {
    setText(row.cells[0], name);
    setGauge(row.cells[1].firstElementChild, ...gauge);
  });
}

/** Fills a list of facts from pairs of a name and a text. */
export function showFacts(list, facts) {
  const make = () => element("div", {}, element("dt"), element("dd"));
  keepRows(list, facts, make, (row, [name, text]) => {
    setText(row.firstElementChild, name);
    setText(row.lastElementChild, text);
  });
}

/** A bar with its words. */
export function makeGauge() {
  const fill = element("div", { class: "fill" });
  const bar = element("div", { class: "bar", "aria-hidden": "true" }, fill);
  return element("div", { class: "gauge" }, bar, element("span"));
}

/** Sets a bar; without a share it is no bar, only words. What `mayBeFull` is never called near. */
export function setGauge(gauge, share, text, mayBeFull = false) {
  const [bar, words] = gauge.children;
  bar.hidden = share === null;
  const percent = Math.min(100, 100 * (share ?? 0));
  bar.firstElementChild.style.width = `${percent.toFixed(2)}%`;
  const level = share >= FULL ? "full" : share >= NEAR ? "near" : "calm";
  bar.dataset.level = mayBeFull ? "calm" : level;
  setText(words, text);
}

/** From this share on a limit is called near, and from the second on as good as reached. */
export const NEAR = 0.8;
const FULL = 0.95;
