/* node bench/vms.ts: what a VM of an image costs: its start beside the kernel's own boot, an exec beside the command itself, and many VMs at once in one process.
 * Needs the image (`mere image pull debian`). docs/benchmarks.md "VMs of an image" says how to read it. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { Host } from "../src/host/host.ts";
import type { OwnVm } from "../src/host/own-vm.ts";

const { values } = parseArgs({
  options: {
    image: { type: "string", default: "debian" },
    runs: { type: "string", default: "5" },
    vms: { type: "string", default: "50" },
    memory: { type: "string", default: "256M" },
    only: { type: "string", default: "start,exec,density" },
  },
});
const parts = values.only.split(",");
const runs = Number(values.runs);
const mere = fileURLToPath(new URL("../bin/mere.js", import.meta.url));

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
function elapsed(...words: string[]): Promise<number> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [mere, ...words], { stdio: ["ignore", "ignore", "inherit"] });
    child.on("exit", (status) => {
      if (status === 0) resolve(performance.now() - start);
      else reject(new Error(`mere ${words.join(" ")} ended with ${status ?? -1}`));
    });
  });
}
/** MiB, shared pages divided among who has them. */
function proportionalMib(): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync("/proc/self/smaps_rollup", "utf8"))![1]) / 1024;
}

/** `mere run IMAGE -- true`, and the kernel's own part of it: from the machine's start to the agent's, its first process. */
async function start(): Promise<void> {
  const walls: number[] = [];
  const kernels: number[] = [];
  for (let n = 0; n < runs; n++) {
    walls.push(await elapsed("run", values.image, "--", "true"));
    await using host = new Host();
    await using vm = await host.create({ image: values.image });
    const { readyAfter } = await vm.inspect();
    kernels.push(readyAfter!.readyMs - readyAfter!.agentMs);
  }
  const [wall, kernel] = [median(walls), median(kernels)];
  console.log(
    `start   mere run ${values.image} -- true ${wall.toFixed(0)} ms, kernel to its first process ${kernel.toFixed(0)} ms: ${(wall / kernel).toFixed(2)}x`,
  );
}

/** Beside the command itself: the same one, again and again, started by a shell in the guest. */
async function exec(): Promise<void> {
  const host = new Host();
  const vm = await host.createDetached({ image: values.image, network: "none", ephemeral: true });
  try {
    const count = 50;
    const loop = await vm.exec(
      `s=$(date +%s%N); i=0; while [ $i -lt ${count} ]; do /bin/true; i=$((i+1)); done; echo $(($(date +%s%N)-s))`,
    );
    const own = Number(loop.stdout) / count / 1e6;
    const inProcess: number[] = [];
    for (let n = 0; n < count; n++) {
      const startedAt = performance.now();
      await vm.exec(["/bin/true"]);
      inProcess.push(performance.now() - startedAt);
    }
    const commands: number[] = [];
    const nothing: number[] = [];
    for (let n = 0; n < 2 * runs; n++) {
      commands.push(await elapsed("exec", vm.id, "/bin/true"));
      nothing.push(await elapsed("version"));
    }
    console.log(
      `exec    true by a shell in the guest ${own.toFixed(1)} ms, vm.exec() ${median(inProcess).toFixed(1)} ms, mere exec ${median(commands).toFixed(0)} ms, mere version ${median(nothing).toFixed(0)} ms`,
    );
  } finally {
    await vm.kill();
  }
}

async function density(): Promise<void> {
  await using host = new Host();
  const vms: OwnVm[] = [];
  const before = proportionalMib();
  const sizes: number[] = [];
  const startedAt = performance.now();
  for (let n = 0; n < Number(values.vms); n++) {
    vms.push(await host.create({ image: values.image, memory: values.memory, network: "none" }));
    sizes.push(proportionalMib());
  }
  const up = (performance.now() - startedAt) / 1000;
  const answers = await Promise.all(vms.map((vm, n) => vm.exec(["echo", String(n)])));
  const right = answers.filter(({ stdout }, n) => stdout.trim() === String(n)).length;
  const rest = (sizes.at(-1)! - sizes[0]) / (sizes.length - 1);
  console.log(
    `density ${vms.length} VMs in ${up.toFixed(0)} s, ${right} answered; first ${(sizes[0] - before).toFixed(0)} MiB over ${before.toFixed(0)} MiB of the process, each further ${rest.toFixed(0)} MiB, in all ${sizes.at(-1)!.toFixed(0)} MiB`,
  );
}

if (parts.includes("start")) await start();
if (parts.includes("exec")) await exec();
if (parts.includes("density")) await density();
