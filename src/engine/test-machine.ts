/* TestMachine: an engine (or the oracle) reduced to "run this instruction on this state", for tests and fuzzing. User mode or kernel mode by the
 * registers; linear memory is a few ranges and nothing else. The oracle's is oracle/test-machine.ts; an engine offers
 * createTestMachine(ranges) in its test-machine.ts.
 */
import type { RegisterFile } from "../isa/register-file.ts";

/** Linear memory that is mapped: user pages, from `start` (a multiple of 4096) on. All else is not present. */
export interface TestRange {
  readonly start: number;
  readonly sizeBytes: number;
  readonly writable: boolean;
}

/** An exception that would be delivered. */
export interface TestFault {
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** Linear address of a #PF. */
  readonly address: bigint | undefined;
}

export interface TestMachine {
  readonly regs: RegisterFile;
  /** What a range holds, to read and to write between runs. */
  memory(range: TestRange): Uint8Array;
  /** Runs one instruction at regs RIP, all iterations of a REP. Caches of earlier instructions at that address are void.
   *  @param bytes the whole instruction, whatever memory holds at RIP
   *  @returns the fault it ends with, RIP then being its own; registers and memory as it left them */
  run(bytes: Uint8Array): TestFault | undefined;
}
