/* x87 instructions: memory is read and written here, the work is done by calls of isa/x87, which find the form of the instruction and its
 * operand in the mailbox (x87/unit.ts). Also FXSAVE and XSAVE.
 * @source SDM vol. 2 under each mnemonic; vol. 1 §8.6 (waiting instructions), §8.7 */
import { xrstorOr, xsaveOr } from "./extended-state.ts";
import { Reg } from "../registers.ts";
import { semantics, type Sem, type Semantics } from "../sem.ts";
import { Arg, Source } from "../x87/unit.ts";
import {
  compareToFlags,
  FLOAT32,
  FLOAT64,
  fromFloat,
  fromInteger,
  storeTop,
  toFloat,
  toInteger,
} from "./x87-convert.ts";
import {
  BIAS,
  changeSign,
  combineMemory,
  combineRegisters,
  copyTop,
  exchangeTop,
  type Extended,
  type Form,
  popToMemory,
  pushRegister,
  pushValue,
  INTEGER_BIT,
  type Operation,
} from "./x87-fast.ts";

/** FSW is the upper half of the word at FCW. */
const FSW_SHIFT = 16;
const ES = 0x80 << FSW_SHIFT;

export type Format = Exclude<keyof typeof Source, "REGISTER" | "ZERO">;
const isTenBytes = (format: Format): boolean => format === "FLOAT80" || format === "BCD";
const sourceOf = (format: keyof typeof Source): number => Source[format] << Arg.SOURCE_SHIFT;

/** A waiting instruction first looks for an exception that an earlier one left. */
export function checkPending<V>(s: Sem<V>): void {
  s.when(s.and(s.field(Reg.FCW, 4), s.const(ES)), () => s.raise("#MF"));
}

function callWith<V>(s: Sem<V>, name: string, arg: V): void {
  s.setField(Reg.X87_ARG, 4, arg);
  s.call(name);
}

/** Memory operand 0 into the mailbox. */
function takeMemory<V>(s: Sem<V>, format: Format): void {
  if (!isTenBytes(format)) return s.setField(Reg.X87_VALUE, 8, s.get(0));
  const address = s.linearAddress(0);
  const low = s.load(address, 8);
  s.setField(Reg.X87_HIGH, 4, s.load(s.add(address, s.const(8)), 2));
  s.setField(Reg.X87_VALUE, 8, low);
}

/** An instruction without operands, or with implied ones. */
export const x87Plain = (name: string, arg = 0): Semantics =>
  semantics("--", (s) => {
    checkPending(s);
    callWith(s, name, s.const(arg));
  });

/** FNINIT, FNCLEX: no look for pending exceptions. */
export const x87Control = (name: string): Semantics =>
  semantics("", (s) => {
    s.call(name);
  });

/** An instruction with a memory operand: FLD, FADD, FCOM and their like. */
export const x87FromMemory = (name: string, format: Format, arg = 0): Semantics =>
  semantics("r", (s) => {
    checkPending(s);
    takeMemory(s, format);
    callWith(s, name, s.const(arg | sourceOf(format)));
  });

/** An instruction with ST(i), which is operand `at`. */
export const x87WithRegister = (name: string, at: number, arg = 0): Semantics =>
  semantics("--", (s) => {
    checkPending(s);
    callWith(s, name, s.or(s.get(at), s.const(arg)));
  });

/** FLD m80. */
export const FLD80 = semantics("r", (s) => {
  checkPending(s);
  const address = s.linearAddress(0);
  const low = s.load(address, 8);
  const high = s.load(s.add(address, s.const(8)), 2);
  pushValue(s, { low, high, ok: s.const(1) }, () => {
    s.setField(Reg.X87_VALUE, 8, low);
    s.setField(Reg.X87_HIGH, 4, high);
    callWith(s, "x87Load", s.const(sourceOf("FLOAT80")));
  });
});

const FLOATS = { FLOAT32, FLOAT64 } as const;
const INTEGERS = { INT16: 2, INT32: 4, INT64: 8 } as const;
type Number = keyof typeof FLOATS | keyof typeof INTEGERS;
const isFloat = (format: Number): format is keyof typeof FLOATS => format in FLOATS;

