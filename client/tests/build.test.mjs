// The module that is committed: it is what its source builds to, it is small, and it is typed.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";

const CLIENT = join(import.meta.dirname, "..");
const BYTES_MAX = 3000;

const folder = (t) => {
  const path = mkdtempSync(join(tmpdir(), "fanfare-client-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
};

it("the committed build is what its source builds to", (t) => {
  const fresh = folder(t);
  execFileSync(process.execPath, [join(CLIENT, "build.mjs"), fresh]);
  const names = readdirSync(fresh).sort();
  assert.deepEqual(names, ["fanfare.d.ts", "fanfare.js"]);
  assert.deepEqual(readdirSync(join(CLIENT, "dist")).sort(), names);
  for (const name of names) {
    const [built, committed] = [fresh, join(CLIENT, "dist")].map((path) =>
      readFileSync(join(path, name), "utf8"));
    assert.equal(committed, built, `run \`node build.mjs\` in client/: ${name} has changed`);
  }
});

it("it is under 3 kB and has its version", () => {
  const module = readFileSync(join(CLIENT, "dist/fanfare.js"), "utf8");
  assert.ok(Buffer.byteLength(module) < BYTES_MAX, `${Buffer.byteLength(module)} bytes`);
  const { version } = JSON.parse(readFileSync(join(CLIENT, "package.json"), "utf8"));
  assert.ok(module.startsWith(`/* fanfare-client ${version},`));
});

it("its types know the types of events", (t) => {
  const use = join(folder(t), "use.ts");
  writeFileSync(use, `
    import { connect } from "${join(CLIENT, "dist/fanfare.js")}";
    connect("/channels/news", { on: { message: ({ data }) => data.trim() } }).close();
    const stream = connect<{ tick: { price: number }; note: string }>("/channels/news", {
      parse: JSON.parse,
      on: { tick: ({ data, id, type }) => [data.price.toFixed(), id.length, type === "tick"] },
      onGap: ({ reason }) => reason === "lagged",
      onEnd: ({ reason, final }) => final && reason === "done",
    });
    // @ts-expect-error: a tick has no such field
    connect<{ tick: { price: number } }>("/", { on: { tick: ({ data }) => data.cost } });
    // @ts-expect-error: there is no such type of event
    connect<{ tick: number }>("/", { on: { tock: () => {} } });
    // @ts-expect-error: it is only read
    stream.lastEventId = "1";
  `);
  const tsc = join(CLIENT, "node_modules/typescript/bin/tsc");
  const options = "--ignoreConfig --noEmit --strict --target es2022 --module nodenext".split(" ");
  const args = [tsc, ...options, "--types", "", use];
  const ran = () => execFileSync(process.execPath, args, { stdio: "pipe" });
  assert.doesNotThrow(ran, (error) => assert.fail(String(error.stdout)));
});
