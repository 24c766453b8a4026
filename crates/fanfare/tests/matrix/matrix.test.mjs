// Every client of docs/clients.md against the hub: what its table says is what this finds.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { Hub, until } from "../clients/hub.mjs";
import { CLIENTS } from "./clients.mjs";
import { Hosts } from "./hosts.mjs";
import { Relay } from "./relay.mjs";
import { run } from "./scenarios.mjs";
import { WHERE, inserted, table } from "./table.mjs";

const PAGE = join(import.meta.dirname, "../../../../docs/clients.md");
const REPORTS = join(import.meta.dirname, "../../../../target/matrix/reports");

// A language whose libraries cannot be had here: its rows are left as they are.
const { WITHOUT } = process.env;
const clients = CLIENTS.filter(({ language }) => language !== WITHOUT);
const known = (page) =>
  page.split("\n").filter((line) => !line.includes(`, ${WHERE[WITHOUT]} | `)).join("\n");

it("the table of docs/clients.md is what the clients do", async (t) => {
  const seed = Number(process.env.PROXY_SEED ?? randomInt(2 ** 31));
  t.diagnostic(`the seed of the cuts is ${seed}`);
  const ordinary = ["--cors-origin", "*"];
  const hubs = {
    ordinary: await Hub.start(t, ordinary),
    full: await Hub.start(t, [...ordinary, "--subscribers-per-channel-max", "1"]),
    draining: await Hub.start(t, [...ordinary, "--drain-period", "1s"]),
  };
  t.after(() => Relay.stopAll());
  const hosts = await Hosts.start(t, WITHOUT);
  const reports = await run(clients, hubs, hosts, seed);

  await mkdir(REPORTS, { recursive: true });
  for (const report of reports) {
    const file = join(REPORTS, `${report.name.replaceAll("/", "-")}.json`);
    await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
  }
  const page = await readFile(PAGE, "utf8");
  const found = inserted(page, table(clients, reports));
  if (process.env.UPDATE && !WITHOUT) await writeFile(PAGE, found);
  else assert.equal(known(page), found, `as ${REPORTS} say; UPDATE=1 writes the table`);
});
