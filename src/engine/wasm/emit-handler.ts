/* Top layer: a handler of the interpreter, as a function (register file, entry) → next entry, or 0 to look RIP up; or as a case of the run loop.
 * What the decoder knows of the instruction's shape (row, size, register or memory, address form) is folded; register numbers, displacement and
 * immediate are read from the entry. @source docs/engine.md */
import type { Decoded, Operand } from "../../isa/decoded.ts";
import type { CallName } from "../../isa/calls.ts";
import { CALLS } from "../../isa/system/calls.ts";
import { Vector } from "../../isa/cpu.ts";
import { Reg, Rflags } from "../../isa/registers.ts";
import type { ExceptionName, Sem, Size } from "../../isa/sem.ts";
import { MOVS, STOS } from "../../isa/sem/string.ts";
import { FunctionBuilder, type Local } from "../../wasm/function.ts";
import { EmitVectors } from "./emit-vectors.ts";
import { ENTRY, type Imports } from "./emit-memory.ts";
import { STATE } from "./emit-flags.ts";
import type { Value } from "./emit-values.ts";
import { emitForget, emitTagChoice } from "./jump-cache.ts";
import { emitNoteBranch, emitNoteTarget, hasTargets } from "./jump-targets.ts";
import { Engine, Entry } from "./layout.ts";
import { callRun, chargeRun } from "./string-run.ts";

/** How the entry describes the memory operand's address. */
export const AddressForm = { NONE: 0, BASE: 1, INDEX: 2, SEGMENT: 3, ADDRESS32: 4, OFFSET: 5 } as const;

/** How a handler ends. All three leave for good: nothing emitted after them runs. */
export interface HandlerExits {
  /** Goes to the entry after this one. */
  next(f: FunctionBuilder): void;
  /** Goes to the entry whose address is on the stack. */
  goTo(f: FunctionBuilder): void;
  /** RIP is in place: look it up. */
  lookUp(f: FunctionBuilder): void;
}

/** Exits of a handler that is a function of its own. */
export const FUNCTION_EXITS: HandlerExits = {
  next: (f) => f.get(ENTRY).i32(Entry.BYTES).op("i32.add").op("return"),
  goTo: (f) => f.op("return"),
  lookUp: (f) => f.i32(0).op("return"),
};

const [RCX, RSI, RDI] = [1, 6, 7];
const WORD_BYTES = 8;

