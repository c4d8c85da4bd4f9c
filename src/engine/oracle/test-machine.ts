/* Runs instructions of up to 15 bytes on the oracle: decode, step until RIP moves on. What the test runners (tests/instructions) build on. */
import type { CallSpec } from "../../isa/calls.ts";
import { GuestFault, Vector } from "../../isa/cpu.ts";
import { createDecoder, type Decoder, newDecoded } from "../../isa/decode.ts";
import type { Decoded } from "../../isa/decoded.ts";
import { RegisterFile } from "../../isa/register-file.ts";
import { Reg } from "../../isa/registers.ts";
import type { TestMachine, TestRange } from "../test-machine.ts";
import { FlatMemory } from "./flat-memory.ts";
import { Oracle } from "./oracle.ts";
import { OracleCpu } from "./oracle-cpu.ts";

/** A REP longer than the test memory would have faulted: more steps than this are a loop that does not end. */
const MAX_STEPS = 100_000;

export class OracleMachine implements TestMachine {
  readonly regs: RegisterFile = new RegisterFile(new ArrayBuffer(Reg.SIZE));
  readonly #oracle: Oracle;
  readonly #decoder: Decoder = createDecoder();
  readonly #decoded: Decoded = newDecoded();

  readonly #regions: Map<number, Uint8Array>;

  /** @param calls what s.call can reach */
  constructor(ranges: readonly TestRange[], calls: Readonly<Record<string, CallSpec>>) {
    const regions = ranges.map(({ start, sizeBytes, writable }) => ({
      start,
      writable,
      bytes: new Uint8Array(sizeBytes),
    }));
    this.#regions = new Map(regions.map((r) => [r.start, r.bytes]));
    this.#oracle = new Oracle(new OracleCpu(this.regs, new FlatMemory(regions)), calls);
  }

  memory(range: TestRange): Uint8Array {
    return this.#regions.get(range.start)!;
  }

  run(bytes: Uint8Array): GuestFault | undefined {
    const failure = this.#decoder.decode(bytes, 0, bytes.length, this.#decoded);
    if (failure)
      return new GuestFault(failure === "undefined" ? Vector.UD : Vector.GP, failure === "undefined" ? undefined : 0);
    const start = this.regs.get64(Reg.RIP);
    try {
      for (let steps = 0; steps < MAX_STEPS; steps++) {
        this.#oracle.step(this.#decoded);
        if (this.regs.get64(Reg.RIP) !== start) return undefined;
      }
    } catch (error) {
      if (error instanceof GuestFault) return error;
      throw error;
    }
    throw new Error(`${this.#decoded.row.mnemonic} does not end`);
  }
}
