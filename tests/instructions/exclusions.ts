/* The rows that are not run as cases, each with its reason. Everything else must have cases: instructions.test.ts checks that. */
import { CPU_FEATURES, CRYPTO_FEATURES } from "../../src/isa/features.ts";
import type { Row } from "../../src/isa/row.ts";
import { hostCryptoFeatures } from "../../src/vm/native-support.ts";

/** Of CRYPTO_FEATURES, what the processor at hand has: it cannot be compared with others. */
const here = new Set(hostCryptoFeatures());

/** By mnemonic. */
const EXCLUDED: Readonly<Record<string, string>> = {
  syscall: "enters the host's kernel",
  sysenter: "enters the host's kernel",
  int: "enters the host's kernel",
  int3: "is how the harness sees where a jump has arrived",
  int1: "stops the process in a debugger's trap",
  cpuid: "tells about the host",
  rdtsc: "tells the time",
  rdtscp: "tells the time",
  rdrand: "is random",
  rdseed: "is random",
  xgetbv: "tells the host's XCR0",
  rdpmc: "depends on the host's CR4.PCE",
  sgdt: "the host may emulate it (UMIP)",
  sidt: "the host may emulate it (UMIP)",
  sldt: "the host may emulate it (UMIP)",
  smsw: "the host may emulate it (UMIP)",
  str: "the host may emulate it (UMIP)",
  iret: "loads the host's selectors",
  retf: "loads the host's selectors",
  lar: "reads the host's descriptors",
  lsl: "reads the host's descriptors",
  verr: "reads the host's descriptors",
  verw: "reads the host's descriptors",
  vmcall: "calls the host's hypervisor",
  vmmcall: "calls the host's hypervisor",
  hlt: "#GP is all that user mode sees, and an emulating hypervisor may see more",
};

/** Why a row is not run; undefined if it is. */
export function exclusionOf(row: Row): string | undefined {
  if (row.operands.some((code) => code === "Mp" || /^(S(?!T)|[CDEFGS]S$)/.test(code)))
    return "loads or stores the host's selectors";
  if (row.feature !== undefined && !CPU_FEATURES.has(row.feature)) return "its CPUID feature is off";
  if (row.feature !== undefined && CRYPTO_FEATURES.has(row.feature) && !here.has(row.feature))
    return "this processor does not have it";
  return EXCLUDED[row.mnemonic];
}
