/* x87 escapes D8–DF, and FXSAVE and XSAVE in 0F AE. Encodings that the manual leaves empty (aliases of FXCH, FCOM, FSTP; 8087 and
 * 80287 control) are #UD.
 * @source SDM vol. 2D §A.5, Tables; their register forms of DC and DE name FSUB and FSUBR, FDIV and FDIVR the other way round */
import { rowsOf, type Row, type RowOptions } from "../row.ts";
import type { Semantics } from "../sem.ts";
import {
  extendedArea, FABS, FCHS, FLD1, FLD80, FLD_STI, FLDCW, FLDENV, FLDZ, FNOP, FNSAVE, FNSTCW, FNSTENV, FNSTSW, FRSTOR, FSTP80, FSTP_STI, FST_STI, FTST, FXCH, x87Arithmetic, x87ArithmeticMemory, x87CompareToFlags, x87ConditionalMove, x87Control,
  x87FromMemory, x87Load, x87Plain, x87Store, x87StoreNumber, x87WithRegister, type Format,
} from "../sem/x87.ts";
import { Arg } from "../x87/unit.ts";

const escape = rowsOf(0);
const extended = rowsOf(1);

const WIDTH_CODE: Record<Format, string> = { FLOAT32: "Md", FLOAT64: "Mq", FLOAT80: "Mt", INT16: "Mw", INT32: "Md", INT64: "Mq", BCD: "Mt" };
const TO_ST0 = ["ST0", "STi"];
const TO_STI = ["STi", "ST0"];

/** ModRM names memory. */
const memory = (opcode: number, ext: number, name: string, sem: Semantics, operand: string): Row =>
  escape(opcode, name, sem, [operand], { unit: "x87", ext, mod: "mem" });
/** ModRM names ST(i). */
const register = (opcode: number, ext: number, name: string, sem: Semantics, operands: readonly string[], options: RowOptions = {}): Row =>
  escape(opcode, name, sem, operands, { unit: "x87", ext, mod: "reg", ...options });
/** All of ModRM is opcode. */
const whole = (opcode: number, modrm: number, name: string, sem: Semantics, options: RowOptions = {}): Row =>
  escape(opcode, name, sem, [], { unit: "x87", ext: (modrm >> 3) & 7, rm: modrm & 7, mod: "reg", ...options });

const load = (opcode: number, ext: number, name: string, format: Format): Row =>
  memory(opcode, ext, name, format === "BCD" || format === "FLOAT80" ? x87FromMemory("x87Load", format) : x87Load(format), WIDTH_CODE[format]);
const store = (opcode: number, ext: number, name: string, format: Format, arg = 0): Row =>
  memory(opcode, ext, name, format === "BCD" || format === "FLOAT80" ? x87Store(format, arg) : x87StoreNumber(format, arg), WIDTH_CODE[format]);

/** By ModRM.reg: name, call and form, as in all escapes with arithmetic. */
const ARITHMETIC: readonly (readonly [string, string, number])[] = [
  ["add", "x87Add", 0], ["mul", "x87Multiply", 0], ["com", "x87Compare", 0], ["comp", "x87Compare", Arg.POP],
  ["sub", "x87Subtract", 0], ["subr", "x87Subtract", Arg.REVERSED], ["div", "x87Divide", 0], ["divr", "x87Divide", Arg.REVERSED],
];
const arithmeticMemory = (opcode: number, prefix: "f" | "fi", format: Exclude<Format, "FLOAT80" | "BCD">): Row[] =>
  ARITHMETIC.map(([name, call, arg], ext) => memory(opcode, ext, prefix + name, x87ArithmeticMemory(call, format, arg), WIDTH_CODE[format]));

/** With the result in ST(i): the same operation has the name of its operands' exchange. */
const REVERSED_NAME: Record<string, string> = { sub: "subr", subr: "sub", div: "divr", divr: "div" };
const arithmeticToSti = (opcode: number, suffix: "" | "p", arg: number): Row[] =>
  [0, 1, 4, 5, 6, 7].map((ext) => {
    const [name, call, form] = ARITHMETIC[ext]!;
    return register(opcode, ext, `f${REVERSED_NAME[name] ?? name}${suffix}`, x87Arithmetic(call, 0, form | arg | Arg.TO_STI), TO_STI);
  });

