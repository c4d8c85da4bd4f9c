/* WasmVcpu: one vCPU on the wasm engine: its register file, its Mmu, delivery of events, and Cpu for the instructions that are plain TypeScript.
 * Runs on whichever executor has it; only one at a time. */
import type { CpuModel } from "../../isa/system/cpu-model.ts";
import {
  codeBreakpointFault,
  DR6_BS,
  dataBreakpointTrap,
  hasBreakpoints,
  matchCodeBreakpoint,
  singleStepTrap,
  trapsAfter,
  watchedPages,
} from "../../isa/system/debug.ts";
import { deliver, deliverFault, TripleFault } from "../../isa/system/exceptions.ts";
import { GuestFault, Vector, type Cpu, type Privilege } from "../../isa/cpu.ts";
import { RegisterFile } from "../../isa/register-file.ts";
import { Reg, Rflags, Shadow } from "../../isa/registers.ts";
import type { GuestRam } from "../../memory/guest-ram.ts";
import { Attention, type EngineVcpu, type Exit, type HostSources, type VcpuPorts } from "../engine.ts";
import { Word } from "../wakeups.ts";
import { Delivery } from "./delivery.ts";
import type { WasmEngine } from "./engine.ts";
import { Engine, FAULT_PENDING } from "./layout.ts";
import { Mmu, type FlushScope } from "./mmu.ts";
import type { DevicePorts } from "./physical.ts";
import { Retirement } from "./retirement.ts";
import { Slices } from "./slices.ts";

const [HALTED, SHUT_DOWN] = [1, 3];
const EXITS = ["budget", "halted", "interrupt", "fault", "mmio", "port", "shutdown"];

export class WasmVcpu implements EngineVcpu, Cpu {
  readonly regs: RegisterFile;
  readonly model: CpuModel;
  readonly mmu: Mmu;
  readonly address: number;
  readonly exits: Record<string, number> = Object.fromEntries(EXITS.map((reason) => [reason, 0]));
  /** All decoded blocks went while another vCPU ran: the jump cache may lead to where they were. */
  blocksGone = false;
  readonly #engine: WasmEngine;
  readonly #ports: VcpuPorts;
  readonly #words: Int32Array;
  readonly #attention: number;
  readonly #kicked: number;
  readonly #delivery: Delivery;
  readonly #host: HostSources;
  readonly retirement: Retirement;
  readonly #slices: Slices;
  /** A #PF ends what runs: single steps, and tests of one instruction. */
  #stopsAtFaults = false;
  /** In tests: what a region's way to the interpreter runs. */
  #resume: (() => number) | undefined;
  /** An NMI was delivered and its end not seen yet. */
  #inNmi = false;
  /** Entry of the instruction that called out of generated code; 0 between instructions. */
  entry = 0;

