export interface Point {
  at: number; // ms
  value: number;
}

interface Props {
  title: string;
  points: Point[];
  max: number;
  format: (value: number) => string;
}

const SPAN_MS = 120_000;
const PAUSE_MS = 5_000; // points further apart are not joined

/** A line of the last two minutes. */
export function Chart({ title, points, max, format }: Props) {
  const newest = points.at(-1);
  const end = newest?.at ?? 0;
  const shown = points.filter(({ at }) => at >= end - SPAN_MS);
  const x = ({ at }: Point) => round(100 - (100 * (end - at)) / SPAN_MS);
  const y = ({ value }: Point) => round(100 - (100 * Math.min(value, max)) / max);

  const parts: Point[][] = [];
  for (const point of shown) {
    const part = parts.at(-1);
    if (part && point.at - part.at(-1)!.at <= PAUSE_MS) part.push(point);
    else parts.push([point]);
  }
  const lines = parts.map((part) => "M" + part.map((p) => `${x(p)} ${y(p)}`).join("L"));
  const areas = parts.map(
    (part, at) => `${lines[at]}L${x(part.at(-1)!)} 100L${x(part[0])} 100Z`,
  );

  return (
    <figure className="chart">
      <figcaption>
        <span>{title}</span>
        <output>{newest ? format(newest.value) : "–"}</output>
      </figcaption>
      <div className="plot">
        <svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label={title}>
          <path className="grid" d="M0 25H100M0 50H100M0 75H100" />
          <path className="area" d={areas.join("")} />
          <path className="line" d={lines.join("")} />
        </svg>
        <span className="top">{format(max)}</span>
      </div>
      <div className="times">
        <span>2 min ago</span>
        <span>1 min</span>
        <span>now</span>
      </div>
    </figure>
  );
}

const round = (number: number) => Math.round(number * 100) / 100;