const conditionalMoves = (opcode: number, moves: readonly (readonly [string, number])[]): Row[] =>
  moves.map(([suffix, cc], ext) => register(opcode, ext, `fcmov${suffix}`, x87ConditionalMove(cc), TO_ST0));

const EXACT_CONSTANTS: Readonly<Record<string, Semantics>> = { fld1: FLD1, fldz: FLDZ };
const CONSTANTS = ["fld1", "fldl2t", "fldl2e", "fldpi", "fldlg2", "fldln2", "fldz"];
/** The manual gives only a bound for the error. */
const APPROXIMATE: RowOptions = { approximate: true };

const d9: Row[] = [
  load(0xd9, 0, "fld", "FLOAT32"),
  store(0xd9, 2, "fst", "FLOAT32"),
  store(0xd9, 3, "fstp", "FLOAT32", Arg.POP),
  memory(0xd9, 4, "fldenv", FLDENV, "M"),
  memory(0xd9, 5, "fldcw", FLDCW, "Mw"),
  memory(0xd9, 6, "fnstenv", FNSTENV, "M"),
  memory(0xd9, 7, "fnstcw", FNSTCW, "Mw"),
  register(0xd9, 0, "fld", FLD_STI, ["STi"]),
  register(0xd9, 1, "fxch", FXCH, ["STi"]),
  whole(0xd9, 0xd0, "fnop", FNOP),
  whole(0xd9, 0xe0, "fchs", FCHS),
  whole(0xd9, 0xe1, "fabs", FABS),
  whole(0xd9, 0xe4, "ftst", FTST),
  whole(0xd9, 0xe5, "fxam", x87Plain("x87Examine")),
  ...CONSTANTS.map((name, i) => whole(0xd9, 0xe8 + i, name, EXACT_CONSTANTS[name] ?? x87Plain("x87LoadConstant", i))),
  whole(0xd9, 0xf0, "f2xm1", x87Plain("x87Exp2m1"), APPROXIMATE),
  whole(0xd9, 0xf1, "fyl2x", x87Plain("x87YLog2"), APPROXIMATE),
  whole(0xd9, 0xf2, "fptan", x87Plain("x87Tan"), APPROXIMATE),
  whole(0xd9, 0xf3, "fpatan", x87Plain("x87Arctan"), APPROXIMATE),
  whole(0xd9, 0xf4, "fxtract", x87Plain("x87Extract")),
  whole(0xd9, 0xf5, "fprem1", x87Plain("x87Remainder", Arg.VARIANT)),
  whole(0xd9, 0xf6, "fdecstp", x87Plain("x87Rotate", Arg.VARIANT)),
  whole(0xd9, 0xf7, "fincstp", x87Plain("x87Rotate")),
  whole(0xd9, 0xf8, "fprem", x87Plain("x87Remainder")),
  whole(0xd9, 0xf9, "fyl2xp1", x87Plain("x87YLog2p1"), APPROXIMATE),
  whole(0xd9, 0xfa, "fsqrt", x87Plain("x87Sqrt")),
  whole(0xd9, 0xfb, "fsincos", x87Plain("x87SinCos"), APPROXIMATE),
  whole(0xd9, 0xfc, "frndint", x87Plain("x87RoundInt")),
  whole(0xd9, 0xfd, "fscale", x87Plain("x87Scale")),
  whole(0xd9, 0xfe, "fsin", x87Plain("x87Sin"), APPROXIMATE),
  whole(0xd9, 0xff, "fcos", x87Plain("x87Cos"), APPROXIMATE),
];

const QUIET = Arg.VARIANT;
const TRUNCATE = Arg.VARIANT;

const arithmetic: Row[] = [
  ...arithmeticMemory(0xd8, "f", "FLOAT32"),
  ...ARITHMETIC.map(([name, call, arg], ext) => register(0xd8, ext, `f${name}`, x87Arithmetic(call, 1, arg), TO_ST0)),
  ...arithmeticMemory(0xda, "fi", "INT32"),
  ...arithmeticMemory(0xdc, "f", "FLOAT64"),
  ...arithmeticToSti(0xdc, "", 0),
  ...arithmeticMemory(0xde, "fi", "INT16"),
  ...arithmeticToSti(0xde, "p", Arg.POP),
  whole(0xde, 0xd9, "fcompp", x87Plain("x87Compare", 1 | Arg.POP | Arg.POP_TWICE)),
  whole(0xda, 0xe9, "fucompp", x87Plain("x87Compare", 1 | QUIET | Arg.POP | Arg.POP_TWICE)),
];

