// What holds for every example: a README, a test, and pinned packages of the public registries.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

const EXAMPLES = join(import.meta.dirname, "..");
const README_LINES_MAX = 60;
const NPM = "https://registry.npmjs.org/";
const IS_TEST = /^(test_.*\.py|.*\.test\.mjs)$/;

const names = readdirSync(EXAMPLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !["tests", "node_modules"].includes(entry.name))
  .map(({ name }) => name);

const filesOf = (...path) => {
  try {
    return readdirSync(join(EXAMPLES, ...path));
  } catch {
    return [];
  }
};
const textOf = (...path) => readFileSync(join(EXAMPLES, ...path), "utf8");

describe("each example", () => {
  for (const name of names) {
    it(`${name} has a short README and a test`, () => {
      assert.ok(textOf(name, "README.md").split("\n").length <= README_LINES_MAX);
      const files = [...filesOf(name), ...filesOf(name, "tests")];
      assert.ok(files.some((file) => IS_TEST.test(file)), "no test_*.py, no *.test.mjs");
    });

    it(`${name} pins what it installs`, () => {
      const files = filesOf(name);
      if (files.includes("package.json")) {
        const { dependencies, devDependencies } = JSON.parse(textOf(name, "package.json"));
        for (const [what, version] of Object.entries({ ...dependencies, ...devDependencies })) {
          assert.match(version, /^(\d|file:)/, `${what} has a version, not a range`);
        }
        if (!dependencies && !devDependencies) return;
        const lock = JSON.parse(textOf(name, "package-lock.json"));
        for (const { resolved = NPM } of Object.values(lock.packages)) {
          assert.ok(resolved.startsWith(NPM) || !resolved.includes("://"), resolved);
        }
      }
      if (files.includes("requirements.txt")) {
        for (const line of textOf(name, "requirements.txt").split("\n")) {
          assert.match(line, /^(#.*|[A-Za-z0-9._[\]-]+==[^ ]+|)$/, "a pinned package");
        }
      }
    });
  }
});
