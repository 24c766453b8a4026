import { Chart } from "./Chart";
import { useChannel, type ChannelEvent } from "./useChannel";

/** What publish-load.mjs publishes. */
interface Sample {
  at: number;
  busy: number;
  cores: number[];
  load: number;
}

const ROWS = 12;
const STATES = { connecting: "Connecting", open: "Live", ended: "Ended" };

const percent = (value: number) => `${Math.round(value)} %`;
const decimal = (value: number) => value.toFixed(2);

export function App() {
  const { state, events } = useChannel("/channels/machine/load?last=120", ["sample"], 150);
  const samples = events.filter(isSample).map(sampleOf);
  const cores = samples.at(-1)?.cores.length ?? 1;
  const highest = Math.max(cores, ...samples.map(({ load }) => load));

  return (
    <main>
      <header>
        <h1>Load of this machine</h1>
        <p className={`state ${state}`} role="status">{STATES[state]}</p>
      </header>
      <div className="charts">
        <Chart
          title={`Busy, all ${cores} cores`}
          points={samples.map(({ at, busy }) => ({ at, value: busy }))}
          max={100}
          format={percent}
        />
        <Chart
          title="Load average, 1 min"
          points={samples.map(({ at, load }) => ({ at, value: load }))}
          max={Math.ceil(highest)}
          format={decimal}
        />
      </div>
      <h2>Events</h2>
      <ol className="feed">
        {events.slice(-ROWS).reverse().map((event) => (
          <li key={event.type + event.id} className={isSample(event) ? "" : "gap"}>
            {isSample(event) ? <Row sample={sampleOf(event)} /> : "Events are missing here."}
            <code>{event.id}</code>
          </li>
        ))}
      </ol>
      {events.length === 0 && <p className="hint">Nothing yet: is <code>npm run load</code> up?</p>}
    </main>
  );
}

function Row({ sample: { at, cores, load } }: { sample: Sample }) {
  return (
    <>
      <time>{new Date(at).toLocaleTimeString("en-GB")}</time>
      <span className="cores">
        {cores.map((busy, core) => (
          <meter key={core} max={100} value={busy} title={`core ${core}: ${percent(busy)}`} />
        ))}
      </span>
      <span className="number">{decimal(load)}</span>
    </>
  );
}

const isSample = ({ type }: ChannelEvent) => type === "sample";
const sampleOf = ({ data }: ChannelEvent): Sample => JSON.parse(data);
