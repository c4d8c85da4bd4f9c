/* A Runner over a TestMachine: the oracle, an engine. */
import type { TestMachine, TestRange } from "../../src/engine/test-machine.ts";
import { Reg } from "../../src/isa/registers.ts";
import {
  CODE,
  CODE_START,
  DATA,
  DATA_PATTERN,
  DATA_SIZE,
  PAGE,
  READ_ONLY,
  READ_ONLY_PATTERN,
} from "./address-space.ts";
import { type InstructionCase, memoryDifference, type Outcome, type Runner, STATE_BYTES } from "./case.ts";

const DATA_RANGE: TestRange = { start: DATA, sizeBytes: DATA_SIZE, writable: true };
const READ_ONLY_RANGE: TestRange = { start: READ_ONLY, sizeBytes: PAGE, writable: false };
/** x87 instructions read their own opcode back when they raise an exception. */
const CODE_RANGE: TestRange = { start: CODE, sizeBytes: PAGE, writable: false };
export const RANGES: readonly TestRange[] = [DATA_RANGE, READ_ONLY_RANGE, CODE_RANGE];

export class MachineRunner implements Runner {
  readonly name: string;
  readonly #machine: TestMachine;
  readonly #before: Uint8Array = DATA_PATTERN.slice();
  readonly #shown = new Set<string>();

  /** @param machine made with RANGES */
  constructor(name: string, machine: TestMachine) {
    this.name = name;
    this.#machine = machine;
    machine.memory(READ_ONLY_RANGE).set(READ_ONLY_PATTERN);
  }

  async run(cases: readonly InstructionCase[]): Promise<(Outcome | undefined)[]> {
    return cases.map((test) => this.#orUndefined(test));
  }
  async close(): Promise<void> {}

  /** A bug in a semantic function shall cost one case: its message is shown once. */
  #orUndefined(test: InstructionCase): Outcome | undefined {
    try {
      return this.#runOne(test);
    } catch (error) {
      const message = String(error);
      if (!this.#shown.has(message)) console.error(error);
      this.#shown.add(message);
      return undefined;
    }
  }

  #runOne(test: InstructionCase): Outcome {
    const { regs } = this.#machine;
    const data = this.#machine.memory(DATA_RANGE);
    for (const patch of test.memory) this.#before.set(patch.bytes, patch.address - DATA);
    data.set(this.#before);
    this.#machine.memory(CODE_RANGE).set(test.bytes, CODE_START - CODE);
    regs.bytes.fill(0, 0, Reg.ENGINE);
    regs.bytes.set(test.before);
    regs.set64(Reg.DEADLINE, -1n);
    const fault = this.#machine.run(test.bytes);
    regs.rflags = regs.rflags; // packed the one way that states are compared in
    const memory = memoryDifference(this.#before, data, DATA);
    for (const { address, bytes } of test.memory) {
      this.#before.set(DATA_PATTERN.subarray(address - DATA, address - DATA + bytes.length), address - DATA);
    }
    return {
      state: regs.bytes.slice(0, STATE_BYTES),
      fault: fault && { vector: fault.vector, errorCode: fault.errorCode ?? 0, address: fault.address ?? 0n },
      memory,
    };
  }
}
