/* Trace: the last instructions that a vCPU was about to do, as text, for the report of a difference. */
import type { WasmVcpu } from "../../src/engine/wasm/vcpu.ts";
import { createDecoder, newDecoded } from "../../src/isa/decode.ts";
import { disassemble } from "../../src/isa/disassemble.ts";
import { Reg } from "../../src/isa/registers.ts";
import { FRAME_BYTES } from "../../src/memory/frames.ts";

/** Kept, and shown. */
const MOST = 64;
const MAX_INSTRUCTION = 15;

interface Traced {
  readonly rip: bigint;
  /** In the frames memory of the vCPU's machine; −1: it could not be fetched. */
  readonly address: number;
  /** To the end of its page, and what follows in the next if it can be fetched. */
  readonly bytes: Uint8Array;
}

export class Trace {
  readonly last: Traced[] = [];
  readonly #pool: Uint8Array;

  /** @param pool the frames memory */
  constructor(pool: Uint8Array) {
    this.#pool = pool;
  }
  /** Notes the instruction at RIP. */
  add(vcpu: WasmVcpu): void {
    const rip = vcpu.regs.get64(Reg.RIP);
    const address = codeAddress(vcpu, rip);
    const here = Math.min(MAX_INSTRUCTION, FRAME_BYTES - Number(rip & 0xfffn));
    const next = here < MAX_INSTRUCTION ? codeAddress(vcpu, rip + BigInt(here)) : -1;
    const part = (at: number, length: number): Uint8Array =>
      at < 0 ? new Uint8Array(0) : this.#pool.slice(at, at + length);
    this.last.push({ rip, address, bytes: Buffer.concat([part(address, here), part(next, MAX_INSTRUCTION - here)]) });
    if (this.last.length > MOST) this.last.shift();
  }
  /** One line an instruction, oldest first. @param mark what stands before an address */
  lines(mark: (address: number) => string): string[] {
    const decoder = createDecoder();
    const d = newDecoded();
    return this.last.map(({ rip, address, bytes }) => {
      const text = decoder.decode(bytes, 0, bytes.length, d) ? "(cannot be fetched)" : disassemble(d, rip);
      return `${mark(address)}${rip.toString(16).padStart(16, "0")}  ${text}`;
    });
  }
}

/** Where the code at an address is in the frames memory, for the vCPU as it is; −1 if a fetch would fault. */
export function codeAddress(vcpu: WasmVcpu, rip: bigint): number {
  return vcpu.mmu.codeAddress(Number(BigInt.asIntN(32, rip)), Number(BigInt.asIntN(32, rip >> 32n)));
}
