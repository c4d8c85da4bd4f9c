/* Sem<V>: what an instruction's semantic function may say. One description serves every implementation: the wasm
 * emitter (interpreter handlers with operands read from a decoded entry; translator with operands folded) and the
 * BigInt oracle. V is a value inside the implementation (a wasm local; a bigint).
 *
 * Rules (docs/design.md "Instructions"):
 *  1. TypeScript `if` only on decoded facts (size, isMemory, row data); on guest values: select, when.
 *  2. Everything that may fault comes before the first put/setReg/flags/store (precise faults).
 *  3. LOCK, privilege, CPUID feature, #UD forms, undefined flags are columns of the row, not code here.
 *  4. Rare, stateful work is s.call("name").
 *
 * Integer values are 64-bit. get() gives them zero-extended from the operand's width; put() stores the low `width`
 * bits (a 32-bit register write zeroes the upper half, 8- and 16-bit writes keep the rest). Results of add, sub, …
 * are full 64-bit and are NOT masked; use zext/sext where the upper bits would matter.
 * Booleans (from eq, ltU, flag, cond…) are values too: 0 or 1.
 */
import type { CallName } from "./calls.ts";

export type Size = 1 | 2 | 4 | 8;
/** Condition codes in encoding order. @source SDM vol. 2 App. B.1.4 */
export const CONDITIONS = [
  "o",
  "no",
  "b",
  "nb",
  "z",
  "nz",
  "be",
  "nbe",
  "s",
  "ns",
  "p",
  "np",
  "l",
  "nl",
  "le",
  "nle",
] as const;
export type FlagName = "CF" | "PF" | "AF" | "ZF" | "SF" | "OF";
/** How flags come from an operation: all take (a, b, result), unmasked results are fine.
 *  "add"/"sub" also serve ADC/SBB (carry-in is in the result). "inc"/"dec" keep CF. "logic": CF=OF=AF=0.
 *  Shifts: b is the masked count, not 0. "imul": operands sign-extended, result the low half. */
export type FlagKind = "add" | "sub" | "logic" | "inc" | "dec" | DerivedKind;
/** Those whose CF and OF are worth computing only when they are read (derived-flags.ts). */
export type DerivedKind = "shl" | "shr" | "sar" | "imul";

/** v128 operations, by lane shape; names follow the wasm SIMD vocabulary because it is the clearest one.
 *  Shapes: i8x16 i16x8 i32x4 i64x2 f32x4 f64x2. Lists are in vector.ts. */
export type { VectorOp } from "./vector.ts";
import type { VectorOp } from "./vector.ts";

export type FpOp = "add" | "sub" | "mul" | "div" | "sqrt" | "min" | "max";
/** Rounding for conversions and ROUNDxx: "mxcsr" is the mode in MXCSR.RC. */
export type Rounding = "mxcsr" | "nearest" | "down" | "up" | "zero";

/** Scalar conversions; integers are signed. Order is that of FP_CONVERSIONS (softfloat). */
export type FpConversion =
  | "i32→f32"
  | "i32→f64"
  | "i64→f32"
  | "i64→f64"
  | "f32→f64"
  | "f64→f32"
  | "f32→i32"
  | "f32→i64"
  | "f64→i32"
  | "f64→i64";

/** 16 bytes as two 64-bit halves. */
export interface Pair<V> {
  readonly low: V;
  readonly high: V;
}

export interface Sem<V> {
  // ——— decoded facts (plain TypeScript values; safe to branch on) ———
  /** Operand size in bytes (after REX.W and 66h). */
  readonly size: Size;
  /** Address size in bytes: 8, or 4 with 67h. */
  readonly addressSize: 4 | 8;
  /** REP prefix: 0 none, 0xF3 REP/REPE, 0xF2 REPNE. */
  readonly rep: 0 | 0xf2 | 0xf3;
  readonly lock: boolean;
  /** Is operand i a memory operand? */
  isMemory(i: number): boolean;
  /** Width of operand i in bytes: 1 2 4 8 10 16. */
  width(i: number): number;

  // ——— operands ———
  /** Operand i's value: integer (zero-extended; MMX registers too) or, for 16-byte vector operands, a v128.
   *  Memory is read once; a read-modify-write operand checks write permission here. */
  get(i: number): V;
  /** As get, but the value sign-extended to 64 bits (immediates are sign-extended as the operand code says). */
  getSigned(i: number): V;
  /** Writes operand i. Of a LOCKed instruction's memory operand this is the compare-and-swap that may start it over: before anything else changes. */
  put(i: number, v: V): void;
  /** Effective address of memory operand i WITHOUT the segment base (LEA), truncated to addressSize. */
  effectiveAddress(i: number): V;
  /** Linear address of memory operand i (segment base included), for load/store/calls. */
  linearAddress(i: number): V;

