// Makes dist/ from src/: the module, minified, and its types. `node build.mjs FOLDER` puts them
// elsewhere.

import { execFileSync } from "node:child_process";
import { renameSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";

const here = import.meta.dirname;
const out = resolve(process.argv[2] ?? join(here, "dist"));

await build({
  entryPoints: [join(here, "src/index.ts")],
  outfile: join(out, "fanfare.js"),
  banner: { js: "/* fanfare-client 0.1.0, MIT or Apache-2.0 */" },
  format: "esm",
  minify: true,
  target: "es2022",
});
const tsc = join(here, "node_modules/typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "--project", here, "--outDir", out], { stdio: "inherit" });
renameSync(join(out, "index.d.ts"), join(out, "fanfare.d.ts"));
