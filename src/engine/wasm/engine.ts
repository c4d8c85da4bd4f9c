/* WasmEngine: the wasm engine of one executor thread: the core module, the handler table and the block cache, and the host functions that bind generated code to the vCPU
 * that runs. Memories are the cell's; several executors share them. */
import { CALLS } from "../../isa/system/calls.ts";
import type { CpuModel } from "../../isa/system/cpu-model.ts";
import { GuestFault, Vector } from "../../isa/cpu.ts";
import { Reg } from "../../isa/registers.ts";
import {
  FP_CONVERSIONS,
  fpCompare,
  fpConvert,
  fpRound,
  fpScalar,
  raiseFp,
  truncating,
  type FpResult,
} from "../../isa/softfloat/index.ts";
import type { GuestRam } from "../../memory/guest-ram.ts";
import { Attention, HOST, type HostSources, type VcpuPorts } from "../engine.ts";
import { BlockCache } from "./blocks.ts";
import { CORE_FUNCTIONS, coreModule, type HostFunction } from "./core.ts";
import { FP_OPS } from "./emit-vectors.ts";
import { CALL_PREFIX, HandlerTable, signatureOf } from "./handlers.ts";
import type { HotCode } from "./hot-code.ts";
import { Engine, MAX_EXECUTORS, MAX_REGIONS, vcpuAddress } from "./layout.ts";
import { exchangePair, storeLocked } from "./locked-slow.ts";
import { protectFrame } from "./tlb-entries.ts";
import { type RegionOptions, ALL_PASSES } from "./translator/region-options.ts";
import { type REGION_HOST_FUNCTIONS, regionCoreModule } from "./translator/region-core.ts";
import { Regions, type RegionTranslator } from "./translator/regions.ts";
import { REGION_LIMITS, type RegionLimits } from "./translator/region-options.ts";
import { TranslatesAtOnce } from "./translator/at-once.ts";
import { WasmVcpu } from "./vcpu.ts";
import { World } from "./world.ts";

/** An i64 comes out of wasm signed. */
const unsigned64 = (v: bigint): bigint => BigInt.asUintN(64, v);

/** An SSE (x87) instruction met CR0.EM, CR0.TS or CR4.OSFXSR. @source SDM vol. 3A tables 13-1, 2-2 */
function raiseUnit({ regs }: WasmVcpu, sse: boolean): never {
  const unavailable = sse && ((regs.get32(Reg.CR0) & 4) !== 0 || (regs.get32(Reg.CR4) & 0x200) === 0);
  throw new GuestFault(unavailable ? Vector.UD : Vector.NM);
}

type Width = 4 | 8;
type FloatFunction = "fpArithmetic" | "fpConvert" | "fpRound" | "fpCompare";

/** How an engine translates hot code. */
export interface TranslationOptions {
  readonly limits: RegionLimits;
  readonly region: RegionOptions;
  /** Absent: translated at once, on the executor's thread. */
  readonly translator?: RegionTranslator;
  /** Makes what stands in for regions where code is translated for the host's processor. */
  readonly native?: NativeFactory;
}
/** @returns undefined where it can't be done */
export type NativeFactory = (
  blocks: BlockCache,
  state: WebAssembly.Memory,
  ram: GuestRam,
  table: WebAssembly.Table,
  resolve: (name: string) => unknown,
  limits: RegionLimits,
) => HotCode | undefined;
export const TRANSLATION: TranslationOptions = {
  limits: REGION_LIMITS,
  region: { passes: ALL_PASSES, parallel: false },
};
/** For tests: everything is translated before it runs. */
export const TRANSLATE_ALL: TranslationOptions = { ...TRANSLATION, limits: { ...REGION_LIMITS, threshold: 0 } };
/** For tests: nothing is ever translated. */
export const TRANSLATE_NOTHING: TranslationOptions = {
  ...TRANSLATION,
  limits: { ...REGION_LIMITS, threshold: Infinity },
};

