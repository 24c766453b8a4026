// What tests of examples use: hubs, programs, Chromium, and waiting for a condition.

import { execFile, spawn } from "node:child_process";
import { createServer } from "node:net";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";
import { CHROMIUM_ARGS } from "../../crates/fanfare/tests/clients/tabs.mjs";
import { until } from "../../crates/fanfare/tests/clients/hub.mjs";
import playwright from "../../crates/fanfare/tests/clients/node_modules/playwright-core/index.js";

export { Hub, until } from "../../crates/fanfare/tests/clients/hub.mjs";

const OUTPUT_CHARS_MAX = 20_000;
const STARTS_WITHIN_MS = 20_000;

/** Chromium. Whoever starts it closes it. */
export const launchChromium = () =>
  playwright.chromium.launch({ executablePath: process.env.CHROMIUM, args: CHROMIUM_ARGS });

/** A port of this machine that is free now. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/**
 * Starts a program and kills it when the test `t` ends. Waits until its output, without colours,
 * matches `ready`, and returns the process with that match as `ready`, and `output()`.
 */
export async function start(t, [command, ...args], { ready, env = {}, ...options }) {
  const child = spawn(command, args, {
    ...options,
    env: { ...process.env, ...env },
    detached: true, // a group of its own, so that what it starts ends with it
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => (said = (said + text).slice(-OUTPUT_CHARS_MAX)));
  }
  child.output = () => stripVTControlCharacters(said);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const kill = () => hasEnded() || process.kill(-child.pid, "SIGKILL");
  process.on("exit", kill);
  t.after(async () => {
    process.off("exit", kill);
    if (hasEnded()) return;
    const exited = once(child, "exit");
    kill();
    await exited;
  });
  const name = [command, ...args].join(" ");
  const met = () => ready.exec(child.output()) ?? hasEnded();
  child.ready = await until(met, `${name} starts`, STARTS_WITHIN_MS).catch((error) => {
    throw new Error(`${error.message}\n${child.output()}`);
  });
  if (child.ready === true) throw new Error(`${name} ended:\n${child.output()}`);
  return child;
}

/** Runs a program in a folder to its end, and throws what it says if it fails. */
export async function run(cwd, command, ...args) {
  await promisify(execFile)(command, args, { cwd }).catch((error) => {
    throw new Error(`${command} ${args.join(" ")}:\n${error.stdout}${error.stderr}`);
  });
}

/** Where `make test` leaves a picture of what a page looks like. */
export async function screenshot(page, name) {
  const folder = process.env.SCREENSHOTS;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