  // ——— registers and memory by number ———
  /** GPR n (0 = RAX … 15), zero-extended from size. No high-byte registers here. */
  reg(n: number, size: Size): V;
  setReg(n: number, size: Size, v: V): void;
  xmm(n: number): V;
  setXmm(n: number, v: V): void;
  /** Memory at a linear address, with the current privilege. May fault. */
  load(address: V, size: Size): V;
  store(address: V, size: Size, v: V): void;
  loadVector(address: V): V;
  storeVector(address: V, v: V): void;
  /** Checks that [address, +size) can be written, faults if not; so that a later store cannot fault. */
  probeWrite(address: V, size: number): void;
  /** Compares the 16 bytes at an address (aligned, and probed for writing) with two halves and stores two others if they are equal; in a LOCKed instruction
   *  in one step, as docs/vcpus.md says. @returns equal: 0 or 1; low, high: what was there */
  exchangePair(address: V, expected: Pair<V>, replacement: Pair<V>): Pair<V> & { equal: V };
  /** MFENCE: what was stored before is seen by all vCPUs before anything is loaded after. */
  fence(): void;
  /** Any 64- or 32-bit field of the register file (registers.ts). */
  field(offset: number, size: 4 | 8): V;
  setField(offset: number, size: 4 | 8, v: V): void;
  /** Physical x87 register n (0–7): its significand (at 0), or sign and exponent (at 8). */
  x87Word(n: V, at: 0 | 8): V;
  x87SetWord(n: V, at: 0 | 8, v: V): void;

  // ——— integers ———
  const(n: bigint | number): V;
  add(a: V, b: V): V;
  sub(a: V, b: V): V;
  /** Low 64 bits of the product. */
  mul(a: V, b: V): V;
  /** High 64 bits of the 128-bit product. */
  mulHighU(a: V, b: V): V;
  mulHighS(a: V, b: V): V;
  /** 64-bit division; the caller has excluded a zero divisor and overflow. */
  divU(a: V, b: V): V;
  divS(a: V, b: V): V;
  remU(a: V, b: V): V;
  remS(a: V, b: V): V;
  and(a: V, b: V): V;
  or(a: V, b: V): V;
  xor(a: V, b: V): V;
  not(a: V): V;
  /** Shifts and rotates of 64-bit values; the count is taken modulo 64. */
  shl(a: V, n: V): V;
  shrU(a: V, n: V): V;
  shrS(a: V, n: V): V;
  rotl(a: V, n: V): V;
  clz(a: V): V;
  ctz(a: V): V;
  popcnt(a: V): V;
  zext(a: V, size: Size): V;
  sext(a: V, size: Size): V;
  eq(a: V, b: V): V;
  ne(a: V, b: V): V;
  ltU(a: V, b: V): V;
  ltS(a: V, b: V): V;
  isZero(a: V): V;
  /** c ? a : b, both evaluated; integers or vectors. */
  select(c: V, a: V, b: V): V;
  /** Runs `then` (else `otherwise`) only if c is nonzero; may hold faults, puts and flags. No values come out:
   *  use whenValue for that. */
  when(c: V, then: () => void, otherwise?: () => void): void;
  /** Value of one of two branches, each evaluated only if taken. */
  whenValue(c: V, then: () => V, otherwise: () => V): V;

  // ——— flags ———
  /** Sets all six arithmetic flags of an operation of width `size` (default: this.size). */
  flags(kind: FlagKind, a: V, b: V, result: V, size?: Size): void;
  /** ZF SF PF from result (width size); CF and OF as given; AF given or 0. */
  flagsResult(result: V, cf: V, of: V, af?: V, size?: Size): void;
  /** CF and OF of a rotation with this result (of width this.size), keeps the others. */
  rotateFlags(left: boolean, result: V): void;
  /** Writes only the named flags (values 0 or 1), keeps the others. */
  setFlags(flags: Partial<Record<FlagName, V>>): void;
  flag(name: FlagName): V;
  /** Condition code cc (0–15, SDM order) as 0 or 1. */
  cond(cc: number): V;
  /** OSZAPC as RFLAGS bits, other bits zero. */
  readFlags(): V;
  /** Sets OSZAPC from RFLAGS bits. */
  writeFlags(v: V): void;

