/* The translator's Sem<V>: writes one instruction into a region. Everything that the decoder knows is folded: register numbers are locals, immediates and
 * displacements constants. Runs on the translator's thread. @source docs/translator.md */
import type { CallName } from "../../../isa/calls.ts";
import type { Decoded, Operand } from "../../../isa/decoded.ts";
import { Reg, Rflags } from "../../../isa/registers.ts";
import type { ExceptionName, Sem, Semantics, Size } from "../../../isa/sem.ts";
import { MOVS, STOS } from "../../../isa/sem/string.ts";
import type { Local } from "../../../wasm/function.ts";
import { STATE } from "../emit-flags.ts";
import type { Value } from "../emit-values.ts";
import { emitTagChoice } from "../jump-cache.ts";
import { CALL_PREFIX } from "../handlers.ts";
import { Engine } from "../layout.ts";
import { callRun, chargeRun } from "../string-run.ts";
import { RegionFloat } from "./region-float.ts";
import { bitsOf, Unsupported } from "./region-state.ts";

/** Calls that look only at fields of the register file that a region does not keep in locals, and fault never. */
const FREE_CALLS: ReadonlySet<CallName> = new Set(["modeChanged", "interruptsMayBeOpen"]);
const [RCX, RSI, RDI] = [1, 6, 7];
const isRun = (semantics: Semantics): boolean => semantics === MOVS || semantics === STOS;
const LANES = { 8: "i64x2", 4: "i32x4", 2: "i16x8", 1: "i8x16" } as const;

export class EmitRegion extends RegionFloat implements Sem<Value> {
  addressSize: 4 | 8 = 8;
  rep: 0 | 0xf2 | 0xf3 = 0;
  #effective: Value | undefined;
  #linear: Value | undefined;
  #host: Value | undefined;
  #saved: { effective: Value | undefined; linear: Value | undefined; host: Value | undefined }[] = [];
  /** The instruction ended in a jump: "relative" with its condition on the wasm stack if there is one. */
  jumped: "relative" | "conditional" | "indirect" | undefined;
  /** Target of an indirect jump. */
  readonly target: Local = this.f.local("i64");

  /** Writes an instruction. A jump's condition is left on the wasm stack, its target in `target`.
   *  @param offset of its first byte from the base page  @param ahead instructions of the node from it on  @throws Unsupported */
  instruction(d: Decoded, offset: number, ahead: number): void {
    this.d = d;
    this.offset = offset;
    this.ahead = ahead;
    this.size = d.size;
    this.addressSize = d.addressSize;
    this.rep = d.rep;
    this.lock = d.lock;
    this.jumped = undefined;
    this.registerEffects = this.memoryEffects = 0;
    this.#effective = this.#linear = this.#host = this.order = undefined;
    if (d.row.privileged) {
      this.f.get(STATE).memory("i32.load", Reg.CPL);
      this.sideExitIf();
    }
    this.checkStretch();
    const retries = d.lock && this.options.parallel;
    if (retries) {
      this.syncFlagKind();
      this.retry = this.f.loop();
    }
    if (d.rep !== 0 && d.addressSize === 8 && d.segment < 4 && isRun(d.row.semantics)) this.#run();
    else d.row.semantics.run(this);
    if (retries) this.f.end();
  }