function fromMemory<V>(s: Sem<V>, format: Number): { bits: V; value: Extended<V> } {
  const bits = isFloat(format) ? s.get(0) : s.getSigned(0);
  return { bits, value: isFloat(format) ? fromFloat(s, bits, FLOATS[format]) : fromInteger(s, bits) };
}

/** FLD m32, m64; FILD. */
export const x87Load = (format: Number): Semantics =>
  semantics("r", (s) => {
    checkPending(s);
    const { bits, value } = fromMemory(s, format);
    pushValue(s, value, () => {
      s.setField(Reg.X87_VALUE, 8, bits);
      callWith(s, "x87Load", s.const(sourceOf(format)));
    });
  });

/** FLD1, FLDZ. @param index of the constant in the opcode's order */
const constant = (index: number, low: bigint, high: number): Semantics =>
  semantics("", (s) => {
    checkPending(s);
    pushValue(s, { low: s.const(low), high: s.const(high), ok: s.const(1) }, () =>
      callWith(s, "x87LoadConstant", s.const(index)),
    );
  });
export const FLD1 = constant(0, INTEGER_BIT, BIAS);
export const FLDZ = constant(6, 0n, 0);

const fast = (f: <V>(s: Sem<V>, i: V, slow: () => void) => void, name: string, arg = 0): Semantics =>
  semantics("--", (s) => {
    checkPending(s);
    const i = s.get(0);
    f(s, i, () => callWith(s, name, s.or(i, s.const(arg))));
  });
export const FLD_STI = fast(pushRegister, "x87Load");
export const FXCH = fast(exchangeTop, "x87Exchange");
export const FST_STI = fast((s, i, slow) => copyTop(s, i, false, slow), "x87StoreRegister");
export const FSTP_STI = fast((s, i, slow) => copyTop(s, i, true, slow), "x87StoreRegister", Arg.POP);

const sign = (change: "negate" | "clear", name: string): Semantics =>
  semantics("--", (s) => {
    checkPending(s);
    changeSign(s, change, () => callWith(s, name, s.const(0)));
  });
export const FCHS = sign("negate", "x87ChangeSign");
export const FABS = sign("clear", "x87Abs");

const FAST_OPERATIONS: Readonly<Record<string, Operation>> = {
  x87Add: "add",
  x87Subtract: "subtract",
  x87Multiply: "multiply",
  x87Divide: "divide",
};
const formOf = (arg: number): Form => ({
  reversed: (arg & Arg.REVERSED) !== 0,
  toSti: (arg & Arg.TO_STI) !== 0,
  pop: (arg & Arg.POP) !== 0,
});

/** Arithmetic and comparison with ST(i), which is operand `at`. */
export const x87Arithmetic = (name: string, at: number, arg: number): Semantics => {
  const operation = FAST_OPERATIONS[name];
  if (operation === undefined) return x87WithRegister(name, at, arg);
  return semantics("--", (s) => {
    checkPending(s);
    const i = s.get(at);
    combineRegisters(s, operation, i, formOf(arg), () => callWith(s, name, s.or(i, s.const(arg))));
  });
};
/** Arithmetic and comparison with memory. */
export const x87ArithmeticMemory = (name: string, format: Number, arg: number): Semantics => {
  const operation = FAST_OPERATIONS[name];
  if (operation === undefined) return x87FromMemory(name, format, arg);
  return semantics("r", (s) => {
    checkPending(s);
    const { bits, value } = fromMemory(s, format);
    combineMemory(s, operation, value, formOf(arg), () => {
      s.setField(Reg.X87_VALUE, 8, bits);
      callWith(s, name, s.const(arg | sourceOf(format)));
    });
  });
};

/** FSTP m80. */
export const FSTP80 = semantics("w", (s) => {
  checkPending(s);
  const address = s.linearAddress(0);
  popToMemory(s, address, () => storeByCall(s, "FLOAT80", Arg.POP, address));
});

/** FST, FSTP of m32 and m64, FIST, FISTP, FISTTP. */
export const x87StoreNumber = (format: Number, arg: number): Semantics =>
  semantics("w", (s) => {
    checkPending(s);
    const convert = isFloat(format)
      ? toFloat(s, FLOATS[format])
      : toInteger(s, INTEGERS[format], (arg & Arg.VARIANT) !== 0);
    storeTop(s, convert, {
      pop: (arg & Arg.POP) !== 0,
      store: (result) => s.put(0, result),
      slow: () => storeByCall(s, format, arg, s.linearAddress(0)),
    });
  });