const db: Row[] = [
  ...conditionalMoves(0xda, [["b", 2], ["e", 4], ["be", 6], ["u", 10]]),
  ...conditionalMoves(0xdb, [["nb", 3], ["ne", 5], ["nbe", 7], ["nu", 11]]),
  load(0xdb, 0, "fild", "INT32"),
  store(0xdb, 1, "fisttp", "INT32", Arg.POP | TRUNCATE),
  store(0xdb, 2, "fist", "INT32"),
  store(0xdb, 3, "fistp", "INT32", Arg.POP),
  memory(0xdb, 5, "fld", FLD80, "Mt"),
  memory(0xdb, 7, "fstp", FSTP80, "Mt"),
  whole(0xdb, 0xe2, "fnclex", x87Control("x87ClearExceptions")),
  whole(0xdb, 0xe3, "fninit", x87Control("x87Init")),
  register(0xdb, 5, "fucomi", x87CompareToFlags(QUIET), TO_ST0),
  register(0xdb, 6, "fcomi", x87CompareToFlags(0), TO_ST0),
];

const dd: Row[] = [
  load(0xdd, 0, "fld", "FLOAT64"),
  store(0xdd, 1, "fisttp", "INT64", Arg.POP | TRUNCATE),
  store(0xdd, 2, "fst", "FLOAT64"),
  store(0xdd, 3, "fstp", "FLOAT64", Arg.POP),
  memory(0xdd, 4, "frstor", FRSTOR, "M"),
  memory(0xdd, 6, "fnsave", FNSAVE, "M"),
  memory(0xdd, 7, "fnstsw", FNSTSW, "Mw"),
  register(0xdd, 0, "ffree", x87WithRegister("x87Free", 0), ["STi"]),
  register(0xdd, 2, "fst", FST_STI, ["STi"]),
  register(0xdd, 3, "fstp", FSTP_STI, ["STi"]),
  register(0xdd, 4, "fucom", x87WithRegister("x87Compare", 0, QUIET), ["STi"]),
  register(0xdd, 5, "fucomp", x87WithRegister("x87Compare", 0, QUIET | Arg.POP), ["STi"]),
];

const df: Row[] = [
  load(0xdf, 0, "fild", "INT16"),
  store(0xdf, 1, "fisttp", "INT16", Arg.POP | TRUNCATE),
  store(0xdf, 2, "fist", "INT16"),
  store(0xdf, 3, "fistp", "INT16", Arg.POP),
  load(0xdf, 4, "fbld", "BCD"),
  load(0xdf, 5, "fild", "INT64"),
  store(0xdf, 6, "fbstp", "BCD", Arg.POP),
  store(0xdf, 7, "fistp", "INT64", Arg.POP),
  register(0xdf, 0, "ffreep", x87WithRegister("x87Free", 0, Arg.POP), ["STi"]),
  register(0xdf, 4, "fnstsw", FNSTSW, ["AX"], { rm: 0 }),
  register(0xdf, 5, "fucomip", x87CompareToFlags(QUIET | Arg.POP), TO_ST0),
  register(0xdf, 6, "fcomip", x87CompareToFlags(Arg.POP), TO_ST0),
];

export const X87_ROWS: readonly Row[] = [...arithmetic, ...d9, ...db, ...dd, ...df];

/** #NM is the call's: XSAVE and XRSTOR look at CR0.TS only. */
const areaRows = (ext: number, name: "fxsave" | "fxrstor" | "xsave" | "xrstor", feature: string): Row[] => [
  extended(0xae, name, extendedArea(name), ["M"], { ext, mod: "mem", prefix: "none", w: 0, feature }),
  extended(0xae, `${name}64`, extendedArea(name), ["M"], { ext, mod: "mem", prefix: "none", w: 1, feature }),
];
export const XSAVE_ROWS: readonly Row[] = [
  ...areaRows(0, "fxsave", "fxsr"), ...areaRows(1, "fxrstor", "fxsr"), ...areaRows(4, "xsave", "xsave"), ...areaRows(5, "xrstor", "xsave"),
];
