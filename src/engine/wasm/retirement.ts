/* Retirement: how many instructions a vCPU has retired, from the fuel that generated code takes. A REP instruction counts once, when it is done: what its
 * elements take of the fuel is in Engine.REPEATED, so the number is the same whether they are done in bulk, one after the other or stepwise.
 * Instructions that fault and events count nothing. Runs on whichever executor has the vCPU. */
import type { RegisterFile } from "../../isa/register-file.ts";
import { Reg } from "../../isa/registers.ts";
import { Engine } from "./layout.ts";

const TWO_32 = 0x1_0000_0000;

export class Retirement {
  readonly #regs: RegisterFile;
  /** Fuel of this slice: what is gone of it is instructions done and elements of REPs. */
  #granted = 0;

  constructor(regs: RegisterFile) {
    this.#regs = regs;
  }
  get #fuel(): number {
    return this.#regs.get32(Engine.FUEL) | 0;
  }
  get #sinceGrant(): number {
    return this.#granted - this.#fuel - this.#regs.get32(Engine.REPEATED);
  }
  /** A slice begins. */
  grant(fuel: number): void {
    this.#regs.set32(Engine.FUEL, fuel);
    this.#regs.set32(Engine.REPEATED, 0);
    this.#granted = fuel;
  }
  /** Ends a slice: adds what it did, and what its last block did before it was left, to Reg.RETIRED. @returns that */
  retire(before = 0): number {
    const count = this.#sinceGrant + before;
    const { view } = this.#regs;
    const low = view.getUint32(Reg.RETIRED, true) + count;
    view.setUint32(Reg.RETIRED, low, true);
    if (low >= TWO_32) view.setUint32(Reg.RETIRED + 4, view.getUint32(Reg.RETIRED + 4, true) + 1, true);
    this.#granted = this.#fuel;
    this.#regs.set32(Engine.REPEATED, 0);
    return count;
  }
  /** Retired so far, up to the beginning of the block that runs. */
  get total(): number {
    const { view } = this.#regs;
    return view.getUint32(Reg.RETIRED + 4, true) * TWO_32 + view.getUint32(Reg.RETIRED, true) + this.#sinceGrant;
  }
}
