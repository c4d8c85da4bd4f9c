/* The oracle: executes one decoded instruction by its semantic function over bigints, in the plainest way. For tests and fuzzing only; every
 * other implementation of Sem is compared with it, and it with the processor. Flags are computed bit by bit, not by the identities of flags.ts.
 * A v128 is an unsigned 128-bit bigint, other values are unsigned 64-bit bigints (not masked after add, sub, mul, shl, not).
 * Leaves out: paging (flat-memory.ts), interrupts, delivery of exceptions.
 */
import type { CallSpec } from "../../isa/calls.ts";
import { GuestFault, Vector } from "../../isa/cpu.ts";
import type { Decoded } from "../../isa/decoded.ts";
import { Reg, Rflags } from "../../isa/registers.ts";
import type {
  ExceptionName,
  FlagKind,
  FlagName,
  FpConversion,
  FpOp,
  Pair,
  Sem,
  Size,
  VectorOp,
} from "../../isa/sem.ts";
import { derivedFlags, isDerived, rotatedFlags } from "../../isa/sem/derived-flags.ts";
import { fpCompare, fpConvert, fpRound, fpScalar, raiseFp, truncating } from "../../isa/softfloat/index.ts";
import { isCanonical } from "./flat-memory.ts";
import type { OracleCpu } from "./oracle-cpu.ts";
import { VECTOR_LANES } from "./vector-lanes.ts";

const LANE_BITS = { i8x16: 8, i16x8: 16, i32x4: 32, i64x2: 64 } as const;
type Shape = keyof typeof LANE_BITS;
const WITHOUT_ERROR_CODE: ReadonlySet<ExceptionName> = new Set([
  "#DE",
  "#DB",
  "#BP",
  "#OF",
  "#BR",
  "#UD",
  "#NM",
  "#MF",
  "#XM",
]);
const CR0 = { EM: 4n, TS: 8n } as const;
const CR4_OSFXSR = 0x200n;
const RSP = 4;
const RBP = 5;
const GS = 5;

const u64 = (a: bigint): bigint => BigInt.asUintN(64, a);
const s64 = (a: bigint): bigint => BigInt.asIntN(64, a);
const bool = (c: boolean): bigint => (c ? 1n : 0n);

export class Oracle implements Sem<bigint> {
  readonly #cpu: OracleCpu;
  readonly #calls: Readonly<Record<string, CallSpec>>;
  #d!: Decoded;
  #again = false;
  /** Flags of the lanes so far, inside fpLanes. */
  #gathered: number | undefined;

  /** @param calls what s.call can reach: system/calls.ts CALLS */
  constructor(cpu: OracleCpu, calls: Readonly<Record<string, CallSpec>>) {
    this.#cpu = cpu;
    this.#calls = calls;
  }

  /** Runs the instruction (one iteration of a REP) at RIP; RIP then tells what is next. @throws GuestFault: RIP is unchanged then */
  step(d: Decoded): void {
    this.#d = d;
    this.#again = false;
    this.#gathered = undefined; // a fault may have left it
    this.#cpu.begin(d.length);
    this.#checkRow();
    d.row.semantics.run<bigint>(this);
    if (!this.#again) this.#cpu.end();
  }

  #checkRow(): void {
    const { row } = this.#d;
    const regs = this.#cpu.regs;
    const cr0 = regs.get64(Reg.CR0);
    if (row.unit === "sse" && (cr0 & CR0.EM || !(regs.get64(Reg.CR4) & CR4_OSFXSR))) throw new GuestFault(Vector.UD);
    if (row.unit === "mmx" && cr0 & CR0.EM) throw new GuestFault(Vector.UD);
    if ((row.unit === "sse" || row.unit === "mmx") && cr0 & CR0.TS) throw new GuestFault(Vector.NM);
    if (row.unit === "x87" && cr0 & (CR0.EM | CR0.TS)) throw new GuestFault(Vector.NM);
    if (row.privileged && regs.cpl !== 0) throw new GuestFault(Vector.GP, 0);
  }

  // ——— decoded facts ———
  get size(): Size {
    return this.#d.size;
  }
  get addressSize(): 4 | 8 {
    return this.#d.addressSize;
  }
  get rep(): 0 | 0xf2 | 0xf3 {
    return this.#d.rep;
  }
  get lock(): boolean {
    return this.#d.lock;
  }
  isMemory(i: number): boolean {
    return this.#d.operands[i]!.kind === "mem";
  }
  width(i: number): number {
    return this.#d.operands[i]!.width;
  }