  constructor(
    engine: WasmEngine,
    address: number,
    ram: GuestRam,
    model: CpuModel,
    ports: VcpuPorts,
    host: HostSources,
  ) {
    this.#engine = engine;
    this.#host = host;
    this.#slices = new Slices(host);
    this.address = address;
    this.model = model;
    this.#ports = ports;
    const buffer = engine.state.buffer;
    this.regs = new RegisterFile(buffer, address);
    this.retirement = new Retirement(this.regs);
    this.#words = new Int32Array(buffer);
    this.#attention = (address + Reg.ATTENTION) >> 2;
    this.#kicked = (address >> 2) + Word.KICKED;
    const counted: DevicePorts = {
      mmioRead: (gpa, size) => (this.exits["mmio"]++, ports.mmioRead(gpa, size)),
      mmioWrite: (gpa, size, value) => (this.exits["mmio"]++, ports.mmioWrite(gpa, size, value), this.#noteTimer()),
    };
    this.mmu = new Mmu(address, buffer, this.regs, ram, counted, engine.blocks);
    this.#delivery = new Delivery(address, this.#words, new Int32Array(ram.pool.shared.memory.buffer), this.mmu);
    this.mmu.reset();
  }

  /** Another executor had it meanwhile: what is kept here beside the register file is made anew. */
  takeOver(): void {
    this.mmu.reset();
    this.#inNmi = this.regs.get32(Reg.NMI_BLOCKED) !== 0;
    this.entry = 0;
  }

  // ——— running ———
  run(budget: number, untilNs = Infinity): Exit {
    this.#engine.current = this;
    if (this.blocksGone) this.mmu.flushJumpCache();
    this.blocksGone = false;
    const { world } = this.#engine;
    let left = budget;
    try {
      while (left > 0) {
        world.enter(this.address);
        try {
          const exit = this.look();
          if (exit) return exit;
          left -= this.#slice(Math.min(left, this.#slices.fuel(untilNs, this.#engine.regions.wantsSamples)));
        } finally {
          world.leave();
        }
        if (untilNs !== Infinity && this.#host.nanos() >= untilNs) break;
      }
    } catch (error) {
      return this.#shutDown(error);
    }
    this.exits["budget"]++;
    return { kind: "budget" };
  }
  #shutDown(error: unknown): Exit {
    if (!(error instanceof TripleFault)) throw error;
    this.regs.set32(Reg.RUN_STATE, SHUT_DOWN);
    this.exits["shutdown"]++;
    return { kind: "shutdown", reason: error.message };
  }
  /** For tools that follow a run: one instruction (of a REP: one element) and nothing that comes from outside. The vCPU must not be halted. */
  step(): Exit {
    this.#engine.current = this;
    try {
      this.#step();
    } catch (error) {
      return this.#shutDown(error);
    }
    return { kind: "budget" };
  }

  /** Looks at clock, attention and interrupts; before each slice. @returns why no slice may begin */
  look(): Exit | undefined {
    this.entry = 0;
    const wanted = Atomics.exchange(this.#words, this.#attention, 0);
    if (wanted & Attention.COME_OUT) return this.#comeOut();
    this.#engine.forget();
    if (this.#slices.isOver(this.regs.view.getBigInt64(Reg.DEADLINE, true))) this.#ports.deadlinePassed();
    if (this.regs.get32(Reg.PENDING_DEBUG) & DR6_BS) singleStepTrap(this);
    if (!this.#deliverNmi()) this.#deliverInterrupt();
    let state = this.regs.get32(Reg.RUN_STATE);
    if (state === HALTED && Atomics.exchange(this.#words, this.#kicked, 0) !== 0) {
      this.regs.set32(Reg.RUN_STATE, 0);
      state = 0;
    }
    if (state === SHUT_DOWN) return { kind: "shutdown", reason: "the vCPU was shut down before" };
    if (state === 0) return undefined;
    this.exits["halted"]++;
    return { kind: "halted" };
  }

  /** What else was wanted of one that has just halted comes when it is run again; that it is to be run, executors see by ATTENTION. */
  #comeOut(): Exit {
    if (this.regs.get32(Reg.RUN_STATE) === HALTED) Atomics.or(this.#words, this.#attention, Attention.LOOK);
    return { kind: "attention" };
  }

  /** @returns true if there was one. Interrupts come after its first instruction, if it lets them */
  #deliverNmi(): boolean {
    const { regs } = this;
    if (regs.get32(Reg.NMI_BLOCKED) || !this.#ports.takeNmi()) return false;
    if (this.#shadow()) this.#step();
    this.exits["interrupt"]++;
    regs.set32(Reg.RUN_STATE, 0);
    this.#inNmi = true;
    deliver(this, { vector: Vector.NMI, kind: "nmi" });
    this.interruptsMayBeOpen();
    return true;
  }
  #deliverInterrupt(): void {
    const regs = this.regs;
    if (Atomics.load(this.#words, (this.address + Reg.INTERRUPT_PENDING) >> 2) === 0) return;
    if ((regs.get32(Reg.RFLAGS) & Rflags.IF) === 0) return;
    if (this.#shadow()) {
      this.#step();
      Atomics.or(this.#words, this.#attention, Attention.LOOK);
      return;
    }
    const vector = this.#ports.acknowledgeInterrupt();
    if (vector < 0) return;
    this.exits["interrupt"]++;
    regs.set32(Reg.RUN_STATE, 0);
    if (!this.#delivery.deliver(vector, -1, false)) deliver(this, { vector, kind: "external" });
  }

  /** @returns instructions retired */
  #slice(fuel: number): number {
    const regs = this.regs;
    if (regs.get32(Reg.RFLAGS) & Rflags.TF || hasBreakpoints(regs)) return this.#step();
    this.mmu.watch([]);
    // A slice that ends at once, because somebody asks for attention, leaves STI's shadow where it is: HLT behind it must not lose its interrupt.
    if (this.#shadow() === 0) regs.set32(Reg.INTERRUPT_SHADOW, 0);
    regs.set32(Engine.LINK, 0);
    this.retirement.grant(fuel);
    try {
      this.#engine.run(this.address, 0);
    } catch (error) {
      return this.#fault(error);
    }
    this.#slices.ended(regs.get32(Engine.FUEL) | 0, () => this.#look());
    this.entry = 0;
    return Math.max(this.retirement.retire(), 1);
  }
  /** Instructions retired, exact between instructions and inside of one that calls out of generated code. */
  get retired(): number {
    return this.retirement.total + (this.entry === 0 ? 0 : this.#engine.blocks.positionOf(this.entry));
  }
  /** Makes the state exact for the instruction that faulted and delivers the fault. */
  #fault(error: unknown): number {
    if (!(error instanceof GuestFault)) throw error;
    const { regs } = this;
    let before = 0;
    if (this.entry !== 0) {
      before = this.#engine.blocks.positionOf(this.entry);
      const { view } = regs;
      view.setInt32(Reg.RIP, view.getInt32(Reg.PAGE_VA, true) | this.#engine.blocks.offsetOf(this.entry), true);
      view.setInt32(Reg.RIP + 4, view.getInt32(Reg.PAGE_VA + 4, true), true);
    }
    regs.set32(Engine.LINK, 0);
    this.exits["fault"]++;
    const count = this.retirement.retire(before);
    const { vector, errorCode, address } = error;
    if (address !== undefined && vector === Vector.PF) regs.set64(Reg.CR2, address);
    const simple = vector >= Vector.UD || vector === Vector.DE;
    if (!simple || !this.#delivery.deliver(vector, errorCode ?? -1, true)) deliverFault(this, error);
    this.entry = 0;
    return Math.max(count, 1);
  }
  /** Generated code came to a #PF: delivers it inside of the slice. */
  pageFault(): void {
    const { regs } = this;
    const errorCode = regs.get32(Engine.FAULT) & (FAULT_PENDING - 1);
    regs.set32(Engine.FAULT, 0);
    regs.set32(Engine.LINK, 0);
    this.entry = 0;
    if (this.#stopsAtFaults) throw new GuestFault(Vector.PF, errorCode, regs.get64(Engine.FAULT_ADDRESS));
    this.exits["fault"]++;
    for (const half of [0, 4]) regs.set32(Reg.CR2 + half, regs.get32(Engine.FAULT_ADDRESS + half));
    if (!this.#delivery.deliver(Vector.PF, errorCode, true))
      deliverFault(this, new GuestFault(Vector.PF, errorCode, regs.get64(Reg.CR2)));
  }

  /** What holds interrupts off at this instruction: Shadow, or 0. */
  #shadow(): number {
    const { regs } = this;
    const shadow = regs.get32(Reg.INTERRUPT_SHADOW);
    return shadow !== 0 && regs.get64(Reg.SHADOW_RIP) === regs.get64(Reg.RIP) ? shadow : 0;
  }
  /** One instruction (of a REP: one element), with its debug traps. @returns instructions to count against the budget */
  #step(): number {
    const regs = this.regs;
    const rip = regs.get64(Reg.RIP);
    const held = this.#shadow() === Shadow.MOV_SS;
    const matched = hasBreakpoints(regs) && !held ? matchCodeBreakpoint(regs, rip) : 0;
    if (matched) return (codeBreakpointFault(this, matched), 1);
    const stepping = (regs.get32(Reg.RFLAGS) & Rflags.TF) !== 0;
    const pending = regs.get32(Reg.PENDING_DEBUG);
    regs.set32(Reg.PENDING_DEBUG, 0);
    this.mmu.watch(watchedPages(regs));
    this.mmu.watchHits = 0;
    regs.set32(Reg.INTERRUPT_SHADOW, 0);
    regs.set32(Reg.RFLAGS, regs.get32(Reg.RFLAGS) & ~Rflags.RF);
    this.retirement.grant(0);
    regs.set32(Engine.LINK, 0);
    regs.set64(Reg.PAGE_VA, rip & ~0xfffn);
    this.entry = 0;
    this.#stopsAtFaults = true;
    try {
      const entry = this.#engine.blocks.single(...this.#fetch());
      this.#engine.run(this.address, entry);
    } catch (error) {
      return this.#fault(error);
    } finally {
      this.#stopsAtFaults = false;
    }
    regs.set32(Engine.LINK, 0);
    this.entry = 0;
    this.retirement.retire();
    this.#trap(stepping, pending | this.mmu.watchHits);
    return 1;
  }
  /** The debug traps that follow an instruction. @param stepping it began with TF set  @param hits bits of data breakpoints that it met */
  #trap(stepping: boolean, hits: number): void {
    const { regs } = this;
    if (this.#shadow() === Shadow.MOV_SS) {
      regs.set32(Reg.PENDING_DEBUG, hits);
      return;
    }
    const own = (regs.get32(Reg.PENDING_DEBUG) & DR6_BS) !== 0;
    const trap =
      own || trapsAfter(this.#engine.blocks.lastMnemonic, stepping, (regs.get32(Reg.RFLAGS) & Rflags.TF) !== 0);
    if (!trap && hits === 0) return;
    regs.set32(Reg.RUN_STATE, 0); // HLT is over
    if (trap) singleStepTrap(this, hits);
    else dataBreakpointTrap(this, hits);
  }
  /** For tests: runs this instruction at RIP, all iterations of a REP. @returns the fault, not delivered */
  runBytes(bytes: Uint8Array): GuestFault | undefined {
    const { regs } = this;
    const { blocks, regions } = this.#engine;
    const offset = Number(regs.get64(Reg.RIP) & 0xfffn);
    const interpreted = (): number => blocks.singleFrom(bytes, offset);
    this.#resume = interpreted;
    const rip = regs.get64(Reg.RIP);
    this.#engine.current = this;
    this.mmu.modeChanged();
    this.#stopsAtFaults = true;
    try {
      do {
        regs.set64(Reg.PAGE_VA, rip & ~0xfffn);
        regs.set32(Engine.FUEL, 0);
        this.entry = 0;
        const translated = regions.single(bytes, offset);
        this.#engine.run(this.address, translated === 0 ? interpreted() : translated);
        regs.set32(Engine.LINK, 0);
      } while (regs.get64(Reg.RIP) === rip);
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      regs.set64(Reg.RIP, rip);
      return new GuestFault(error.vector, error.errorCode, error.address);
    } finally {
      this.#stopsAtFaults = false;
    }
    return undefined;
  }
  /** Frame address of the code at RIP, and a function for the next page's. */
  #fetch(): [number, () => number] {
    const low = this.regs.view.getInt32(Reg.RIP, true);
    const high = this.regs.view.getInt32(Reg.RIP + 4, true);
    return [this.mmu.fetchAddress(low, high), this.#nextPage(low, high)];
  }
  #nextPage(low: number, high: number): () => number {
    const nextPage = (low & ~0xfff) + 4096;
    return () => this.mmu.fetchAddress(nextPage | 0, nextPage === 0 ? (high + 1) | 0 : high);
  }
  // ——— regions (translator/) ———
  /** Linear page of RIP, and of a decoded entry that runs in this page: bits 63–12 as a number. */
  ripPage(): number {
    const { view } = this.regs;
    return view.getUint32(Reg.RIP + 4, true) * 0x10_0000 + (view.getUint32(Reg.RIP, true) >>> 12);
  }
  pageVa(): number {
    const { view } = this.regs;
    return view.getUint32(Reg.PAGE_VA + 4, true) * 0x10_0000 + (view.getUint32(Reg.PAGE_VA, true) >>> 12);
  }
  /** Frame address of code at a linear page; −1 where a fetch would fault. */
  codeFrame(page: number): number {
    return this.mmu.codeAddress(((page % 0x10_0000) << 12) | 0, Math.floor(page / 0x10_0000) | 0);
  }
  /** A region leaves an instruction to the interpreter. @returns first entry of a block that is not a region */
  resume(): number {
    this.entry = 0;
    if (this.#resume) return this.#resume();
    const { view } = this.regs;
    const { blocks, regions } = this.#engine;
    const [low, high] = [view.getInt32(Reg.RIP, true), view.getInt32(Reg.RIP + 4, true)];
    const [address, nextPage] = this.#fetch();
    regions.noteCrossing(this.address, address);
    this.#engine.dropStaleCode();
    let entry = blocks.find(address, nextPage);
    if (regions.isRegion(entry)) {
      entry = blocks.findPlain(address, nextPage);
      regions.notePlain(address, entry);
    } else this.mmu.cacheJump(low, high, entry, blocks.isUnchained(entry));
    view.setInt32(Reg.PAGE_VA, low & ~0xfff, true);
    view.setInt32(Reg.PAGE_VA + 4, high, true);
    return entry;
  }
  /** The block at RIP as a region, if it can be one. */
  #translated(entry: number): number {
    if (this.#engine.regions.isRegion(entry)) return entry;
    this.#look();
    this.#engine.regions.install();
    this.regs.set32(Engine.LINK, 0); // its entry may be a region's now
    return this.#engine.blocks.find(...this.#fetch());
  }
  /** The slice ended here: perhaps it is hot. @returns as Regions.see */
  #look(): boolean {
    if (!this.#engine.regions.wantsSamples) return true;
    this.#engine.regions.install();
    return this.landed(1);
  }
  /** Code at RIP is seen to be hot, or, where slices end, to be so perhaps. @param times that it counts as seen  @returns as Regions.see */
  landed(times = Infinity): boolean {
    const frame = this.codeFrame(this.ripPage());
    return frame >= 0 && this.#engine.regions.see(this, frame + (this.regs.get32(Reg.RIP) & 0xfff), times);
  }

  /** The run loop missed the jump cache. @returns first entry of the block at RIP */
  lookUp(): number {
    this.entry = 0;
    const low = this.regs.view.getInt32(Reg.RIP, true);
    const high = this.regs.view.getInt32(Reg.RIP + 4, true);
    const address = this.mmu.fetchOrFault(low, high);
    if (address < 0) {
      this.pageFault();
      return 0;
    }
    // What this thread has decoded is only as good as what it has been told.
    this.#engine.dropStaleCode();
    let entry = this.#engine.blocks.find(address, this.#nextPage(low, high));
    if (this.#engine.regions.translatesAll) entry = this.#translated(entry);
    const spans = this.#engine.blocks.isUnchained(entry);
    this.mmu.cacheJump(low, high, entry, spans);
    return entry;
  }

  // ——— Cpu ———
  read(address: bigint, size: number, privilege?: Privilege): bigint {
    return this.mmu.read(BigInt.asUintN(64, address), size, privilege);
  }
  write(address: bigint, size: number, value: bigint, privilege?: Privilege): void {
    this.mmu.write(BigInt.asUintN(64, address), size, value, privilege);
  }
  copyIn(address: bigint, into: Uint8Array): boolean {
    return this.mmu.copy(address, into, false);
  }
  copyOut(address: bigint, from: Uint8Array): boolean {
    return this.mmu.copy(address, from, true);
  }
  probeWrite(address: bigint, size: number, privilege?: Privilege): void {
    this.mmu.probeWrite(address, size, privilege);
  }
  currentRip(): bigint {
    if (this.entry === 0) return this.regs.get64(Reg.RIP);
    return BigInt.asUintN(64, this.regs.get64(Reg.PAGE_VA) + BigInt(this.#engine.blocks.offsetOf(this.entry)));
  }
  nextRip(): bigint {
    return BigInt.asUintN(
      64,
      this.currentRip() + BigInt(this.entry === 0 ? 0 : this.#engine.blocks.lengthOf(this.entry)),
    );
  }
  setRip(rip: bigint): void {
    this.regs.set64(Reg.RIP, rip);
  }
  flushTlb(scope: FlushScope): void {
    this.mmu.flush(scope);
  }
  modeChanged(): void {
    this.mmu.modeChanged();
    // breakpoints may have been enabled: out of the run loop to step
    if (hasBreakpoints(this.regs)) this.interruptsMayBeOpen(true);
  }
  nanos(): number {
    return this.#host.nanos();
  }
  tsc(): bigint {
    return BigInt(Math.floor(this.#host.nanos())) + BigInt.asIntN(64, this.regs.get64(Reg.TSC_OFFSET));
  }
  random64(): bigint {
    return this.#host.random64();
  }
  readDeviceMsr(index: number): bigint | undefined {
    return this.#ports.readMsr(index);
  }
  writeDeviceMsr(index: number, value: bigint): boolean {
    const known = this.#ports.writeMsr(index, value);
    this.#noteTimer();
    return known;
  }
  /** The guest may have set a timer that passes before this slice was to end. */
  #noteTimer(): void {
    const sooner = this.#slices.isSooner(this.regs.view.getBigInt64(Reg.DEADLINE, true));
    if (sooner) Atomics.or(this.#words, this.#attention, Attention.LOOK);
  }
  portIn(port: number, size: 1 | 2 | 4): number {
    this.exits["port"]++;
    return this.#ports.portIn(port, size);
  }
  portOut(port: number, size: 1 | 2 | 4, value: number): void {
    this.exits["port"]++;
    this.#ports.portOut(port, size, value);
  }
  readTpr(): number {
    return this.#ports.readTpr();
  }
  writeTpr(value: number): void {
    this.#ports.writeTpr(value);
  }
  hypercall(nr: bigint, a0: bigint, a1: bigint, a2: bigint, a3: bigint): bigint {
    return this.#ports.hypercall(nr, a0, a1, a2, a3);
  }
  halt(): void {
    this.regs.set32(Reg.RUN_STATE, HALTED);
    this.regs.set32(Reg.INTERRUPT_SHADOW, 0); // STI; HLT: the shadow was HLT's own
    Atomics.or(this.#words, this.#attention, Attention.LOOK);
  }
  interruptsMayBeOpen(always = false): void {
    const trap = (this.regs.get32(Reg.RFLAGS) & Rflags.TF) !== 0;
    const pending = Atomics.load(this.#words, (this.address + Reg.INTERRUPT_PENDING) >> 2) !== 0;
    const nmiOver = this.#inNmi && this.regs.get32(Reg.NMI_BLOCKED) === 0;
    if (nmiOver) this.#inNmi = false;
    if (always || trap || pending || nmiOver) Atomics.or(this.#words, this.#attention, Attention.LOOK);
  }
}
