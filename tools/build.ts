/* Builds dist/, what bin/mere.js starts: one file for each entry point, the files that the sources read, and the SDK's declarations. `npm ci` in a clone and `npm pack` call it. Node strips no types
 * under node_modules, so the published package cannot hold the TypeScript sources themselves; and a start is a fifth of a second shorter than with hundreds of modules (docs/design.md, "How Mere starts"). */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type * as Esbuild from "esbuild";
import { isBuilt } from "../bin/built.js";
import { TRANSLATOR_SOURCES } from "../src/vm/kept-files.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [dist, part] = [join(root, "dist"), join(root, `dist.${process.pid}`)];
/** What bin/mere.js, `import "mere"`, threads and processes begin with. All come into one folder: a module's `new URL("./name", import.meta.url)` is right in whatever file it is. */
const ENTRIES = [
  "index",
  "cli/main",
  "host/vm-process",
  "net/tap-watch",
  "vm/executor",
  "vm/executor-threads",
  "vm/translator-worker",
];
const READ_BY_SOURCES = ["agent/guest", "image/init", "image/kernel-build/mere.config"];

function translatorVersion(): string {
  const hash = createHash("sha256");
  for (const folder of TRANSLATOR_SOURCES) {
    for (const name of readdirSync(join(root, "src", folder), { recursive: true })
      .map(String)
      .toSorted()) {
      if (name.endsWith(".ts") && !name.endsWith(".test.ts")) hash.update(name).update(source(folder, name));
    }
  }
  return hash.digest("hex");
}
function source(...path: string[]): Buffer {
  return readFileSync(join(root, "src", ...path));
}
/** Bin/mere.js and the CLI share the thread that is prepared, so that module stays one of its own. */
const sharedThreads: Esbuild.Plugin = {
  name: "shared threads",
  setup(build) {
    build.onResolve({ filter: /\/executor-threads\.ts$/ }, ({ kind }) =>
      kind === "entry-point" ? undefined : { path: "./executor-threads.js", external: true },
    );
  },
};
/** Node's own modules are loaded when something of them is used: node:crypto and node:zlib take 20 ms of a start else, and what is imported for a command's sake is loaded for all of them. */
const lateBuiltins: Esbuild.Plugin = {
  name: "late builtins",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "builtin" }));
    build.onLoad({ filter: /^/, namespace: "builtin" }, ({ path }) => ({
      contents: `let loaded; for (const name of ${JSON.stringify(Object.keys(process.getBuiltinModule(path) ?? {}))})
        Object.defineProperty(exports, name, { enumerable: true, get: () => (loaded ??= process.getBuiltinModule(${JSON.stringify(path)}))[name] });`,
    }));
  },
};
function options(): Esbuild.BuildOptions {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  return {
    absWorkingDir: root,
    entryPoints: ENTRIES.map((entry) => `src/${entry}.ts`),
    outdir: part,
    entryNames: "[name]",
    bundle: true,
    packages: "external",
    plugins: [sharedThreads, lateBuiltins],
    minifyWhitespace: true,
    minifySyntax: true,
    platform: "node",
    format: "esm",
    target: "node26",
    define: { BUILT: JSON.stringify({ version, translator: translatorVersion() }) },
    logLevel: "warning",
  };
}
function declarations(): void {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const words = [tsc, "-p", "tsconfig.build.json", "--outDir", part];
  const { status } = spawnSync(process.execPath, words, { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error("the declarations could not be made");
}

async function makeDist(): Promise<void> {
  const start = new Date();
  try {
    const esbuild = await import("esbuild");
    await esbuild.build(options());
    declarations();
    for (const path of READ_BY_SOURCES)
      cpSync(join(root, "src", path), join(part, basename(path)), { recursive: true });
    utimesSync(join(part, "main.js"), start, start); // what changed meanwhile is not in it
    if (existsSync(dist)) renameSync(dist, `${part}.old`);
    renameSync(part, dist);
  } finally {
    for (const left of [part, `${part}.old`]) rmSync(left, { recursive: true, force: true });
  }
}

try {
  if (!isBuilt(root)) await makeDist();
} catch (error) {
  // `npm ci` calls this too, with --omit=dev as well: then the sources run
  if (process.env["npm_lifecycle_event"] !== "prepare") throw error;
  process.stderr.write(`dist/ was not made: ${error instanceof Error ? error.message : String(error)}\n`);
}
