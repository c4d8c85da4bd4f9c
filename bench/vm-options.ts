/* What a VM of the benchmark is made of, and how bench/engines.ts tells it to bench/mere-process.ts: as JSON in one argument. */

import type { RegionPasses } from "../src/engine/wasm/translator/region-options.ts";
import type { TranslatorKind } from "../src/vm/machine.ts";

/** Switches of Mere that --features turns: what is left out is Mere's default. */
export interface MereSwitches {
  /** Mask of KVM_CPUID_FEATURES bits, as MachineConfig.kvmFeatures. */
  readonly kvmFeatures?: number;
  /** Names, as MachineConfig.cpuFeatures. */
  readonly cpuFeatures?: readonly string[];
  /** As MachineConfig.passes. */
  readonly passes?: Partial<RegionPasses>;
  readonly translator?: TranslatorKind;
  /** More words for the kernel's command line. */
  readonly append?: string;
  /** Environment variables of the process that runs Mere. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface VmOptions {
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  readonly cpus: number;
  readonly disk?: string | undefined;
  /** A network device with a way to the host; not for the shipped `mere run`. */
  readonly network?: boolean;
  /** The disk is written to. */
  readonly writable?: boolean;
  /** Mere: the shipped `mere run`, or a process that also tells instructions (bench/mere-process.ts), which only knows switches. */
  readonly counted?: boolean;
  /** Mere uses what earlier VMs have translated; it does if absent. */
  readonly keptCode?: boolean;
  readonly switches?: MereSwitches | undefined;
  /** Mere, counted: a directory for a processor profile of each of its threads. */
  readonly profile?: string | undefined;
}

/** Guest memory of every VM here. */
export const MEMORY_MIB = 512;
