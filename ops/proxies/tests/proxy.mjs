// Starts proxies from the recipes beside this directory. A recipe is used as it is, but for the
// addresses and the directories that it names, so that a proxy runs on loopback without rights.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../../crates/fanfare/tests/clients/hub.mjs";

const RECIPES = join(import.meta.dirname, "..");
const HUB = "127.0.0.1:8080";
const LISTENS_WITHIN_MS = 20_000;

// For each recipe: what in it stands for what here, how the proxy is started, and what README.md
// says of it: whether it shows a client that the hub cut a stream, and how it is told to speak
// HTTP/2 to the hub.
export const RECIPE_OF = {
  nginx: {
    file: "nginx.conf",
    here: ({ at, port }) => [
      ["listen 0.0.0.0:80 ", `listen 127.0.0.1:${port} `],
      ["/run/", `${at}/`],
      ["/var/log/nginx/", `${at}/`],
    ],
    command: ({ at, file }) =>
      ["nginx", "-p", at, "-e", `${at}/early.log`, "-c", file, "-g", "daemon off;"],
    cuts: true,
  },
  haproxy: {
    file: "haproxy.cfg",
    here: ({ port }) => [["bind 0.0.0.0:80\n", `bind 127.0.0.1:${port}\n`]],
    command: ({ file }) => ["haproxy", "-db", "-f", file],
    cuts: true,
    http2: [
      `\n    server hub ${HUB}\n`,
      `\n    server hub ${HUB} proto h2\n    http-reuse always\n`,
    ],
    // Over HTTP/2 it may close a client's connection, in place of an answer, when the hub goes.
    hangsUp: true,
  },
  caddy: {
    file: "Caddyfile",
    here: ({ port }) => [
      ["\nhttp://:80 {", `\nhttp://127.0.0.1:${port} {`],
      ["admin localhost:2019", "admin off"],
    ],
    command: ({ file }) => ["caddy", "run", "--adapter", "caddyfile", "--config", file],
    cuts: false,
    http2: [`\treverse_proxy ${HUB} {`, `\treverse_proxy h2c://${HUB} {`],
  },
  apache: {
    file: "apache.conf",
    here: ({ at, port }) => [
      ["Listen 0.0.0.0:80\n", `Listen 127.0.0.1:${port}\n`],
      ["/run/apache2", at],
      ["/var/log/apache2", at],
      ["/etc/apache2/apache-no-hub.asis", join(RECIPES, "apache-no-hub.asis")],
    ],
    command: ({ at, file }) => ["apache2", "-d", at, "-f", file, "-DFOREGROUND"],
    cuts: true,
  },
  envoy: {
    file: "envoy.yaml",
    here: ({ port }) => [
      ["{ address: 0.0.0.0, port_value: 80 }", `{ address: 127.0.0.1, port_value: ${port} }`],
    ],
    hub: (port) => ["127.0.0.1, port_value: 8080 ", `127.0.0.1, port_value: ${port} `],
    command: ({ file }) => [process.env.ENVOY ?? "envoy", "--use-dynamic-base-id",
      "--concurrency", "1", "-l", "error", "-c", file],
    cuts: true,
    http2: ["{ http_protocol_options: {} }\n", "{ http2_protocol_options: {} }\n"],
  },
};

/** Whether a proxy is installed. ENVOY may name Envoy, which Debian does not have. */
export function isInstalled(name) {
  const [program] = RECIPE_OF[name].command({});
  try {
    execFileSync("sh", ["-c", `command -v "${program}"`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** A proxy in a process of its own. */
export class Proxy {
  /** Starts one before the hub on `hubPort`, and kills it when the test `t` ends. */
  static async start(t, name, hubPort, { http2 = false } = {}) {
    const recipe = RECIPE_OF[name];
    const proxy = new Proxy();
    const at = await mkdtemp(join(tmpdir(), `fanfare-${name}-`));
    // Those that are started as root give up their rights, and still have to write there.
    await chmod(at, 0o777);
    proxy.port = await freePort();
    const { port } = proxy;
    const toHub = recipe.hub ?? ((to) => [HUB, `127.0.0.1:${to}`]);
    const changes = recipe.here({ at, port });
    if (http2) changes.push(recipe.http2);
    changes.push(toHub(hubPort));
    const text = await readFile(join(RECIPES, recipe.file), "utf8");
    const file = join(at, recipe.file);
    await writeFile(file, changes.reduce(change, text));
    proxy.#run(recipe.command({ at, file }), at);
    t.after(async () => {
      await proxy.#end();
      await rm(at, { recursive: true, force: true });
    });
    await until(() => proxy.#listens(), `${name} listens`, LISTENS_WITHIN_MS);
    return proxy;
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  #run([program, ...args], at) {
    const env = { ...process.env, HOME: at, XDG_CONFIG_HOME: at, XDG_DATA_HOME: at };
    // A group of its own: some proxies are several processes.
    const options = { env, detached: true, stdio: ["ignore", "pipe", "pipe"] };
    this.#child = spawn(program, args, options);
    running.add(this.#child);
    const keep = (text) => (this.#said = (this.#said + text).slice(-SAID_CHARS_MAX));
    this.#child.stdout.on("data", keep);
    this.#child.stderr.on("data", keep);
  }

  #listens() {
    assert.equal(this.#child.exitCode, null, `the proxy ended:\n${this.#said}`);
    return new Promise((resolve) => {
      const socket = connect(this.port, "127.0.0.1");
      socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
      socket.on("connect", () => socket.destroy());
    });
  }

  async #end() {
    const child = this.#child;
    running.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    process.kill(-child.pid, "SIGKILL");
    await exited;
  }

  #child;
  #said = "";
}

const SAID_CHARS_MAX = 4_000;
const running = new Set();

// Whatever ends the tests, no proxy outlives them. The signals are seen to in hub.mjs.
process.on("exit", () => running.forEach((child) => process.kill(-child.pid, "SIGKILL")));

function change(text, [from, to]) {
  assert.ok(text.includes(from), `the recipe has ${JSON.stringify(from)}`);
  return text.replaceAll(from, to);
}

/** A port of loopback that nobody listens on. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
