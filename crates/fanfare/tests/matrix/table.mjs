// The table of docs/clients.md, made of the reports of a run.

const BEGIN = "<!-- clients -->";
const END = "<!-- /clients -->";

/** Where the clients of a language run, as the table says. */
export const WHERE = {
  browser: "browsers", node: "Node", python: "Python", rust: "Rust", go: "Go", java: "Java",
};

/** The page with a table between its marks. */
export function inserted(page, text) {
  const [before, rest] = page.split(`${BEGIN}\n`);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`no ${BEGIN} … ${END}`);
  return `${before}${BEGIN}\n${text}${END}${after}`;
}

/** The table. */
export function table(clients, reports) {
  const head = [
    "client", "events exact", "heartbeats", "after a cut", "at the end", "at a drain",
    "at overload", "what to do",
  ];
  const rows = clients.map((client, at) => {
    const { read, silence, cut, end, drain, overload } = reports[at];
    const where = client.name === "curl" ? "" : `, ${WHERE[client.language]}`;
    return [
      client.what + where, exact(read, client), heartbeats(read, silence), resume(cut), ending(end),
      back(drain), back(overload), client.advice,
    ];
  });
  const lines = [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |\n`);
  return lines.join("");
}

function exact({ wrong, extra }, { isJson }) {
  const faults = [...wrong.map((kind) => `not ${kind}`), ...(extra ? [`${extra} too many`] : [])];
  return faults.length ? faults.join(", ") : isJson ? "yes, of JSON" : "yes";
}

function heartbeats({ isHarmless }, { isPatient }) {
  return (isHarmless ? "harmless" : "**harm**") + (isPatient ? "" : ", but 15 s is too rare");
}

function resume({ cuts, lost, extra, again }) {
  if (!cuts) return "**not tested**";
  if (lost || extra) return "**not exact**";
  return again ? "exact, by hand" : "exact, by itself";
}

function ending({ has, isTold, returns, stops }) {
  if (has !== 1) return `**${has} events**`;
  if (!isTold && !returns && stops) return "the stream ends";
  const told = isTold ? "told" : "not told";
  if (stops) return `${told}, ${returns ? "204 stops it" : "stops"}`;
  return `${told}, ${returns > 1 ? "comes back for ever" : "stays away"}`;
}

function back({ isExact, over, again }) {
  if (over) return "**stops**";
  if (!isExact) return "**loses or repeats**";
  return again ? "comes back by hand" : "comes back";
}
