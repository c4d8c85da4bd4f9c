/* The calls that sem/x87.ts makes: none has arguments or results, they talk through the mailbox (unit.ts). */
import type { CallSpec } from "../calls.ts";
import type { Cpu } from "../cpu.ts";
import {
  x87Abs,
  x87Add,
  x87ChangeSign,
  x87Compare,
  x87Divide,
  x87Examine,
  x87Extract,
  x87Multiply,
  x87Remainder,
  x87RoundInt,
  x87Scale,
  x87Sqrt,
  x87Subtract,
} from "./compute.ts";
import {
  x87ClearExceptions,
  x87Init,
  x87LoadControl,
  x87LoadEnvironment,
  x87Restore,
  x87Rotate,
  x87Save,
  x87StoreEnvironment,
} from "./control.ts";
import { x87Arctan, x87Cos, x87Exp2m1, x87Sin, x87SinCos, x87Tan, x87YLog2, x87YLog2p1 } from "./functions.ts";
import { conditionalMove, exchange, free, load, loadConstant, store, storeRegister } from "./transfer.ts";
import { fxrstor, fxsave, xrstor, xsave } from "./xsave.ts";

const spec = (run: (cpu: Cpu) => void): CallSpec => ({ args: 0, result: false, run });

export const X87_CALLS: Record<string, CallSpec> = {
  x87Load: spec(load),
  x87LoadConstant: spec(loadConstant),
  x87Store: spec(store),
  x87StoreRegister: spec(storeRegister),
  x87Exchange: spec(exchange),
  x87ConditionalMove: spec(conditionalMove),
  x87Free: spec(free),
  x87Add: spec(x87Add),
  x87Subtract: spec(x87Subtract),
  x87Multiply: spec(x87Multiply),
  x87Divide: spec(x87Divide),
  x87Compare: spec(x87Compare),
  x87Examine: spec(x87Examine),
  x87Sqrt: spec(x87Sqrt),
  x87RoundInt: spec(x87RoundInt),
  x87ChangeSign: spec(x87ChangeSign),
  x87Abs: spec(x87Abs),
  x87Scale: spec(x87Scale),
  x87Remainder: spec(x87Remainder),
  x87Extract: spec(x87Extract),
  x87Sin: spec(x87Sin),
  x87Cos: spec(x87Cos),
  x87SinCos: spec(x87SinCos),
  x87Tan: spec(x87Tan),
  x87Arctan: spec(x87Arctan),
  x87Exp2m1: spec(x87Exp2m1),
  x87YLog2: spec(x87YLog2),
  x87YLog2p1: spec(x87YLog2p1),
  x87Init: spec(x87Init),
  x87ClearExceptions: spec(x87ClearExceptions),
  x87LoadControl: spec(x87LoadControl),
  x87Rotate: spec(x87Rotate),
  x87StoreEnvironment: spec(x87StoreEnvironment),
  x87LoadEnvironment: spec(x87LoadEnvironment),
  x87Save: spec(x87Save),
  x87Restore: spec(x87Restore),
  fxsave: spec(fxsave),
  fxrstor: spec(fxrstor),
  xsave: spec(xsave),
  xrstor: spec(xrstor),
};
