// Publishes this machine's load to the hub once a second, until it is stopped.

import { readFile } from "node:fs/promises";

const hub = process.env.FANFARE_URL ?? "http://127.0.0.1:8080";
const channel = `${hub}/channels/machine/load?event=sample`;

// What /proc/stat has of each core, the line of all cores first: ticks since the machine started.
async function coreTicks() {
  const lines = (await readFile("/proc/stat", "utf8")).split("\n");
  return lines.filter((line) => line.startsWith("cpu")).map((line) => {
    const [user, nice, system, idle, iowait, irq, softirq, steal] = line.match(/\d+(?= |$)/g)
      .slice(-10).map(Number);
    const busy = user + nice + system + irq + softirq + steal;
    return { busy, all: busy + idle + iowait };
  });
}

let before = await coreTicks();

async function publish() {
  const now = await coreTicks();
  const [busy, ...cores] = now.map((ticks, at) => {
    const percent = 100 * (ticks.busy - before[at].busy) / (ticks.all - before[at].all);
    return Math.round(percent * 10) / 10;
  });
  before = now;
  const load = parseFloat(await readFile("/proc/loadavg", "utf8"));
  const body = JSON.stringify({ at: Date.now(), busy, cores, load });
  const answer = await fetch(channel, { method: "POST", body });
  if (!answer.ok) throw new Error(await answer.text());
}

setInterval(() => publish().catch((error) => console.error(String(error.cause ?? error))), 1000);
