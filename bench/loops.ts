/* Native code of two versions of Mere, side by side in one process and in turns: loops in a small guest without an operating system. Whole programs differ by a fifth from one run to
 * the next where other machines share the host; the ratio of two runs that follow each other does not.
 * Usage: node bench/loops.ts OTHER-TREE [ROUNDS [LOOP,…]]: a ratio above 1 says that this tree is faster. Needs gcc. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import type * as Engine from "../src/engine/wasm/engine.ts";
import type * as Registers from "../src/isa/registers.ts";
import type * as NativeHost from "../src/vm/native-host.ts";
import type * as Guest from "../tests/guests/small-guest.ts";
import { median } from "./results.ts";

/** In the order of loops.c, with rounds that take some tens of milliseconds. */
const LOOPS = [
  ["sort", 4],
  ["tree", 12],
  ["hash", 12],
  ["calls", 11],
  ["sequence", 40],
  ["bytes", 16],
] as const;
const CODE = 0x10000;
const DATA = 0x1000_0000;
const DATA_PAGES = 1500;
const PAGE = 4096;
const [RDI, RSI, RAX] = [7, 6, 0];
const BUDGET = 4_000_000_000;
/** Rounds that are not counted: code is translated, and the translator itself compiled. */
const WARM = 2;

interface Job {
  readonly loop: number;
  readonly rounds: number;
}
interface Answer {
  readonly ms: number;
  readonly checksum: bigint;
  readonly retired: number;
}

/** One version. */
async function work(tree: string, program: Uint8Array): Promise<void> {
  const { SmallGuest, At, Pte } = (await import(`${tree}/tests/guests/small-guest.ts`)) as typeof Guest;
  const { TRANSLATION } = (await import(`${tree}/src/engine/wasm/engine.ts`)) as typeof Engine;
  const { nativeCode } = (await import(`${tree}/src/vm/native-host.ts`)) as typeof NativeHost;
  const { Reg } = (await import(`${tree}/src/isa/registers.ts`)) as typeof Registers;
  const translation = { ...TRANSLATION, native: nativeCode };
  parentPort!.on("message", ({ loop, rounds }: Job) => {
    const guest = new SmallGuest({ translation });
    for (let n = 0; n < DATA_PAGES; n++) guest.map(DATA + n * PAGE, At.FREE + n * PAGE, Pte.W);
    guest.write(CODE, program);
    guest.regs.setGpr(RDI, BigInt(loop));
    guest.regs.setGpr(RSI, BigInt(rounds));
    guest.regs.set64(Reg.RIP, BigInt(CODE));
    const start = performance.now();
    const { vector } = guest.run(BUDGET);
    const ms = performance.now() - start;
    if (vector !== undefined) throw new Error(`the guest of ${tree} ended in vector ${vector}`);
    parentPort!.postMessage({ ms, checksum: guest.gpr(RAX), retired: guest.retired } satisfies Answer);
  });
  parentPort!.postMessage("ready");
}

function compile(): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), "mere-loops-"));
  try {
    const out = join(directory, "loops");
    const flags =
      "-O2 -fno-pic -mno-red-zone -fno-stack-protector -fcf-protection=none -mgeneral-regs-only -fno-toplevel-reorder -fno-reorder-functions -fno-reorder-blocks-and-partition -nostdlib -static".split(
        " ",
      );
    const link = `-Wl,-N,-Ttext=0x${CODE.toString(16)},--oformat=binary,--build-id=none,-estart`;
    execFileSync("gcc", [...flags, link, "-o", out, join(import.meta.dirname, "loops.c")], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    return Uint8Array.from(readFileSync(out));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function compare(other: string, rounds: number, only: readonly string[]): Promise<void> {
  const program = compile();
  const trees = [resolve(other), resolve(import.meta.dirname, "..")];
  const workers = trees.map((tree) => new Worker(import.meta.filename, { workerData: { tree, program } }));
  await Promise.all(workers.map((worker) => once(worker, "message")));
  for (const [loop, [name, size]] of LOOPS.entries()) {
    if (only.length > 0 && !only.includes(name)) continue;
    const times: [number, number][] = [];
    let answers: Answer[] = [];
    for (let round = 0; round < WARM + rounds; round++) {
      answers = [];
      for (const n of round % 2 === 0 ? [0, 1] : [1, 0]) {
        workers[n]!.postMessage({ loop, rounds: size } satisfies Job);
        [answers[n]] = (await once(workers[n]!, "message")) as [Answer];
      }
      if (answers[0]!.checksum !== answers[1]!.checksum) throw new Error(`${name}: the two trees' results differ`);
      if (round >= WARM) times.push([answers[0]!.ms, answers[1]!.ms]);
    }
    const ratio = median(times.map(([theirs, ours]) => theirs / ours));
    const [theirs, ours] = [0, 1].map((n) => Math.min(...times.map((each) => each[n]!)));
    const speed = answers[1]!.retired / ours! / 1000;
    console.log(
      `${name.padEnd(10)} ${ratio.toFixed(3)}×   ${theirs!.toFixed(1)} → ${ours!.toFixed(1)} ms, ${speed.toFixed(0)} M instr/s`,
    );
  }
  for (const worker of workers) await worker.terminate();
}

if (isMainThread) {
  const [other, rounds = "15", only = ""] = process.argv.slice(2);
  if (other === undefined) throw new Error("usage: node bench/loops.ts OTHER-TREE [ROUNDS [LOOP,…]]");
  await compare(other, Number(rounds), only.split(",").filter(Boolean));
} else {
  const { tree, program } = workerData as { tree: string; program: Uint8Array };
  await work(tree, program);
}