export class EmitHandler extends EmitVectors implements Sem<Value> {
  readonly size: Size;
  readonly addressSize: 4 | 8;
  readonly rep: 0 | 0xf2 | 0xf3;
  readonly lock: boolean;
  readonly #shape: Decoded;
  readonly #form: number;
  #effective: Value | undefined;
  #linear: Value | undefined;
  #registerAddress = new Map<number, Local>();
  #saved: {
    effective: Value | undefined;
    linear: Value | undefined;
    registers: Map<number, Local>;
  }[] = [];
  /** The code so far ends by returning the next entry itself. */
  #finished = false;
  readonly #exits: HandlerExits;

  constructor(
    f: FunctionBuilder,
    imports: Imports,
    shape: Decoded,
    form: number,
    exits: HandlerExits = FUNCTION_EXITS,
  ) {
    super(f, imports);
    this.#exits = exits;
    this.size = shape.size;
    this.addressSize = shape.addressSize;
    this.rep = shape.rep;
    this.lock = shape.lock;
    this.#shape = shape;
    this.#form = form;
  }

  /** Writes the whole handler. */
  emit(): void {
    const { row } = this.#shape;
    this.#checks();
    if (row.ends && !this.#jumps()) this.#setRip(this.nextRip());
    this.#run();
    row.semantics.run(this);
    if (this.#finished) return;
    if (row.ends) this.leave();
    else this.#exits.next(this.f);
  }

  /** REP MOVS and REP STOS, upwards: most of the work in one call, the rest and all that is special as described. Not without fuel: single-stepping stops
   *  after each element. */
  #run(): void {
    const { row, rep, addressSize, size } = this.#shape;
    const copies = row.semantics === MOVS;
    if ((!copies && row.semantics !== STOS) || rep === 0 || addressSize !== 8 || this.#form !== AddressForm.BASE)
      return;
    const { f } = this;
    this.push(this.reg(RCX, 8));
    f.i64(0).op("i64.ne");
    f.get(STATE).memory("i32.load", Reg.RFLAGS).i32(Rflags.DF).op("i32.and").op("i32.eqz").op("i32.and");
    f.get(STATE).memory("i32.load", Engine.FUEL).i32(0).op("i32.gt_s").op("i32.and").if();
    const done = callRun(this, copies, size);
    const bytes = this.mul(done, this.const(size));
    this.setReg(RCX, 8, this.sub(this.reg(RCX, 8), done));
    this.setReg(RDI, 8, this.add(this.reg(RDI, 8), bytes));
    if (copies) this.setReg(RSI, 8, this.add(this.reg(RSI, 8), bytes));
    const charge = chargeRun(f, bytes.local);
    f.get(STATE).get(STATE).memory("i32.load", Engine.FUEL).get(charge).op("i32.sub").memory("i32.store", Engine.FUEL);
    f.end();
  }
  /** Does the instruction set RIP itself? Found by a trial emission: then no call needs RIP in place. */
  #jumps(): boolean {
    const trial = new EmitHandler(
      new FunctionBuilder(["i32", "i32"], ["i32"]),
      { function: () => 0 },
      this.#shape,
      this.#form,
    );
    this.#shape.row.semantics.run(trial);
    return trial.#finished;
  }

  /** Privilege, FPU state and alignment: before anything else, as the processor checks them. */
  #checks(): void {
    const { row } = this.#shape;
    if (row.unit) {
      this.f.get(STATE).memory("i32.load", row.unit === "sse" ? Engine.SSE_TRAP : Engine.X87_TRAP);
      this.f.if();
      if (row.unit === "mmx") this.#raiseMmx();
      else this.#hostCall(row.unit === "sse" ? "raiseSse" : "raiseX87");
      this.f.end();
    }
    if (row.privileged) {
      this.f.get(STATE).memory("i32.load", Reg.CPL).if();
      this.raise("#GP");
      this.f.end();
    }
  }
  /** CR0.EM or CR0.TS is set. @source SDM vol. 3A §12.1, table 12-1 */
  #raiseMmx(): void {
    this.f.get(STATE).memory("i32.load", Reg.CR0).i32(4).op("i32.and").if();
    this.raise("#UD");
    this.f.end();
    this.raise("#NM");
  }
  #hostCall(name: string): void {
    this.f.get(STATE).get(ENTRY).call(this.imports.function(name));
  }

  // ——— operands ———
  #operand(i: number): Operand {
    return this.#shape.operands[i];
  }
  isMemory(i: number): boolean {
    return this.#operand(i).kind === "mem";
  }
  width(i: number): number {
    return this.#operand(i).width;
  }

  #entry16(offset: number): void {
    this.f.get(ENTRY).memory("i32.load16_u", offset);
  }
  /** Local that holds the address of a register operand. */
  #register(i: number): Local {
    const known = this.#registerAddress.get(i);
    if (known !== undefined) return known;
    const { source, reg, kind, highByte } = this.#operand(i);
    this.f.get(STATE);
    if (source === "fixed")
      this.f.i32(kind === "xmm" ? Reg.XMM + 16 * reg : Reg.GPR + WORD_BYTES * reg + (highByte ? 1 : 0));
    else this.#entry16(source === "reg" ? Entry.REG_A : source === "vvvv" ? Entry.REG_C : Entry.REG_B);
    this.f.op("i32.add");
    const local = this.f.local("i32");
    this.f.set(local);
    this.#registerAddress.set(i, local);
    return local;
  }

  get(i: number): Value {
    const operand = this.#operand(i);
    switch (operand.kind) {
      case "gpr":
        return this.#loadRegister(this.#register(i), operand.width);
      case "xmm":
      case "mm":
        return this.#loadRegister(this.#register(i), operand.width);
      case "mem":
        return this.#getMemory(i);
      case "imm":
      case "rel":
        if (operand.source === "fixed") return this.const(operand.reg);
        return i > 0 && this.#operand(i - 1).kind === "imm" ? this.#secondImmediate() : this.#immediate(operand.width);
      default:
        return this.const(operand.reg); // control, debug, segment and x87 registers: their number, folded into the shape
    }
  }
  #loadRegister(address: Local, width: number): Value {
    this.f.get(address);
    if (width === 16) {
      this.f.memory("v128.load");
      return this.keep("v128");
    }
    this.f.memory(
      width === 1 ? "i64.load8_u" : width === 2 ? "i64.load16_u" : width === 4 ? "i64.load32_u" : "i64.load",
    );
    return this.keep("i64");
  }
  #immediate(width: number): Value {
    this.f.get(ENTRY).memory("i64.load", Entry.IMM);
    const full = this.keep("i64");
    return width === 8 ? full : this.zext(full, width as Size);
  }
  /** ENTER's nesting level: in the immediate's upper half. */
  #secondImmediate(): Value {
    this.f.get(ENTRY).memory("i64.load32_u", Entry.IMM + 4);
    return this.keep("i64");
  }
  #getMemory(i: number): Value {
    const address = this.linearAddress(i);
    const width = this.width(i);
    if (width === 16) return this.loadVector(address);
    if (this.#shape.row.semantics.access[i] !== "x") return this.load(address, width as Size);
    return this.readToUpdate(address, width as Size);
  }
  protected override restart(): void {
    this.f.get(ENTRY);
    this.#exits.goTo(this.f);
  }
  getSigned(i: number): Value {
    const operand = this.#operand(i);
    if (operand.kind === "imm" && operand.source !== "fixed") {
      this.f.get(ENTRY).memory("i64.load", Entry.IMM);
      return this.keep("i64");
    }
    return this.sext(this.get(i), operand.width as Size);
  }

  put(i: number, v: Value): void {
    const operand = this.#operand(i);
    if (operand.kind === "mem") {
      const address = this.linearAddress(i);
      if (operand.width === 16) this.storeVector(address, v);
      else this.writeUpdated(address, operand.width as Size, v);
      return;
    }
    const address = this.#register(i);
    this.f.get(address);
    if (operand.width === 16) {
      this.pushV128(v);
      this.f.memory("v128.store");
      return;
    }
    this.push(v);
    if (operand.kind === "mm") this.f.memory("i64.store").get(address).i64(0xffff).memory("i64.store", 8);
    else if (operand.kind === "xmm")
      this.f.memory(operand.width === 8 ? "i64.store" : operand.width === 4 ? "i64.store32" : "i64.store16");
    else this.#storeGpr(operand.width);
  }
  /** Address and value are on the stack. A 32-bit result clears the upper half. */
  #storeGpr(width: number): void {
    if (width === 4) this.f.op("i32.wrap_i64").op("i64.extend_i32_u").memory("i64.store");
    else this.f.memory(width === 1 ? "i64.store8" : width === 2 ? "i64.store16" : "i64.store");
  }

  #slot(field: number): Value {
    this.f.get(STATE);
    this.#entry16(field);
    this.f.op("i32.add").memory("i64.load");
    return this.keep("i64");
  }
  effectiveAddress(i: number): Value {
    void i;
    if (this.#effective) return this.#effective;
    if (this.#form === AddressForm.OFFSET) {
      this.f.get(ENTRY).memory("i64.load", Entry.IMM);
      return (this.#effective = this.keep("i64"));
    }
    this.f.get(ENTRY).memory("i64.load32_s", Entry.DISP);
    let address = this.add(this.#slot(Entry.BASE), this.keep("i64"));
    if (this.#form !== AddressForm.BASE) {
      const index = this.#slot(Entry.INDEX);
      this.f.get(ENTRY).memory("i64.load8_u", Entry.SCALE);
      address = this.add(address, this.shl(index, this.keep("i64")));
    }
    if (this.#form === AddressForm.ADDRESS32) address = this.zext(address, 4);
    return (this.#effective = address);
  }
  linearAddress(i: number): Value {
    if (this.#linear) return this.#linear;
    let address = this.effectiveAddress(i);
    if (this.#form >= AddressForm.SEGMENT) {
      address = this.add(address, this.#slot(Entry.SEGMENT));
    }
    if (this.#shape.row.aligned) {
      this.push32(address);
      this.f.i32(15).op("i32.and").if();
      this.raise("#GP");
      this.f.end();
    }
    return (this.#linear = address);
  }

  // ——— registers by number ———
  reg(n: number, size: Size): Value {
    this.f
      .get(STATE)
      .memory(
        size === 1 ? "i64.load8_u" : size === 2 ? "i64.load16_u" : size === 4 ? "i64.load32_u" : "i64.load",
        Reg.GPR + WORD_BYTES * n,
      );
    return this.keep("i64");
  }
  setReg(n: number, size: Size, v: Value): void {
    this.f.get(STATE);
    this.push(v);
    const offset = Reg.GPR + WORD_BYTES * n;
    if (size === 4) this.f.op("i32.wrap_i64").op("i64.extend_i32_u");
    this.f.memory(size === 1 ? "i64.store8" : size === 2 ? "i64.store16" : "i64.store", offset);
  }
  xmm(n: number): Value {
    this.f.get(STATE).memory("v128.load", Reg.XMM + 16 * n);
    return this.keep("v128");
  }
  setXmm(n: number, v: Value): void {
    this.f.get(STATE);
    this.pushV128(v);
    this.f.memory("v128.store", Reg.XMM + 16 * n);
  }

  // ——— control ———
  #pageRelative(push: () => void): Value {
    this.f.get(STATE).memory("i64.load", Reg.PAGE_VA);
    push();
    this.f.op("i64.add");
    return this.keep("i64");
  }
  nextRip(): Value {
    return this.#pageRelative(() => {
      this.f
        .get(ENTRY)
        .memory("i64.load16_u", Entry.OFFSET)
        .get(ENTRY)
        .memory("i64.load8_u", Entry.LENGTH)
        .op("i64.add");
    });
  }
  /** Instructions of the block up to `extra` past this one are done. Leaves the new fuel on the stack. */
  #burn(extra: number): void {
    this.f.get(STATE).get(STATE).memory("i32.load", Engine.FUEL);
    this.f.get(ENTRY).memory("i32.load8_u", Entry.POSITION).op("i32.sub");
    if (extra) this.f.i32(extra).op("i32.sub");
    const fuel = this.f.local("i32");
    this.f.tee(fuel).memory("i32.store", Engine.FUEL).get(fuel);
  }
  /** Ends the block: RIP is in place. */
  leave(): void {
    this.#burn(1);
    this.f.op("drop");
    this.#exits.lookUp(this.f);
  }
  #setRip(target: Value): void {
    this.f.get(STATE);
    this.push(target);
    this.f.memory("i64.store", Reg.RIP);
  }

  jumpRelative(cond?: Value): void {
    if (cond) {
      this.pushCondition(cond);
      emitNoteBranch(this.f);
      this.f.if();
      this.#follow(Entry.CHAIN_TAKEN);
      this.f.else();
      this.#follow(Entry.CHAIN_NEXT);
      this.f.end();
    } else this.#follow(Entry.CHAIN_TAKEN);
    this.#finished = true;
  }
  /** Returns the chained entry, or sets RIP and asks for a link. `burnt`: instructions this entry itself counts for. */
  #follow(chain: number, burnt = 1): void {
    const next = this.f.local("i32");
    this.#burn(burnt);
    this.f.i32(0).op("i32.ge_s").if();
    this.f.get(ENTRY).memory("i32.load", chain).tee(next).if();
    this.f.get(next);
    this.#exits.goTo(this.f);
    this.f.end().end();
    const target = chain === Entry.CHAIN_NEXT ? this.nextRip() : this.#jumpTarget();
    this.#setRip(target);
    // only targets in this page are linked: their mapping is this page's
    this.f.get(STATE);
    this.f.get(ENTRY).i32(chain).op("i32.add").i32(0);
    this.push(target);
    this.f.get(STATE).memory("i64.load", Reg.PAGE_VA).op("i64.sub").i64(4096).op("i64.lt_u").op("select");
    this.f.memory("i32.store", Engine.LINK);
    this.#exits.lookUp(this.f);
  }
  #jumpTarget(): Value {
    return this.#pageRelative(() => this.f.get(ENTRY).memory("i64.load", Entry.IMM));
  }
  /** The pseudo-instruction at the end of a block that simply goes on. */
  emitFallThrough(): void {
    this.#follow(Entry.CHAIN_TAKEN, 0);
  }
  /** The pseudo-instruction put over dropped blocks: look this address up again. */
  emitLookUpAgain(): void {
    const rip = this.#pageRelative(() => this.f.get(ENTRY).memory("i64.load16_u", Entry.OFFSET));
    this.#setRip(rip);
    emitForget(this.f, rip.local, ENTRY, this.f.local("i32"));
    this.#burn(0);
    this.f.op("drop");
    this.#exits.lookUp(this.f);
  }

  jump(target: Value, hint: "jump" | "call" | "return"): void {
    if (hint === "jump") this.#requireCanonical(target); // calls and returns have looked, before the stack changed
    if (hasTargets(this.#shape)) emitNoteTarget(this.f, () => this.push(target), this.imports);
    this.#setRip(target);
    this.leave();
    this.#finished = true;
  }
  #requireCanonical(target: Value): void {
    this.push(target);
    this.f.i64(16).op("i64.shl").i64(16).op("i64.shr_s");
    this.push(target);
    this.f.op("i64.ne").if();
    this.raise("#GP");
    this.f.end();
  }
  protected override deliverFault(): void {
    this.#hostCall("endInFault");
    this.#exits.lookUp(this.f);
  }
  raise(exception: ExceptionName, errorCode?: Value): void {
    const vector = Vector[exception.slice(1) as keyof typeof Vector];
    const hasCode = ["#GP", "#NP", "#SS", "#AC"].includes(exception);
    this.f.get(STATE).get(ENTRY).i32(vector);
    if (hasCode) this.push32(errorCode ?? this.const(0));
    else this.f.i32(-1);
    this.f.call(this.imports.function("raise")).op("unreachable");
  }
  /** Elements take fuel, so that interrupts need not wait; only the last one is the end of an instruction. */
  repeat(cond: Value): void {
    this.pushCondition(cond);
    this.f.if();
    this.f.get(STATE).get(STATE).memory("i32.load", Engine.REPEATED).i32(1).op("i32.add");
    this.f.memory("i32.store", Engine.REPEATED);
    this.f.get(STATE).get(STATE).memory("i32.load", Engine.FUEL).i32(1).op("i32.sub");
    const fuel = this.f.local("i32");
    this.f.tee(fuel).memory("i32.store", Engine.FUEL).get(fuel).i32(0).op("i32.ge_s").if();
    this.f.get(ENTRY);
    this.#exits.goTo(this.f);
    this.f.end();
    this.emitLookUpAgain();
    this.f.end();
  }
  endBlock(): void {
    this.#setRip(this.nextRip());
    this.leave();
  }
  /** Bank and jump cache tags are chosen here: RFLAGS.AC matters only to supervisors, and only under SMAP. */
  accessRightsChanged(): void {
    this.f.get(STATE);
    this.f.get(STATE).memory("i32.load", Engine.BANK_USER);
    this.f.get(STATE).memory("i32.load", Engine.BANK_SUPERVISOR_AC);
    this.f.get(STATE).memory("i32.load", Engine.BANK_SUPERVISOR);
    this.f.get(STATE).memory("i32.load", Reg.RFLAGS).i32(Rflags.AC).op("i32.and").op("select");
    this.f.get(STATE).memory("i32.load", Reg.CPL).i32(3).op("i32.eq").op("select");
    this.f.memory("i32.store", Engine.TLB);
    emitTagChoice(this.f);
  }
  call(name: CallName, ...args: Value[]): Value {
    if (name === "tsc") return this.timeStamp(() => this.f.get(ENTRY));
    this.f.get(STATE).get(ENTRY);
    for (const a of args) this.push(a);
    this.f.call(this.imports.function(`call:${name}`));
    return CALLS[name].result ? this.keep("i64") : this.const(0);
  }

  protected override enterBranch(): void {
    super.enterBranch();
    this.#saved.push({
      effective: this.#effective,
      linear: this.#linear,
      registers: new Map(this.#registerAddress),
    });
  }
  protected override leaveBranch(): void {
    super.leaveBranch();
    const saved = this.#saved.pop()!;
    this.#effective = saved.effective;
    this.#linear = saved.linear;
    this.#registerAddress = saved.registers;
  }
}
