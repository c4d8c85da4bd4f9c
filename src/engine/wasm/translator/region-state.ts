/* First layer of the translator's Sem<V>: where a region keeps the vCPU's state while it runs, and how it leaves.
 *
 * Inside a region general registers, XMM registers, fuel and flags are wasm locals; everything else stays in the register file. The locals go back to it at
 * two places only, at the region's end: $side (this instruction is the interpreter's: it faults, or touches a device or code) and $leave (RIP is elsewhere).
 * A side exit is possible while the current instruction has changed nothing yet; the interpreter then does all of it.
 * @source docs/translator.md */
import type { Decoded } from "../../../isa/decoded.ts";
import type { FunctionBuilder, Label, Local } from "../../../wasm/function.ts";
import { EmitVectors } from "../emit-vectors.ts";
import { STATE } from "../emit-flags.ts";
import type { Imports } from "../emit-memory.ts";
import type { Value } from "../emit-values.ts";
import type { Size } from "../../../isa/sem.ts";
import { FlagsCode } from "./flags-code.ts";
import type { RegionOptions } from "./region-options.ts";

/** The instruction cannot be a part of a region: the interpreter does it. */
export class Unsupported extends Error {}

/** A value with what is known of it. */
export interface KnownValue extends Value {
  local: Local;
  /** No bit above these is set; absent: 64. */
  bits?: number;
}

/** Fields of the word that goes with an exit: the flags' kind (KIND: the local has it), the fuel that is given back, and the offset. */
const ExitWord = { KIND: FlagsCode.END - 1, AHEAD: FlagsCode.END, OFFSET: 2 ** 20 } as const;
const MOST_AHEAD = ExitWord.OFFSET / ExitWord.AHEAD - 1;

export abstract class RegionState extends EmitVectors {
  size: Size = 4;
  /** Linear address of the region's base page. */
  readonly base: Local;
  readonly fuel: Local;
  /** Address of the TLB bank. */
  readonly tlb: Local;
  /** RIP of an exit. */
  readonly rip: Local;
  readonly options: RegionOptions;
  protected readonly wideRam: boolean;
  /** Labels of the ways out; set by the writer of the region. The first two take an i64, which says where (exitWord). */
  side: Label = 0;
  leaveAt: Label = 0;
  leaveLabel: Label = 0;
  /** Locals of the registers that the region reads or writes, and which of them it writes. */
  readonly gprs = new Map<number, Local>();
  readonly xmms = new Map<number, Local>();
  readonly writtenGprs = new Set<number>();
  readonly writtenXmms = new Set<number>();

  // ——— the current instruction ———
  protected d!: Decoded;
  /** From the base page to its first byte. */
  protected offset = 0;
  /** Instructions of its node from it on, itself included: fuel that a side exit gives back. */
  protected ahead = 0;
  /** What it has changed so far. */
  protected registerEffects = 0;
  protected memoryEffects = 0;

  /** @param wideRam the frames memory takes 64-bit addresses */
  constructor(f: FunctionBuilder, imports: Imports, options: RegionOptions, wideRam: boolean) {
    super(f, imports);
    this.options = options;
    this.wideRam = wideRam;
    this.base = f.local("i64");
    this.rip = f.local("i64");
    this.fuel = f.local("i32");
    this.tlb = f.local("i32");
  }

  /** Makes what leaves the region exact: the kind of the flags. */
  abstract syncFlagKind(): void;

  /** Pushes base + offset. */
  pushAddress(offset: number): void {
    this.f.get(this.base);
    if (offset !== 0) this.f.i64(offset).op("i64.add");
  }
  /** Of the interpreter's accesses: here a miss is a side exit. */
  protected override deliverFault(): void {
    throw new Unsupported("an access that is not a region's");
  }
  /** Leaves for the interpreter, which does this instruction. @param replay effects on memory so far are made again unchanged */
  sideExit(replay = false): void {
    if (this.registerEffects > 0 || (this.memoryEffects > 0 && !replay)) throw new Unsupported("too late to leave");
    this.f.i64(this.#exitWord(this.offset, this.ahead)).br(this.side);
  }
  /** Code of the flags' kind, where the local does not hold it. */
  protected abstract get unwrittenFlagKind(): number | undefined;
  /** Goes on at another address. */
  exitTo(offset: number): void {
    this.f.i64(this.#exitWord(offset, 0)).br(this.leaveAt);
  }
  /** What all exits to known addresses would write, as one constant: they are many, and this code is seldom run. */
  #exitWord(offset: number, ahead: number): number {
    return offset * ExitWord.OFFSET + ahead * ExitWord.AHEAD + (this.unwrittenFlagKind ?? ExitWord.KIND);
  }
  /** Takes the word from the stack, and writes what it stands for. */
  takeExitWord(word: Local): void {
    const { f } = this;
    f.tee(word).i64(Math.log2(ExitWord.OFFSET)).op("i64.shr_s").get(this.base).op("i64.add").set(this.rip);
    f.get(word).i64(Math.log2(ExitWord.AHEAD)).op("i64.shr_u").op("i32.wrap_i64").i32(MOST_AHEAD).op("i32.and");
    f.get(this.fuel).op("i32.add").set(this.fuel);
    f.get(word).op("i32.wrap_i64").i32(ExitWord.KIND).op("i32.and").i32(ExitWord.KIND).op("i32.ne").if();
    f.get(word).op("i32.wrap_i64").i32(ExitWord.KIND).op("i32.and");
    this.setFlagKind();
    f.end();
  }
  /** Sets the local of the flags' kind to what is on the stack. */
  protected abstract setFlagKind(): void;
  /** Goes on at the address in `rip`. */
  exitToRip(): void {
    const kind = this.unwrittenFlagKind;
    if (kind !== undefined) {
      this.f.i32(kind);
      this.setFlagKind();
    }
    this.f.br(this.leaveLabel);
  }
  /** A side exit if the i32 on the stack is not 0. */
  protected sideExitIf(): void {
    this.f.likely(false).if();
    this.sideExit();
    this.f.end();
  }

  // ——— registers ———
  protected useGpr(n: number): Local {
    return this.#localOf(this.gprs, n, "i64");
  }
  protected useXmm(n: number): Local {
    return this.#localOf(this.xmms, n, "v128");
  }
  #localOf(locals: Map<number, Local>, n: number, type: "i64" | "v128"): Local {
    let local = locals.get(n);
    if (local === undefined) locals.set(n, (local = this.f.lasting(type)));
    return local;
  }
  protected known(local: Local, bits: number): KnownValue {
    return { type: "i64", local, bits };
  }
  protected reloadTlb(offset: number): void {
    this.f.get(STATE).memory("i32.load", offset).set(this.tlb);
  }
}

/** Bits that may be set in a value. */
export function bitsOf(v: Value): number {
  if (v.constant !== undefined) return v.constant < 0n ? 64 : v.constant.toString(2).length;
  return v.type === "i32" ? 1 : ((v as KnownValue).bits ?? 64);
}
