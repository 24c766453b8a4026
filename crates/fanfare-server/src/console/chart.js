// A small chart of the last five minutes. The curves are SVG, stretched to the card; the words are
// HTML, so that they are not. A pointer or the arrow keys read single moments off it.

import { drawing, element, setText } from "./dom.js";
import { clock } from "./format.js";
import { WINDOW_MS } from "./history.js";

const WIDTH = 600;
const HEIGHT = 100;
// Samples further apart than this have a hole between them.
const HOLE_MS = 3_500;
const KEY_STEP_MS = { ArrowLeft: -1000, ArrowRight: 1000, PageUp: -30_000, PageDown: 30_000 };

export class Chart {
  /** `series` are `{ key, name }` of the samples; `format` writes a value, `steps` says at which
      numbers a scale may end, `limit` gives a value that is drawn as a line if it is in sight. */
  constructor({ title, series, format, steps = decimal, hole = HOLE_MS }) {
    Object.assign(this, { title, series, format, steps, hole, samples: [], now: 0 });
    this.value = element("p", { class: "value" });
    this.note = element("p", { class: "note" });
    this.curves = series.map(({ key }) => drawing("path", { class: `curve ${key}` }));
    this.area = drawing("path", { class: "area" });
    this.limitLine = drawing("path", { class: "limit" });
    this.cursor = drawing("path", { class: "cursor" });
    const lines = [0, 0.5, 1].map((share) => `M0 ${share * HEIGHT}H${WIDTH}`).join("");
    const grid = drawing("path", { class: "grid", d: lines });
    this.svg = drawing(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      grid, ...(series.length === 1 ? [this.area] : []), this.limitLine, ...this.curves,
      this.cursor);
    this.top = element("span", { class: "top" });
    this.reading = element("span", { class: "reading" });
    this.plot = element(
      "div",
      { class: "plot", tabindex: 0, role: "slider", "aria-label": `${title}, read at a time`,
        "aria-orientation": "horizontal", "aria-valuemin": -WINDOW_MS / 1000, "aria-valuemax": 0,
        "aria-valuenow": 0, "aria-valuetext": "now" },
      this.svg, this.top, this.reading);
    const times = element("p", { class: "times", "aria-hidden": "true" },
      element("span", {}, "5 min ago"), element("span", {}, "now"));
    this.element = element("section", { class: "card chart" },
      element("div", { class: "head" }, element("h2", {}, title), this.value),
      this.plot, times, this.note);
    this.#listen();
  }

  /** Draws the samples; the right edge is `now`. */
  draw(samples, now, limit = null) {
    Object.assign(this, { samples, now });
    const values = samples.flatMap((sample) => this.series.map(({ key }) => sample[key] ?? 0));
    this.max = this.steps(Math.max(...values, 0));
    setText(this.top, this.format(this.max));
    const isInSight = limit > 0 && limit <= this.max;
    this.limitLine.setAttribute("d", isInSight ? `M0 ${this.#y(limit)}H${WIDTH}` : "");
    this.series.forEach(({ key }, at) => {
      const runs = this.#runs(key);
      this.curves[at].setAttribute("d", runs.map((run) => `M${run.join("L")}`).join(""));
      if (at) return;
      const foot = (point) => `${point.split(" ")[0]} ${HEIGHT}`;
      const areas = runs.map((run) => `M${foot(run[0])}L${run.join("L")}L${foot(run.at(-1))}Z`);
      this.area.setAttribute("d", areas.join(""));
    });
    if (this.readAt) this.#read(Math.max(this.readAt, now - WINDOW_MS));
  }

  /** Points of a curve, broken where nothing was measured. */
  #runs(key) {
    const runs = [];
    let last = -Infinity;
    for (const sample of this.samples) {
      if ((sample[key] ?? null) === null) continue;
      if (sample.at - last > this.hole) runs.push([]);
      last = sample.at;
      runs.at(-1).push(`${this.#x(last).toFixed(1)} ${this.#y(sample[key]).toFixed(1)}`);
    }
    // A single point has no length; this gives it some.
    for (const run of runs) if (run.length === 1) run.push(run[0].replace(/^\S+/, (x) => +x + 1));
    return runs;
  }

  #x(at) {
    return WIDTH * (1 - (this.now - at) / WINDOW_MS);
  }

  #y(value) {
    return HEIGHT * (1 - value / this.max);
  }

  #listen() {
    this.plot.addEventListener("pointermove", ({ clientX }) => {
      const { left, width } = this.plot.getBoundingClientRect();
      this.#read(this.now - WINDOW_MS * (1 - (clientX - left) / width));
    });
    this.plot.addEventListener("keydown", (pressed) => {
      const { key } = pressed;
      const oldest = this.samples[0]?.at ?? this.now;
      const from = this.readAt ?? this.now;
      const to = key === "Home" ? oldest : key === "End" ? this.now : from + KEY_STEP_MS[key];
      if (Number.isNaN(to)) return;
      pressed.preventDefault();
      this.#read(Math.min(this.now, Math.max(oldest, to)));
    });
    for (const left of ["pointerleave", "blur"]) {
      this.plot.addEventListener(left, () => {
        this.readAt = null;
        setText(this.reading, "");
        this.cursor.setAttribute("d", "");
      });
    }
  }

  /** Shows what was measured at the sample nearest to a time. */
  #read(at) {
    const distance = (sample) => Math.abs(sample.at - at);
    const near = this.samples.reduce((a, b) => a && distance(a) < distance(b) ? a : b, null);
    if (!near) return;
    this.readAt = at;
    this.cursor.setAttribute("d", `M${this.#x(near.at).toFixed(1)} 0V${HEIGHT}`);
    const parts = this.series.map(({ key, name }) =>
      [this.series.length > 1 && name, this.format(near[key])].filter(Boolean).join(" "));
    const text = `${clock(new Date(near.at))}  ${parts.join("  ")}`;
    setText(this.reading, text);
    this.plot.setAttribute("aria-valuenow", Math.round((near.at - this.now) / 1000));
    this.plot.setAttribute("aria-valuetext", text);
  }
}

/** The end of a scale in decimal numbers: a round one. */
export function decimal(max) {
  if (max <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((end) => end >= max);
}

/** The same for bytes: a power of two, or half way to the next. */
export function binary(max) {
  if (max <= 0) return 1024;
  const power = 2 ** Math.floor(Math.log2(max));
  return [1, 1.5, 2].map((step) => step * power).find((end) => end >= max);
}
