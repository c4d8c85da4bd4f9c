/* An instruction case: bytes and the state before → the state after, or the fault. The state is the head of the register file
 * (registers.ts), so that every runner loads it by copying; memory is what differs from the pattern of address-space.ts.
 * A case is at most one instruction (all iterations of a REP count as one).
 *
 *   state   bytes 0 … STATE_BYTES of the register file, flags packed by packFlags, RIP at CODE_START
 */
import { Reg } from "../../src/isa/registers.ts";

/** General registers to MXCSR and CPL. */
export const STATE_BYTES: number = Reg.CPL + 4;

/** Bytes that memory holds from `address` on. */
export interface MemoryPatch {
  readonly address: number;
  readonly bytes: Uint8Array;
}

export interface InstructionCase {
  /** The instruction: 1–15 bytes. */
  readonly bytes: Uint8Array;
  /** STATE_BYTES long. */
  readonly before: Uint8Array;
  /** What DATA holds that its pattern does not. */
  readonly memory: readonly MemoryPatch[];
}

export interface Fault {
  readonly vector: number;
  /** 0 where the exception has none. */
  readonly errorCode: number;
  /** Linear address of a #PF, else 0. */
  readonly address: bigint;
}

/** What a runner says of a case. */
export interface Outcome {
  /** STATE_BYTES long; at a fault RIP is the instruction's. */
  readonly state: Uint8Array;
  readonly fault: Fault | undefined;
  /** Runs of bytes in DATA that differ from before, ascending, each as short as possible. */
  readonly memory: readonly MemoryPatch[];
}

/** Runs cases: the real processor, the oracle, an engine. */
export interface Runner {
  readonly name: string;
  /** Outcomes in the order of the cases; undefined where this runner cannot tell (it died on that case). */
  run(cases: readonly InstructionCase[]): Promise<(Outcome | undefined)[]>;
  close(): Promise<void>;
}

const CHUNK = 256;

/** The runs of bytes in which `after` differs from `before`, as patches from `base` on. */
export function memoryDifference(before: Uint8Array, after: Uint8Array, base: number): MemoryPatch[] {
  const patches: MemoryPatch[] = [];
  let start = -1;
  const end = (at: number): void => {
    if (start >= 0) patches.push({ address: base + start, bytes: after.slice(start, at) });
    start = -1;
  };
  for (let chunk = 0; chunk < before.length; chunk += CHUNK) {
    if (Buffer.compare(before.subarray(chunk, chunk + CHUNK), after.subarray(chunk, chunk + CHUNK)) === 0) {
      end(chunk);
      continue;
    }
    for (let at = chunk; at < chunk + CHUNK; at++) {
      if (before[at] === after[at]) end(at);
      else if (start < 0) start = at;
    }
  }
  end(before.length);
  return patches;
}
