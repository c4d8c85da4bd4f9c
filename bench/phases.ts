/* Where the time of `mere run -- true` goes before the command: does what src/cli/run.ts does, with a look at the clock between the steps, and prints the
 * steps as one line of JSON. A process of its own: node phases.ts STARTED, the host's clock in milliseconds when it was started. */
import { readFileSync } from "node:fs";
import { CpioWriter } from "../src/image/cpio.ts";
import type { StartupPhases } from "./measure.ts";

const bootstrapped = performance.now();
const startedAt = Number(process.argv[2]);
const nodeStart = performance.timeOrigin - startedAt + bootstrapped;
const laps: Record<string, number> = {};
let lapStart = bootstrapped;
function lap(name: string): void {
  const now = performance.now();
  laps[name] = now - lapStart;
  lapStart = now;
}

/** A second archive over the first one: an init that says that it runs, then is the first one's. @source buffer-format.rst: archives may follow each other */
function announcedInit(): Uint8Array {
  const cpio = new CpioWriter();
  cpio.file(".mere/init", readFileSync(new URL("../src/image/init", import.meta.url)), 0o755);
  cpio.file("init", "#!/bin/sh\necho @init\n. /.mere/init\n", 0o755);
  return cpio.finish();
}

const [{ ownInitGuest }, { createMachine }] = await Promise.all([
  import("../src/cli/guest-files.ts"),
  import("../src/vm/machine.ts"),
  import("../src/cli/main.ts"),
  import("../src/cli/run-machine.ts"),
]);
lap("imports");
const boot = {
  kind: "own-init",
  kernel: undefined,
  append: "",
  command: ["true"],
  console: false,
  stdin: false,
} as const;
const guest = await ownInitGuest(boot, false, {});
lap("kernel and initramfs read");

let output = "";
const token = guest.token!;
const { promise: inInit, resolve: initReached } = Promise.withResolvers<number>();
const machine = await createMachine({
  cpus: 1,
  memoryBytes: 512 * 1024 * 1024,
  kernel: guest.kernel,
  initrd: Buffer.concat([guest.initrd, announcedInit()]),
  commandLine: guest.commandLine,
  disks: [],
  serialOutput(bytes) {
    output += Buffer.from(bytes).toString("latin1");
    if (output.includes("@init")) initReached(performance.now());
  },
});
lap("machine made, kernel loaded");
machine.start();
const started = performance.now();
// Retired instructions show at the first exit from the interpreter, at the latest a timer tick after the first instruction.
while (machine.stats().retired === 0n) await new Promise((resolve) => setTimeout(resolve, 1));
lap("worker, handlers, first instructions");
const initAt = await inInit;
laps["kernel, to its init"] = initAt - lapStart;
lapStart = initAt;
await machine.wait();
lap("init, command, power-off");
const { retired } = machine.stats();
const phases: StartupPhases = {
  nodeStart,
  laps,
  instructions: Number(retired),
  guestMs: performance.now() - started,
  reported: output.includes(token),
};
console.log(JSON.stringify(phases));