  /** REP MOVS, REP STOS, upwards. What a run leaves undone is the interpreter's, which takes the instruction up where the registers say. */
  #run(): void {
    const { f } = this;
    f.get(STATE).memory("i32.load", Reg.RFLAGS).i32(Rflags.DF).op("i32.and");
    this.sideExitIf();
    const copies = this.d.row.semantics === MOVS;
    const done = callRun(this, copies, this.size);
    const bytes = this.mul(done, this.const(this.size));
    this.setReg(RCX, 8, this.sub(this.reg(RCX, 8), done));
    this.setReg(RDI, 8, this.add(this.reg(RDI, 8), bytes));
    if (copies) this.setReg(RSI, 8, this.add(this.reg(RSI, 8), bytes));
    f.get(this.fuel).get(chargeRun(f, bytes.local)).op("i32.sub").set(this.fuel);
    f.get(this.useGpr(RCX)).i64(0).op("i64.ne");
    this.registerEffects = 0;
    this.sideExitIf();
    this.registerEffects = 1;
  }

  // ——— operands ———
  #operand(i: number): Operand {
    return this.d.operands[i];
  }
  isMemory(i: number): boolean {
    return this.#operand(i).kind === "mem";
  }
  width(i: number): number {
    return this.#operand(i).width;
  }
  get(i: number): Value {
    const operand = this.#operand(i);
    switch (operand.kind) {
      case "gpr":
        return this.#register(operand.reg, operand.width as Size, operand.highByte);
      case "xmm":
        return this.#vectorRegister(operand.reg, operand.width);
      case "mm":
        this.f.get(STATE).memory("i64.load", Reg.ST + 16 * operand.reg);
        return this.keep("i64");
      case "mem":
        return this.#getMemory(i);
      case "imm":
      case "rel":
        return this.#immediate(i, operand);
      default:
        return this.const(operand.reg); // control, debug, segment and x87 registers: their number
    }
  }
  #immediate(i: number, operand: Operand): Value {
    if (operand.source === "fixed") return this.const(operand.reg);
    if (i > 0 && this.#operand(i - 1).kind === "imm") return this.const(this.d.imm2);
    return this.zext(this.const(this.d.imm), operand.width as Size);
  }
  getSigned(i: number): Value {
    const operand = this.#operand(i);
    if (operand.kind === "imm" && operand.source !== "fixed") return this.const(this.d.imm);
    if (operand.kind === "mem" && this.d.row.semantics.access[i] === "r")
      return this.loadSigned(this.linearAddress(i), operand.width as Size);
    return this.sext(this.get(i), operand.width as Size);
  }
  protected isOperandAddress(address: Value): boolean {
    return address === this.#linear;
  }
  #register(n: number, width: Size, highByte: boolean): Value {
    const local = this.useGpr(n);
    this.f.get(local);
    if (highByte) this.f.i64(8).op("i64.shr_u");
    if (width === 4) this.f.op("i32.wrap_i64").op("i64.extend_i32_u");
    else if (width < 4) this.f.i64(width === 1 ? 0xff : 0xffff).op("i64.and");
    return Object.assign(this.keep("i64"), { bits: 8 * width });
  }
  #vectorRegister(n: number, width: number): Value {
    this.f.get(this.useXmm(n));
    if (width === 16) return this.keep("v128");
    if (width >= 4 && this.floats) {
      this.f.laneOp(width === 8 ? "f64x2.extract_lane" : "f32x4.extract_lane", 0);
      return this.keep(width === 8 ? "f64" : "f32");
    }
    const shape = LANES[width as Size];
    this.f.laneOp(width < 4 ? `${shape}.extract_lane_u` : `${shape}.extract_lane`, 0);
    if (width !== 8) this.f.op("i64.extend_i32_u");
    return Object.assign(this.keep("i64"), { bits: 8 * width });
  }
  #getMemory(i: number): Value {
    const address = this.linearAddress(i);
    const width = this.width(i);
    if (width === 16) return this.loadVector(address);
    if (this.d.row.semantics.access[i] !== "x") return this.load(address, width as Size);
    this.#host = this.hostForUpdate(address, width);
    return this.loadForUpdate(this.#host, address, width as Size);
  }

  put(i: number, v: Value): void {
    const operand = this.#operand(i);
    const width = operand.width as Size;
    if (operand.kind === "mem") {
      const address = this.linearAddress(i);
      if (operand.width === 16) this.storeVector(address, v);
      else if (this.#host) this.storeUpdated(this.#host, address, width, v);
      else this.store(address, width, v);
    } else if (operand.kind === "gpr") this.#setRegister(operand.reg, width, operand.highByte, v);
    else if (operand.kind === "xmm") this.#setVectorRegister(operand.reg, operand.width, v);
    else {
      this.registerEffects++;
      this.f.get(STATE);
      this.push(v);
      this.f.memory("i64.store", Reg.ST + 16 * operand.reg);
      this.f
        .get(STATE)
        .i64(0xffff)
        .memory("i64.store", Reg.ST + 16 * operand.reg + 8);
    }
  }
  /** A 32-bit result clears the upper half, narrower ones keep the rest. */
  #setRegister(n: number, width: Size, highByte: boolean, v: Value): void {
    this.registerEffects++;
    const local = this.useGpr(n);
    this.writtenGprs.add(n);
    this.registerChanged(n);
    if (width >= 4) {
      this.push(v);
      if (width === 4 && bitsOf(v) > 32) this.f.op("i32.wrap_i64").op("i64.extend_i32_u");
    } else {
      const mask = (width === 1 ? 0xffn : 0xffffn) << (highByte ? 8n : 0n);
      this.f.get(local).i64(~mask).op("i64.and");
      this.push(this.zext(v, width));
      if (highByte) this.f.i64(8).op("i64.shl");
      this.f.op("i64.or");
    }
    this.f.set(local);
  }
  #setVectorRegister(n: number, width: number, v: Value): void {
    this.registerEffects++;
    const local = this.useXmm(n);
    this.writtenXmms.add(n);
    if (width === 16) this.pushV128(v);
    else if (v.type === "f64" || v.type === "f32")
      this.f
        .get(local)
        .get(v.local)
        .laneOp(v.type === "f64" ? "f64x2.replace_lane" : "f32x4.replace_lane", 0);
    else {
      this.f.get(local);
      if (width === 8) this.push(v);
      else this.push32(v);
      this.f.laneOp(`${LANES[width as Size]}.replace_lane`, 0);
    }
    this.f.set(local);
  }

  effectiveAddress(i: number): Value {
    void i;
    return (this.#effective ??= this.#address());
  }
  #address(): Value {
    const { d } = this;
    if (d.row.operands.some((code) => code.startsWith("O"))) return this.const(d.imm);
    if (d.ripRelative) {
      this.pushAddress(this.offset + d.length + d.disp);
      const address = this.keep("i64");
      return d.addressSize === 4 ? this.zext(address, 4) : address;
    }
    let started = false;
    const add = (push: () => void): void => {
      push();
      if (started) this.f.op("i64.add");
      started = true;
    };
    if (d.base >= 0) add(() => this.f.get(this.useGpr(d.base)));
    if (d.index >= 0) {
      add(() => {
        this.f.get(this.useGpr(d.index));
        if (d.scale > 0) this.f.i64(d.scale).op("i64.shl");
      });
    }
    if (d.disp !== 0 || !started) add(() => this.f.i64(d.disp));
    const address = this.keep("i64");
    return d.addressSize === 4 ? this.zext(address, 4) : address;
  }
  linearAddress(i: number): Value {
    if (this.#linear) return this.#linear;
    let address = this.effectiveAddress(i);
    const { segment } = this.d;
    if (segment >= 4) address = this.add(address, this.field(segment === 4 ? Reg.FS_BASE : Reg.GS_BASE, 8));
    if (this.d.row.aligned) {
      this.push32(address);
      this.f.i32(15).op("i32.and");
      this.sideExitIf();
    }
    return (this.#linear = address);
  }

  // ——— registers by number ———
  reg(n: number, size: Size): Value {
    return this.#register(n, size, false);
  }
  setReg(n: number, size: Size, v: Value): void {
    this.#setRegister(n, size, false, v);
  }
  xmm(n: number): Value {
    return this.#vectorRegister(n, 16);
  }
  setXmm(n: number, v: Value): void {
    this.#setVectorRegister(n, 16, v);
  }
  override x87SetWord(n: Value, at: 0 | 8, v: Value): void {
    this.registerEffects++;
    super.x87SetWord(n, at, v);
  }

  // ——— control ———
  nextRip(): Value {
    this.pushAddress(this.offset + this.d.length);
    return this.keep("i64");
  }
  jumpRelative(cond?: Value): void {
    this.jumped = cond ? "conditional" : "relative";
    if (cond) this.pushCondition(cond);
  }
  jump(target: Value, hint: "jump" | "call" | "return"): void {
    if (hint === "jump") {
      this.push(target);
      this.f.i64(16).op("i64.shl").i64(16).op("i64.shr_s");
      this.push(target);
      this.f.op("i64.ne");
      this.sideExitIf();
    }
    this.push(target);
    this.f.set(this.target);
    this.jumped = "indirect";
  }
  raise(exception: ExceptionName, errorCode?: Value): void {
    void exception;
    void errorCode;
    this.#beRare();
    this.sideExit(true);
  }
  repeat(cond: Value): void {
    void cond;
    throw new Unsupported("REP");
  }
  /** Comes after a call only. */
  endBlock(): void {}
  accessRightsChanged(): void {
    this.registerEffects++;
    this.f.get(STATE);
    this.f.get(STATE).memory("i32.load", Engine.BANK_USER);
    this.f.get(STATE).memory("i32.load", Engine.BANK_SUPERVISOR_AC);
    this.f.get(STATE).memory("i32.load", Engine.BANK_SUPERVISOR);
    this.f.get(STATE).memory("i32.load", Reg.RFLAGS).i32(Rflags.AC).op("i32.and").op("select");
    this.f.get(STATE).memory("i32.load", Reg.CPL).i32(3).op("i32.eq").op("select");
    this.f.tee(this.tlb).memory("i32.store", Engine.TLB);
    emitTagChoice(this.f);
    this.forgetPages();
  }
  /** What is plain TypeScript is the interpreter's, except what needs no register that is in a local. */
  call(name: CallName, ...args: Value[]): Value {
    void args;
    if (name === "tsc") return this.#timeStamp();
    if (FREE_CALLS.has(name)) {
      this.registerEffects++;
      this.f
        .get(STATE)
        .i32(0)
        .call(this.imports.function(CALL_PREFIX + name));
      this.reloadTlb(Engine.TLB);
      this.forgetPages();
      return this.const(0);
    }
    this.#beRare();
    this.sideExit();
    return this.const(0);
  }
  /** A clock that goes by retired instructions is to know of those before this one. */
  #timeStamp(): Value {
    this.f.get(STATE).get(this.fuel).i32(this.ahead).op("i32.add").memory("i32.store", Engine.FUEL);
    return this.timeStamp(() => this.f.i32(0));
  }
  /** What every run of the instruction would leave for is not worth being in a region. */
  #beRare(): void {
    if (this.#saved.length === 0) throw new Unsupported("always leaves");
  }

  protected override enterBranch(): void {
    this.#saved.push({ effective: this.#effective, linear: this.#linear, host: this.#host });
  }
  protected override leaveBranch(): void {
    const { effective, linear, host } = this.#saved.pop()!;
    this.#effective = effective;
    this.#linear = linear;
    this.#host = host;
  }
}