  // ——— control flow ———
  /** Linear address of the next instruction. */
  nextRip(): V;
  /** Goes to nextRip + relative operand 0 if cond (always, if absent). Ends the instruction: last statement. */
  jumpRelative(cond?: V): void;
  /** Goes to an address. "jump" checks that it is canonical (#GP); "call" and "return" are hints for prediction and leave that to the semantics,
   *  which checks before the stack pointer changes. */
  jump(target: V, hint: "jump" | "call" | "return"): void;
  /** Raises an exception: "#DE", "#UD", "#GP" (error code 0 unless given), … Nothing after it runs. */
  raise(exception: ExceptionName, errorCode?: V): void;
  /** One step of a REP string instruction has been done (registers updated): run the instruction again from its
   *  start (after looking for interrupts) if cond; else go on to the next instruction. */
  repeat(cond: V): void;
  /** Decoding or running on must not continue in this block (privilege, interrupts, mode changed): looks at RIP, events and translations anew
   *  after this instruction. Last statement on its path. */
  endBlock(): void;
  /** CPL or RFLAGS.AC was changed by setField: memory is accessed with the new rights from here on. */
  accessRightsChanged(): void;
  /** Rare, stateful work in plain TypeScript: see calls.ts for names, arguments and results. A call may fault. */
  call(name: CallName, ...args: V[]): V;

  // ——— vectors and floating point ———
  vector(op: VectorOp, ...args: V[]): V;
  vectorConst(lo: bigint, hi: bigint): V;
  /** Shuffles by 16 constant byte indices 0–31 (a then b). */
  shuffle(a: V, b: V, lanes: readonly number[]): V;
  /** One lane, zero-extended; withLane takes the low bits of x. */
  lane(shape: "i8x16" | "i16x8" | "i32x4" | "i64x2", v: V, lane: number): V;
  withLane(shape: "i8x16" | "i16x8" | "i32x4" | "i64x2", v: V, lane: number, x: V): V;
  /** Scalar SSE arithmetic on bit patterns (width 4 or 8), exact: NaNs, MXCSR rounding, DAZ/FTZ, sticky flags,
   *  #XM when unmasked. For sqrt b is ignored. */
  fp(op: FpOp, width: 4 | 8, a: V, b: V): V;
  /** Packed SSE arithmetic on v128, same exactness. */
  fpPacked(op: FpOp, width: 4 | 8, a: V, b: V): V;
  /** Runs scalar fp primitives of several lanes as one packed operation: flags are gathered, and become sticky or raise #XM
   *  when `run` has ended (an unmasked IE, DE or ZE of any lane hides OE, UE, PE of all: softfloat raiseFp). */
  fpLanes<T>(run: () => T): T;
  /** Converts one value (upper bits of `a` beyond the source's width are ignored), result zero-extended from the
   *  destination's width. NaNs, DAZ/FTZ, sticky flags and #XM as the SSE conversions do; float → integer out of range
   *  gives the integer indefinite (1 << width − 1) and IE. Reference and slow path: softfloat fpConvert. */
  fpConvert(kind: FpConversion, a: V, rounding: "mxcsr" | "zero"): V;
  /** Rounds to an integral value. `control` is ROUNDSD's immediate: bits 0–1 mode, bit 2 use MXCSR.RC, bit 3 no PE; bits
   *  above 3 are ignored. Reference and slow path: softfloat fpRound. */
  fpRound(width: 4 | 8, a: V, control: V): V;
  /** 0 a < b, 1 equal, 2 a > b, 3 unordered. Sticky flags and #XM: DE; IE for signalling NaNs, and if `signalling` is
   *  nonzero for quiet ones too. Fast path: neither NaN nor denormal, then no flag changes.
   *  Reference and slow path: softfloat fpCompare. */
  fpCompare(width: 4 | 8, a: V, b: V, signalling: V): V;
}

export type ExceptionName =
  | "#DE"
  | "#DB"
  | "#BP"
  | "#OF"
  | "#BR"
  | "#UD"
  | "#NM"
  | "#NP"
  | "#SS"
  | "#GP"
  | "#MF"
  | "#AC"
  | "#XM";

/** A semantic function with its operands' access: per operand r (read), w (write), x (read, then write). */
export interface Semantics {
  readonly access: string;
  readonly run: <V>(s: Sem<V>) => void;
}

/** @param access one letter an operand, e.g. "xr" for ADD r/m, r */
export function semantics(access: string, run: <V>(s: Sem<V>) => void): Semantics {
  return { access, run };
}