export class WasmEngine {
  readonly regions: HotCode;
  readonly state: WebAssembly.Memory;
  readonly blocks: BlockCache;
  readonly handlers: HandlerTable;
  readonly world: World;
  #current!: WasmVcpu;
  readonly #words: Int32Array;
  readonly #ram: GuestRam;
  /** Those that this executor has run; another one may have them now. */
  readonly #vcpus: WasmVcpu[] = [];
  readonly #core: Record<string, unknown>;
  /** The run loop (core.ts). @param entry 0, or the entry to begin with */
  readonly run: (state: number, entry: number) => void;

  /** @param executor index of the thread's executor, below ram.shared.executors */
  constructor(state: WebAssembly.Memory, ram: GuestRam, translation: TranslationOptions = TRANSLATION, executor = 0) {
    this.state = state;
    this.#ram = ram;
    this.#words = new Int32Array(state.buffer);
    this.world = new World(this.#words, executor, ram.shared.executors);
    const frames = ram.pool.shared.memory;
    const host = { ...this.#hostFunctions(), ...this.#regionHostFunctions() };
    const resolve = (name: string): unknown =>
      host[name as HostFunction] ??
      (name in CORE_FUNCTIONS ? this.#core[name] : this.#call(name.slice(CALL_PREFIX.length)));
    this.handlers = new HandlerTable(state, frames, ram.pool.pages, { resolve }, translation.native && 1);
    const imports: { host: Record<string, unknown>; mere: Record<string, unknown> } = {
      host: { ...host },
      mere: { state, ram: frames, tables: ram.shared.tables, handlers: this.handlers.table },
    };
    const hot = this.handlers.hot(translation.native === undefined);
    const calls = Object.keys(CALLS).map((name) => CALL_PREFIX + name);
    for (const name of calls) imports.host[name] = this.#call(name.slice(CALL_PREFIX.length));
    const core = coreModule(
      ram.pool.pages,
      { pages: ram.shared.tables.buffer.byteLength / 65536, entryBytes: 4 * ram.codeWords, executor },
      hot,
      calls.map((name) => [name, signatureOf(name)]),
      translation.native !== undefined,
    );
    this.#core = new WebAssembly.Instance(new WebAssembly.Module(core), imports).exports;
    this.run = this.#core["run"] as (state: number, entry: number) => void;
    this.blocks = new BlockCache(state.buffer, ram, this.handlers, executor);
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(regionCoreModule(ram.pool.pages)), {
      host,
      mere: { state, ram: frames, handlers: this.handlers.table },
    });
    const parts = [
      this.blocks,
      state,
      ram,
      this.handlers.table,
      (name: string) => exports[name] ?? resolve(name),
    ] as const;
    const native = translation.native?.(...parts, translation.limits);
    if (translation.native && !native) this.handlers.table.grow(MAX_REGIONS - 1);
    this.regions =
      native ??
      new Regions(
        ...parts,
        translation.translator ?? new TranslatesAtOnce(translation.region, ram.pool.pages),
        translation.limits,
        executor,
      );
    this.blocks.onProtect = (frame, writers) => this.#protect(frame, writers);
    this.blocks.onDrop = (all) =>
      this.#vcpus.forEach((v) => {
        if (all) v.blocksGone = true;
        if (v !== this.current) return; // another executor may be taking it
        if (all) v.mmu.flushJumpCache();
        v.regs.set32(Engine.LINK, 0); // what asked for a link may be gone
      });
    this.blocks.onTold = () => this.#othersLook();
  }

  /** The vCPU that this executor runs now. */
  get current(): WasmVcpu {
    return this.#current;
  }
  set current(vcpu: WasmVcpu) {
    this.#current = vcpu;
    this.regions.select(vcpu.address);
  }

