/* What RDTSC and RDTSCP (sem/system.ts) read, and RDPMC. @source SDM vol. 3B §18.17; vol. 2B */
import type { CallSpec } from "../calls.ts";
import { GuestFault, Vector } from "../cpu.ts";

/** There are no performance counters: every index is #GP. */
function rdpmc(): never {
  throw new GuestFault(Vector.GP, 0);
}

export const TIME_CALLS: Record<string, CallSpec> = {
  tsc: { args: 0, result: true, run: (cpu) => cpu.tsc() },
  rdpmc: { args: 0, result: false, run: rdpmc },
};