/** FST, FSTP, FIST, FISTP, FISTTP, FBSTP to memory. The call checks that it can be written, if there is a result, before it pops. */
export const x87Store = (format: Format, arg = 0): Semantics =>
  semantics("w", (s) => {
    checkPending(s);
    storeByCall(s, format, arg, s.linearAddress(0));
  });
function storeByCall<V>(s: Sem<V>, format: Format, arg: number, address: V): void {
  s.setField(Reg.X87_VALUE, 8, address);
  callWith(s, "x87Store", s.const(arg | sourceOf(format)));
  s.when(s.field(Reg.X87_DONE, 4), () => {
    const value = s.field(Reg.X87_VALUE, 8);
    if (isTenBytes(format)) {
      s.store(address, 8, value);
      s.store(s.add(address, s.const(8)), 2, s.field(Reg.X87_HIGH, 4));
    } else s.put(0, value);
  });
}

/** FCOMI, FCOMIP, FUCOMI, FUCOMIP: ZF PF CF tell, OF SF AF become 0. */
export const x87CompareToFlags = (arg: number): Semantics =>
  semantics("--", (s) => {
    checkPending(s);
    const i = s.get(1);
    compareToFlags(s, i, (arg & Arg.POP) !== 0, () => {
      callWith(s, "x87Compare", s.or(i, s.const(arg | Arg.TO_FLAGS)));
      s.writeFlags(s.field(Reg.X87_VALUE, 8));
    });
  });

/** FTST. */
export const FTST = x87Plain("x87Compare", sourceOf("ZERO"));

const VARIANT_SHIFT = Math.log2(Arg.VARIANT);
/** FCMOVcc ST(0), ST(i). @param cc condition code of the integer instructions */
export const x87ConditionalMove = (cc: number): Semantics =>
  semantics("--", (s) => {
    checkPending(s);
    callWith(s, "x87ConditionalMove", s.or(s.get(1), s.shl(s.cond(cc), s.const(VARIANT_SHIFT))));
  });

export const FNOP = semantics("", checkPending);

export const FLDCW = semantics("r", (s) => {
  checkPending(s);
  s.setField(Reg.X87_VALUE, 8, s.get(0));
  s.call("x87LoadControl");
});
export const FNSTCW = semantics("w", (s) => s.put(0, s.zext(s.field(Reg.FCW, 4), 2)));
export const FNSTSW = semantics("w", (s) => s.put(0, s.shrU(s.field(Reg.FCW, 4), s.const(FSW_SHIFT))));

/** FNSTENV, FLDENV, FNSAVE, FRSTOR: 14-byte environment with 66h. */
const area = (name: string, waits: boolean): Semantics =>
  semantics("-", (s) => {
    if (waits) checkPending(s);
    s.setField(Reg.X87_VALUE, 8, s.linearAddress(0));
    callWith(s, name, s.const(s.size === 2 ? Arg.VARIANT : 0));
  });
export const FNSTENV = area("x87StoreEnvironment", false);
export const FLDENV = area("x87LoadEnvironment", true);
export const FNSAVE = area("x87Save", false);
export const FRSTOR = area("x87Restore", true);

/** FXSAVE, FXRSTOR, XSAVE, XRSTOR and their 64-bit forms. The features that are asked for are in EDX:EAX; there are none in EDX. */
export const extendedArea = (name: "fxsave" | "fxrstor" | "xsave" | "xrstor"): Semantics => {
  const call = areaCall(name);
  return name === "xsave" ? xsaveOr(call) : name === "xrstor" ? xrstorOr(call) : call;
};
const areaCall = (name: string): Semantics =>
  semantics("-", (s) => {
    s.setField(Reg.X87_VALUE, 8, s.linearAddress(0));
    s.setField(Reg.X87_DONE, 4, s.reg(0, 4));
    callWith(s, name, s.const(s.size === 8 ? Arg.VARIANT : 0));
  });