  /** vCPU n on this executor's engine. Its register file must be filled already, and no other executor may have it. */
  vcpu(n: number, model: CpuModel, ports: VcpuPorts, host: HostSources = HOST): WasmVcpu {
    const vcpu = new WasmVcpu(this, vcpuAddress(n), this.#ram, model, ports, host);
    this.#vcpus.push(vcpu);
    return vcpu;
  }

  /** Takes the right to write to a frame unseen from these vCPUs (bits). While another executor could be between its look at an entry and its store,
   *  it must be stopped: else the store would come after the code was read, and be seen by nobody. */
  #protect(frame: number, writers: number): void {
    if (writers === 0) return;
    const { address, mmu } = this.current;
    if (writers === 1 << mmu.vcpu) return protectFrame(this.#words, address, frame);
    this.world.alone(() => {
      for (let n = 0; writers >> n !== 0; n++) if (writers & (1 << n)) protectFrame(this.#words, vcpuAddress(n), frame);
    });
  }
  /** Other executors' vCPUs look around before they take another way. */
  #othersLook(): void {
    for (let n = 0; n < MAX_EXECUTORS; n++) {
      const at = vcpuAddress(n);
      if (at !== this.current.address) Atomics.or(this.#words, (at + Reg.ATTENTION) >> 2, Attention.LOOK);
    }
  }

  /** Between slices: drops what the vCPU that runs next must not find any more. */
  forget(): void {
    const returns = this.world.pass();
    this.dropStaleCode();
    const { mmu } = this.current;
    if (returns === mmu.returnsSeen) return;
    mmu.returnsSeen = returns;
    mmu.flush({ kind: "all" });
  }
  /** Drops blocks of frames that devices or other executors wrote to. */
  dropStaleCode(): void {
    if (!this.#ram.hasStaleCode) return;
    const stale = this.#ram.takeStaleCode();
    if (stale === "all") this.blocks.clear();
    else for (const frame of stale) this.blocks.dropFrame(frame);
  }

  /** A semantic function's call as an import. The most frequent kinds have no array of arguments. */
  #call(name: string): unknown {
    const { run, args, result } = CALLS[name];
    if (args === 0 && !result) {
      return (_state: number, entry: number) => {
        this.current.entry = entry;
        run(this.current);
      };
    }
    if (args === 1 && !result) {
      return (_state: number, entry: number, a: bigint) => {
        this.current.entry = entry;
        run(this.current, unsigned64(a));
      };
    }
    if (args === 2 && !result) {
      return (_state: number, entry: number, a: bigint, b: bigint) => {
        this.current.entry = entry;
        run(this.current, unsigned64(a), unsigned64(b));
      };
    }
    return (_state: number, entry: number, ...values: bigint[]) => {
      this.current.entry = entry;
      const answer = run(this.current, ...values.map(unsigned64));
      return result ? (answer ?? 0n) : undefined;
    };
  }

  get #mxcsr(): number {
    return this.current.regs.get32(Reg.MXCSR);
  }

  #hostFunctions(): Record<HostFunction, unknown> {
    const at = (entry: number): WasmVcpu => {
      this.current.entry = entry;
      return this.current;
    };
    return {
      fill: (_: number, entry: number, low: number, high: number, access: number, size: number) =>
        at(entry).mmu.fill(entry, low, high, access, size),
      readSlow: (_: number, entry: number, address: bigint, size: number) =>
        at(entry).mmu.read(BigInt.asUintN(64, address), size),
      writeSlow: (_: number, entry: number, address: bigint, value: bigint, size: number) => {
        at(entry).mmu.write(BigInt.asUintN(64, address), size, BigInt.asUintN(8 * size, value));
      },
      storeLockedSlow: (_: number, entry: number, address: bigint, expected: bigint, value: bigint, size: number) =>
        storeLocked(
          this.world,
          at(entry),
          BigInt.asUintN(64, address),
          size,
          BigInt.asUintN(64, expected),
          BigInt.asUintN(8 * size, value),
        ),
      exchangePairSlow: (_: number, entry: number, address: bigint, ...halves: [bigint, bigint, bigint, bigint]) =>
        exchangePair(this.world, at(entry), BigInt.asUintN(64, address), halves.map(unsigned64)),
      readVectorSlow: (_: number, entry: number, address: bigint) =>
        at(entry).mmu.readVector(BigInt.asUintN(64, address)),
      writeVectorSlow: (_: number, entry: number, address: bigint) =>
        at(entry).mmu.writeVector(BigInt.asUintN(64, address)),
      lookUp: () => this.current.lookUp(),
      pageFault: () => this.current.pageFault(),
      probeWrite: (_: number, entry: number, address: bigint, size: number) =>
        at(entry).mmu.probeWrite(BigInt.asUintN(64, address), size),
      clock: (_: number, entry: number) => at(entry).nanos(),
      raise: (_: number, entry: number, vector: number, code: number) => {
        at(entry);
        throw new GuestFault(vector, code === -1 ? undefined : code);
      },
      raiseSse: (_: number, entry: number) => raiseUnit(at(entry), true),
      raiseX87: (_: number, entry: number) => raiseUnit(at(entry), false),
      ...this.#floatFunctions("", (entry, { bits: value, flags }) => {
        raiseFp(at(entry), flags);
        return value;
      }),
      ...this.#floatFunctions("Lane", (entry, { bits: value, flags }) => {
        const { regs } = at(entry);
        regs.set32(Engine.FP_FLAGS, regs.get32(Engine.FP_FLAGS) | flags);
        return value;
      }),
      fpRaise: (_: number, entry: number) => {
        const { regs } = at(entry);
        const flags = regs.get32(Engine.FP_FLAGS);
        regs.set32(Engine.FP_FLAGS, 0);
        raiseFp(this.current, flags);
      },
    };
  }

  #regionHostFunctions(): Record<keyof typeof REGION_HOST_FUNCTIONS, unknown> {
    return {
      resume: () => this.current.resume(),
      validate: (_: number, entry: number) => this.regions.validate(this.current, entry),
      landed: () => this.current.landed(),
      outgrown: (_: number, entry: number) => this.regions.outgrown(this.current, entry),
      fpCommit: () => {
        const { regs } = this.current;
        const flags = regs.get32(Engine.FP_FLAGS);
        regs.set32(Engine.FP_FLAGS, 0);
        try {
          raiseFp(this.current, flags);
        } catch (error) {
          if (error instanceof GuestFault) return 1;
          throw error;
        }
        return 0;
      },
    };
  }

  /** The soft floating-point functions; `finish` does with the flags what the kind of caller wants. */
  #floatFunctions<S extends string>(
    suffix: S,
    finish: (entry: number, result: FpResult) => bigint,
  ): Record<`${FloatFunction}${S}`, unknown> {
    const unsigned = (width: number, v: bigint): bigint => BigInt.asUintN(8 * width, v);
    const functions: Record<FloatFunction, unknown> = {
      fpArithmetic: (_: number, entry: number, op: number, width: Width, a: bigint, b: bigint) =>
        finish(entry, fpScalar(FP_OPS[op], width, unsigned(width, a), unsigned(width, b), this.#mxcsr)),
      fpConvert: (_: number, entry: number, kind: number, truncate: number, a: bigint) => {
        const name = FP_CONVERSIONS[kind];
        const from = name.startsWith("i64") || name.startsWith("f64") ? 8 : 4;
        return finish(entry, fpConvert(name, unsigned(from, a), truncate ? truncating(this.#mxcsr) : this.#mxcsr));
      },
      fpRound: (_: number, entry: number, width: Width, a: bigint, control: bigint) =>
        finish(entry, fpRound(width, unsigned(width, a), Number(control & 15n), this.#mxcsr)),
      fpCompare: (_: number, entry: number, width: Width, a: bigint, b: bigint, signalling: bigint) => {
        const { order, flags } = fpCompare(
          width,
          unsigned(width, a),
          unsigned(width, b),
          signalling !== 0n,
          this.#mxcsr,
        );
        return finish(entry, { bits: BigInt(order), flags });
      },
    };
    return Object.fromEntries(Object.entries(functions).map(([name, f]) => [name + suffix, f])) as Record<
      `${FloatFunction}${S}`,
      unknown
    >;
  }
}
