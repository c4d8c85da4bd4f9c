/* What `npm run bench -- --features` turns on and off, and under which load. To add a switch, add an entry: `on` and `off` are what a Mere VM is made with
 * (bench/vm-options.ts), {} being Mere as it is. */
import type { RegionPasses } from "../src/engine/wasm/translator/region-options.ts";
import { CPU_FEATURES } from "../src/isa/features.ts";
import { KvmFeature } from "../src/isa/system/cpu-model.ts";
import { KVM_FEATURES } from "../src/vm/machine.ts";
import { nativeUnavailable } from "../src/vm/native-support.ts";
import type { MereSwitches } from "./vm-options.ts";

export interface FeatureSwitch {
  readonly name: string;
  readonly on: MereSwitches;
  readonly off: MereSwitches;
  /** "boot", or a program of a suite. */
  readonly load: string;
  /** vCPUs, where the feature is for several. Their load is a boot, or a program of a suite with as many. */
  readonly cpus?: number;
  /** This version of Mere has it. */
  readonly offered: boolean;
}

function kvm(name: string, bits: number, load: string, cpus?: number): FeatureSwitch {
  return {
    name,
    on: {},
    off: { kvmFeatures: ~bits },
    load,
    offered: (KVM_FEATURES & bits) !== 0,
    ...(cpus !== undefined && { cpus }),
  };
}

function cpu(name: string, load: string, features: readonly string[] = [name]): FeatureSwitch {
  return {
    name,
    on: {},
    off: { cpuFeatures: [...CPU_FEATURES].filter((feature) => !features.includes(feature)) },
    load,
    offered: features.some((feature) => CPU_FEATURES.has(feature)),
  };
}

/** Native code, against regions in WebAssembly. */
const native = (load: string): FeatureSwitch => ({
  name: `native-code-${load}`,
  on: {},
  off: { translator: "wasm" },
  load,
  offered: nativeUnavailable() === undefined,
});
/** A pass of the translator to WebAssembly. */
function pass(name: keyof RegionPasses, load: string): FeatureSwitch {
  const off = { translator: "wasm", passes: { [name]: false } } as const;
  return { name: `pass-${name}`, on: { translator: "wasm" }, off, load, offered: true };
}

const CLOCK = KvmFeature.CLOCKSOURCE | KvmFeature.CLOCKSOURCE2 | KvmFeature.CLOCKSOURCE_STABLE;

export const SWITCHES: readonly FeatureSwitch[] = [
  kvm("kvm-clock", CLOCK, "clock"),
  kvm("kvm-clock-stable", KvmFeature.CLOCKSOURCE_STABLE, "clock"),
  kvm("kvm-nop-io-delay", KvmFeature.NOP_IO_DELAY, "boot"),
  kvm("kvm-steal-time", KvmFeature.STEAL_TIME, "pipe"),
  kvm("kvm-pv-eoi", KvmFeature.PV_EOI, "boot"),
  kvm("kvm-async-pf", KvmFeature.ASYNC_PF | KvmFeature.ASYNC_PF_INT, "fault"),
  kvm("kvm-poll-control", KvmFeature.POLL_CONTROL, "pipe"),
  kvm("kvm-pv-unhalt", KvmFeature.PV_UNHALT, "two-processes", 2),
  kvm("kvm-pv-tlb-flush", KvmFeature.PV_TLB_FLUSH, "two-threads", 2),
  kvm("kvm-pv-send-ipi", KvmFeature.PV_SEND_IPI, "two-threads", 2),
  kvm("kvm-pv-sched-yield", KvmFeature.PV_SCHED_YIELD, "two-processes", 2),
  cpu("erms", "copy", ["erms", "fsrm"]),
  cpu("fsrm", "copy"),
  cpu("pcid", "pipe", ["pcid", "invpcid"]),
  cpu("invpcid", "exec"),
  cpu("smap", "files"),
  cpu("fsgsbase", "pipe"),
  cpu("xsave", "pipe"),
  cpu("rdrand", "boot", ["rdrand", "rdseed"]),
  cpu("ssse3", "copy", ["ssse3", "sse4.1", "sse4.2"]),
  cpu("aes", "openssl-aes"),
  cpu("sha", "openssl-sha256"),
  native("sort"),
  native("sqlite3"),
  native("mmap"),
  native("boot"),
  pass("fusedConditions", "sort"),
  pass("pageReuse", "hash"),
  pass("stackSpans", "calls"),
  pass("inlineCalls", "calls"),
  pass("guessTargets", "calls"),
  pass("knownReturns", "tree"),
  pass("fastFloat", "nbody"),
];