  // ——— operands ———
  get(i: number): bigint {
    const op = this.#d.operands[i]!;
    const regs = this.#cpu.regs;
    switch (op.kind) {
      case "gpr":
        return op.highByte ? (regs.gpr(op.reg) >> 8n) & 0xffn : BigInt.asUintN(8 * op.width, regs.gpr(op.reg));
      case "xmm":
        return BigInt.asUintN(8 * op.width, this.xmm(op.reg));
      case "mm":
        return BigInt.asUintN(8 * op.width, regs.get64(Reg.ST + 16 * op.reg));
      case "mem":
        return this.#getMemory(i, op.width);
      case "imm":
      case "rel":
        return BigInt.asUintN(8 * op.width, this.#d.imm);
      case "seg":
        return BigInt(regs.segment(op.reg).selector);
      case "st":
        return BigInt(op.reg);
      default:
        throw new Error(`operand ${i} of ${this.#d.row.mnemonic} (${op.kind}) has no plain value`);
    }
  }
  #getMemory(i: number, width: number): bigint {
    const address = this.#operandAddress(i, width);
    if (this.#d.row.semantics.access[i] === "x") this.#cpu.probeWrite(address, width, "current", this.#notCanonical());
    return this.#read(address, width, this.#notCanonical());
  }
  getSigned(i: number): bigint {
    const op = this.#d.operands[i]!;
    if (op.kind === "imm" || op.kind === "rel") return u64(this.#d.imm);
    return u64(BigInt.asIntN(8 * op.width, this.get(i)));
  }
  put(i: number, v: bigint): void {
    const op = this.#d.operands[i]!;
    const regs = this.#cpu.regs;
    if (op.kind === "mem") return this.#write(this.#operandAddress(i, op.width), op.width, v, this.#notCanonical());
    if (op.kind === "xmm") {
      const keep = 8n * BigInt(op.width);
      return this.setXmm(op.reg, ((this.xmm(op.reg) >> keep) << keep) | BigInt.asUintN(8 * op.width, v));
    }
    if (op.kind === "mm") {
      regs.set64(Reg.ST + 16 * op.reg, v);
      return regs.set16(Reg.ST + 16 * op.reg + 8, 0xffff);
    }
    if (op.kind !== "gpr") throw new Error(`operand ${i} of ${this.#d.row.mnemonic} (${op.kind}) cannot be put`);
    if (op.highByte) return regs.setGpr(op.reg, (regs.gpr(op.reg) & ~0xff00n) | ((v & 0xffn) << 8n));
    this.setReg(op.reg, op.width as Size, v);
  }
  effectiveAddress(i: number): bigint {
    const d = this.#d;
    const regs = this.#cpu.regs;
    let address = d.row.operands[i]!.startsWith("O") ? d.imm : BigInt(d.disp);
    if (d.ripRelative) address += this.#cpu.nextRip();
    if (d.base >= 0) address += regs.gpr(d.base);
    if (d.index >= 0) address += regs.gpr(d.index) << BigInt(d.scale);
    return BigInt.asUintN(8 * d.addressSize, address);
  }
  linearAddress(i: number): bigint {
    const { segment } = this.#d;
    const base = segment < 0 ? 0n : this.#cpu.regs.get64(segment === GS ? Reg.GS_BASE : Reg.FS_BASE);
    return u64(this.effectiveAddress(i) + base);
  }
  #operandAddress(i: number, width: number): bigint {
    const address = this.linearAddress(i);
    if (this.#d.row.aligned && width === 16 && address & 15n) throw new GuestFault(Vector.GP, 0);
    return address;
  }
  /** Operands based on RSP or RBP are in the stack segment unless overridden. */
  #notCanonical(): number {
    const { base, segment } = this.#d;
    return segment < 0 && (base === RSP || base === RBP) ? Vector.SS : Vector.GP;
  }
  /** Up to 16 bytes; checked as a whole before any is accessed. */
  #read(address: bigint, width: number, notCanonical: number = Vector.GP): bigint {
    const at = u64(address);
    this.#cpu.memory.check(at, width, false, this.#cpu.regs.cpl === 3, notCanonical);
    return this.#cpu.memory.read(at, width);
  }
  #write(address: bigint, width: number, v: bigint, notCanonical: number = Vector.GP): void {
    const at = u64(address);
    this.#cpu.memory.check(at, width, true, this.#cpu.regs.cpl === 3, notCanonical);
    this.#cpu.memory.write(at, width, v);
  }

  // ——— registers and memory by number ———
  reg(n: number, size: Size): bigint {
    return BigInt.asUintN(8 * size, this.#cpu.regs.gpr(n));
  }
  setReg(n: number, size: Size, v: bigint): void {
    const { regs } = this.#cpu;
    if (size >= 4) return regs.setGpr(n, BigInt.asUintN(8 * size, v));
    const keep = BigInt(8 * size);
    regs.setGpr(n, ((regs.gpr(n) >> keep) << keep) | BigInt.asUintN(8 * size, v));
  }
  xmm(n: number): bigint {
    const { regs } = this.#cpu;
    return regs.get64(Reg.XMM + 16 * n) | (regs.get64(Reg.XMM + 16 * n + 8) << 64n);
  }
  setXmm(n: number, v: bigint): void {
    this.#cpu.regs.set64(Reg.XMM + 16 * n, v);
    this.#cpu.regs.set64(Reg.XMM + 16 * n + 8, v >> 64n);
  }
  load(address: bigint, size: Size): bigint {
    return this.#read(address, size);
  }
  store(address: bigint, size: Size, v: bigint): void {
    this.#write(address, size, v);
  }
  loadVector(address: bigint): bigint {
    return this.#read(address, 16);
  }
  storeVector(address: bigint, v: bigint): void {
    this.#write(address, 16, v);
  }
  probeWrite(address: bigint, size: number): void {
    this.#cpu.probeWrite(address, size);
  }
  exchangePair(address: bigint, expected: Pair<bigint>, replacement: Pair<bigint>): Pair<bigint> & { equal: bigint } {
    const [low, high] = [this.load(address, 8), this.load(address + 8n, 8)];
    const equal = low === expected.low && high === expected.high;
    if (equal) {
      this.store(address, 8, replacement.low);
      this.store(address + 8n, 8, replacement.high);
    }
    return { equal: equal ? 1n : 0n, low, high };
  }
  fence(): void {} // there is one vCPU
  field(offset: number, size: 4 | 8): bigint {
    return size === 8 ? this.#cpu.regs.get64(offset) : BigInt(this.#cpu.regs.get32(offset));
  }
  setField(offset: number, size: 4 | 8, v: bigint): void {
    if (size === 8) this.#cpu.regs.set64(offset, v);
    else this.#cpu.regs.set32(offset, Number(BigInt.asUintN(32, v)));
  }
  x87Word(n: bigint, at: 0 | 8): bigint {
    return this.#cpu.regs.get64(Reg.ST + 16 * Number(n) + at);
  }
  x87SetWord(n: bigint, at: 0 | 8, v: bigint): void {
    this.#cpu.regs.set64(Reg.ST + 16 * Number(n) + at, v);
  }

  // ——— integers ———
  const(n: bigint | number): bigint {
    return u64(BigInt(n));
  }
  add(a: bigint, b: bigint): bigint {
    return u64(a + b);
  }
  sub(a: bigint, b: bigint): bigint {
    return u64(a - b);
  }
  mul(a: bigint, b: bigint): bigint {
    return u64(a * b);
  }
  mulHighU(a: bigint, b: bigint): bigint {
    return (u64(a) * u64(b)) >> 64n;
  }
  mulHighS(a: bigint, b: bigint): bigint {
    return u64((s64(a) * s64(b)) >> 64n);
  }
  divU(a: bigint, b: bigint): bigint {
    return u64(a) / u64(b);
  }
  divS(a: bigint, b: bigint): bigint {
    return u64(s64(a) / s64(b));
  }
  remU(a: bigint, b: bigint): bigint {
    return u64(a) % u64(b);
  }
  remS(a: bigint, b: bigint): bigint {
    return u64(s64(a) % s64(b));
  }
  and(a: bigint, b: bigint): bigint {
    return a & b;
  }
  or(a: bigint, b: bigint): bigint {
    return a | b;
  }
  xor(a: bigint, b: bigint): bigint {
    return a ^ b;
  }
  not(a: bigint): bigint {
    return u64(~a);
  }
  shl(a: bigint, n: bigint): bigint {
    return u64(a << (n & 63n));
  }
  shrU(a: bigint, n: bigint): bigint {
    return u64(a) >> (n & 63n);
  }
  shrS(a: bigint, n: bigint): bigint {
    return u64(s64(a) >> (n & 63n));
  }
  rotl(a: bigint, n: bigint): bigint {
    const x = u64(a);
    return u64((x << (n & 63n)) | (x >> (64n - (n & 63n))));
  }
  clz(a: bigint): bigint {
    return BigInt(64 - (a === 0n ? 0 : u64(a).toString(2).length));
  }
  ctz(a: bigint): bigint {
    let n = 0n;
    while (n < 64n && !((a >> n) & 1n)) n++;
    return n;
  }
  popcnt(a: bigint): bigint {
    let n = 0n;
    for (let x = u64(a); x; x &= x - 1n) n++;
    return n;
  }
  zext(a: bigint, size: Size): bigint {
    return BigInt.asUintN(8 * size, a);
  }
  sext(a: bigint, size: Size): bigint {
    return u64(BigInt.asIntN(8 * size, a));
  }
  eq(a: bigint, b: bigint): bigint {
    return bool(a === b);
  }
  ne(a: bigint, b: bigint): bigint {
    return bool(a !== b);
  }
  ltU(a: bigint, b: bigint): bigint {
    return bool(u64(a) < u64(b));
  }
  ltS(a: bigint, b: bigint): bigint {
    return bool(s64(a) < s64(b));
  }
  isZero(a: bigint): bigint {
    return bool(a === 0n);
  }
  select(c: bigint, a: bigint, b: bigint): bigint {
    return c ? a : b;
  }
  when(c: bigint, then: () => void, otherwise?: () => void): void {
    if (c) then();
    else otherwise?.();
  }
  whenValue(c: bigint, then: () => bigint, otherwise: () => bigint): bigint {
    return c ? then() : otherwise();
  }

  // ——— flags ———
  flags(kind: FlagKind, a: bigint, b: bigint, result: bigint, size: Size = this.size): void {
    const derived = isDerived(kind) ? derivedFlags(this, kind, a, b, result, size) : undefined;
    if (derived) return this.flagsResult(result, derived.CF, derived.OF, 0n, size);
    const bits = BigInt(8 * size);
    const bit = (v: bigint, n: bigint): boolean => ((u64(v) >> n) & 1n) === 1n;
    const top = bits - 1n;
    const [sa, sb, sr] = [bit(a, top), bit(b, top), bit(result, top)];
    let [cf, of] = [false, false];
    if (kind === "add" || kind === "inc") {
      cf = (sa && sb) || ((sa || sb) && !sr);
      of = sa === sb && sr !== sa;
    } else if (kind !== "logic") {
      cf = (!sa && sb) || (sa === sb && sr);
      of = sa !== sb && sr !== sa;
    }
    const af = kind !== "logic" && bit(a, 4n) !== (bit(b, 4n) !== bit(result, 4n));
    if (kind === "inc" || kind === "dec") cf = this.flag("CF") === 1n;
    this.flagsResult(result, bool(cf), bool(of), bool(af), size);
  }
  flagsResult(result: bigint, cf: bigint, of: bigint, af: bigint = 0n, size: Size = this.size): void {
    const r = BigInt.asUintN(8 * size, result);
    const parity = this.popcnt(r & 0xffn) & 1n;
    this.setFlags({ CF: cf, OF: of, AF: af, ZF: bool(r === 0n), SF: r >> BigInt(8 * size - 1), PF: parity ^ 1n });
  }
  rotateFlags(left: boolean, result: bigint): void {
    this.setFlags(rotatedFlags(this, left, result, this.size));
  }
  setFlags(flags: Partial<Record<FlagName, bigint>>): void {
    let rflags = this.#cpu.regs.rflags;
    for (const [name, value] of Object.entries(flags) as [FlagName, bigint][])
      rflags = value & 1n ? rflags | Rflags[name] : rflags & ~Rflags[name];
    this.#cpu.regs.rflags = rflags;
  }
  flag(name: FlagName): bigint {
    return bool((this.#cpu.regs.rflags & Rflags[name]) !== 0);
  }
  cond(cc: number): bigint {
    const f = (name: FlagName): boolean => this.flag(name) === 1n;
    const less = f("SF") !== f("OF");
    const positive = [f("OF"), f("CF"), f("ZF"), f("CF") || f("ZF"), f("SF"), f("PF"), less, less || f("ZF")][cc >> 1]!;
    return bool(positive !== ((cc & 1) === 1));
  }
  readFlags(): bigint {
    return BigInt(this.#cpu.regs.rflags & Rflags.OSZAPC);
  }
  writeFlags(v: bigint): void {
    this.#cpu.regs.rflags = (this.#cpu.regs.rflags & ~Rflags.OSZAPC) | (Number(v & 0xffffn) & Rflags.OSZAPC);
  }

  // ——— control flow ———
  nextRip(): bigint {
    return this.#cpu.nextRip();
  }
  jumpRelative(cond: bigint = 1n): void {
    if (cond) this.jump(this.#cpu.nextRip() + this.#d.imm);
  }
  jump(target: bigint): void {
    if (!isCanonical(u64(target))) throw new GuestFault(Vector.GP, 0);
    this.#cpu.setRip(target);
  }
  raise(exception: ExceptionName, errorCode: bigint = 0n): void {
    const vector = Vector[exception.slice(1) as keyof typeof Vector];
    throw new GuestFault(vector, WITHOUT_ERROR_CODE.has(exception) ? undefined : Number(errorCode));
  }
  repeat(cond: bigint): void {
    this.#again = cond !== 0n;
  }
  endBlock(): void {} // there are no blocks here
  accessRightsChanged(): void {
    this.#cpu.modeChanged();
  }
  call(name: string, ...args: bigint[]): bigint {
    const spec = this.#calls[name];
    if (!spec) throw new Error(`no call ${name}`);
    if (args.length !== spec.args) throw new Error(`call ${name} takes ${spec.args} arguments`);
    return u64(spec.run(this.#cpu, ...args.map(u64)) ?? 0n);
  }

  // ——— vectors and floating point ———
  vector(op: VectorOp, ...args: bigint[]): bigint {
    return VECTOR_LANES[op](...args);
  }
  vectorConst(lo: bigint, hi: bigint): bigint {
    return u64(lo) | (u64(hi) << 64n);
  }
  shuffle(a: bigint, b: bigint, lanes: readonly number[]): bigint {
    const both = a | (b << 128n);
    return lanes.reduce((r, lane, i) => r | (((both >> BigInt(8 * lane)) & 0xffn) << BigInt(8 * i)), 0n);
  }
  lane(shape: Shape, v: bigint, lane: number): bigint {
    return BigInt.asUintN(LANE_BITS[shape], v >> BigInt(lane * LANE_BITS[shape]));
  }
  withLane(shape: Shape, v: bigint, lane: number, x: bigint): bigint {
    const at = BigInt(lane * LANE_BITS[shape]);
    return v ^ ((this.lane(shape, v, lane) ^ BigInt.asUintN(LANE_BITS[shape], x)) << at);
  }
  get #mxcsr(): number {
    return this.#cpu.regs.get32(Reg.MXCSR);
  }
  #raise(flags: number): void {
    if (this.#gathered === undefined) raiseFp(this.#cpu, flags);
    else this.#gathered |= flags;
  }
  fpLanes<T>(run: () => T): T {
    this.#gathered = 0;
    const result = run();
    const flags = this.#gathered;
    this.#gathered = undefined;
    raiseFp(this.#cpu, flags);
    return result;
  }
  fp(op: FpOp, width: 4 | 8, a: bigint, b: bigint): bigint {
    const r = fpScalar(op, width, BigInt.asUintN(8 * width, a), BigInt.asUintN(8 * width, b), this.#mxcsr);
    this.#raise(r.flags);
    return r.bits;
  }
  fpPacked(op: FpOp, width: 4 | 8, a: bigint, b: bigint): bigint {
    const shape = width === 4 ? "i32x4" : "i64x2";
    let result = 0n;
    let flags = 0;
    for (let lane = 0; lane < 16 / width; lane++) {
      const r = fpScalar(op, width, this.lane(shape, a, lane), this.lane(shape, b, lane), this.#mxcsr);
      result = this.withLane(shape, result, lane, r.bits);
      flags |= r.flags;
    }
    this.#raise(flags);
    return result;
  }
  fpConvert(kind: FpConversion, a: bigint, rounding: "mxcsr" | "zero"): bigint {
    const r = fpConvert(kind, u64(a), rounding === "zero" ? truncating(this.#mxcsr) : this.#mxcsr);
    this.#raise(r.flags);
    return r.bits;
  }
  fpRound(width: 4 | 8, a: bigint, control: bigint): bigint {
    const r = fpRound(width, BigInt.asUintN(8 * width, a), Number(control & 15n), this.#mxcsr);
    this.#raise(r.flags);
    return r.bits;
  }
  fpCompare(width: 4 | 8, a: bigint, b: bigint, signalling: bigint): bigint {
    const r = fpCompare(
      width,
      BigInt.asUintN(8 * width, a),
      BigInt.asUintN(8 * width, b),
      signalling !== 0n,
      this.#mxcsr,
    );
    this.#raise(r.flags);
    return BigInt(r.order);
  }
}
