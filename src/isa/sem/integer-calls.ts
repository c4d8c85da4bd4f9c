/* The calls of the integer instructions, for system/calls.ts. */
import type { CallSpec } from "../calls.ts";
import { BIT_CALLS } from "./bits.ts";
import { BMI_CALLS } from "./bmi.ts";
import { MULDIV_CALLS } from "./muldiv.ts";
import { STACK_CALLS } from "./stack.ts";

export const INTEGER_CALLS: Readonly<Record<string, CallSpec>> = {
  ...BIT_CALLS,
  ...BMI_CALLS,
  ...MULDIV_CALLS,
  ...STACK_CALLS,
};
