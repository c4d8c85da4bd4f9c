/* The real processor as a Runner: keeps one child process (child.ts), sends it batches, and starts another when a case has killed it.
 * Linux on x86-64 only: ask nativeAvailable first.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { InstructionCase, Outcome, Runner } from "../instructions/case.ts";
import { Reader, readOutcome, Writer, writeCase } from "../instructions/codec.ts";

/** Why there is no native runner here; undefined if there is one. */
export function nativeUnavailable(): string | undefined {
  if (process.platform === "linux" && process.arch === "x64") return undefined;
  return `needs Linux on x86-64, this is ${process.platform} on ${process.arch}`;
}

const CHILD = fileURLToPath(new URL("child.ts", import.meta.url));
/** A case runs in well under a millisecond, a child starts in a second on a busy host: longer means that an instruction loops. */
const timeoutMs = (cases: number): number => 4000 + 2 * cases;

export class NativeRunner implements Runner {
  readonly name = "native";
  #child: ChildProcess | undefined;

  async run(cases: readonly InstructionCase[]): Promise<(Outcome | undefined)[]> {
    const outcomes = await this.#batch(cases);
    if (outcomes) return outcomes;
    if (cases.length <= 1) return cases.map(() => undefined);
    // One of them killed the child: find it.
    const half = cases.length >> 1;
    const first = await this.run(cases.slice(0, half));
    return [...first, ...(await this.run(cases.slice(half)))];
  }

  async close(): Promise<void> {
    this.#child?.stdin?.end();
    this.#child = undefined;
  }

  /** undefined if the child died. */
  #batch(cases: readonly InstructionCase[]): Promise<Outcome[] | undefined> {
    const w = new Writer();
    w.u32(0); // room for the length
    for (const c of cases) writeCase(w, c);
    const request = w.done();
    new DataView(request.buffer).setUint32(0, request.length - 4, true);
    const child = (this.#child ??= startChild());
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const finish = (outcomes: Outcome[] | undefined): void => {
        clearTimeout(timer);
        child.stdout?.removeAllListeners("data");
        child.removeAllListeners("exit");
        child.removeAllListeners("error");
        if (!outcomes) {
          child.kill("SIGKILL");
          this.#child = undefined;
        }
        resolve(outcomes);
      };
      const timer = setTimeout(() => finish(undefined), timeoutMs(cases.length));
      child.on("exit", () => finish(undefined));
      child.on("error", () => finish(undefined));
      child.stdout?.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        const head = chunks[0]!.length >= 4 ? chunks[0]! : Buffer.concat(chunks);
        if (length < 4 || length < 4 + head.readUInt32LE(0)) return;
        finish(readOutcomes(Buffer.concat(chunks).subarray(4)));
      });
      child.stdin?.write(request);
    });
  }
}

function startChild(): ChildProcess {
  const child = spawn(process.execPath, [CHILD], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.on("error", () => {}); // the exit tells
  return child;
}

function readOutcomes(bytes: Uint8Array): Outcome[] {
  const r = new Reader(bytes);
  const outcomes: Outcome[] = [];
  while (!r.atEnd) outcomes.push(readOutcome(r)!);
  return outcomes;
}
