/* What the main thread and an executor say to each other. Plain data and shared memory. */
import type { DeviceShared } from "../device/layout.ts";
import type { QuickDiskParts } from "../device/virtio/disk.ts";
import type { RegionOptions } from "../engine/wasm/translator/region-options.ts";
import type { RegionLimits } from "../engine/wasm/translator/region-options.ts";
import type { SharedGuestRam } from "../memory/guest-ram.ts";
import type { TranslatorConnection } from "./translator-thread.ts";

/** Why a vCPU came out of generated code, in the order of the shared counters. */
export const EXIT_REASONS = ["interrupt", "halted", "mmio", "port", "fault", "budget", "shutdown"] as const;
export type ExitReason = (typeof EXIT_REASONS)[number];
/** What the translator has done, in the order of the shared counters: Regions.counts. */
export const REGION_COUNTS = ["regions", "instructions", "bytes", "dropped", "evicted", "declined", "kept"] as const;

/** Values of the control word. STOP_AND_TELL: with the processor's state, which takes a while to put into words.
 *  NOT_YET: the machine is still being made; the executor prepares its engine meanwhile. */
export const Control = { RUN: 0, STOP: 1, STOP_AND_TELL: 2, NOT_YET: 3 } as const;

export interface ExecutorStart {
  /** Its index. */
  executor: number;
  state: WebAssembly.Memory;
  ram: SharedGuestRam;
  devices: DeviceShared;
  /** Disks whose requests executors may serve: their fronts by number. */
  quickDisks: readonly { readonly device: number; readonly parts: QuickDiskParts }[];
  vcpus: number;
  /** Hot code becomes native code; there is no translator then. */
  nativeCode: boolean;
  /** Directory of kept native code; undefined: none is kept. */
  keptCode: string | undefined;
  translator: TranslatorConnection | undefined;
  region: RegionOptions;
  limits: RegionLimits;
  kvmFeatures: number;
  /** PLAIN_FEATURES if there are none. */
  cpuFeatures: readonly string[] | undefined;
  /** f64 a reason, for each executor. */
  exits: SharedArrayBuffer;
  /** f64 a count of REGION_COUNTS, for each executor. */
  regionCounts: SharedArrayBuffer;
  /** i32: see Control. */
  control: SharedArrayBuffer;
  /** i32 an executor: its thread's number. */
  threads: SharedArrayBuffer;
}

/** A vCPU's registers and code in words. */
export interface VcpuState {
  vcpu: number;
  text: string;
}

export type ExecutorMessage =
  /** It was asked to. With the states of its vCPUs, if it was asked for them. */
  | { kind: "stopped"; states: VcpuState[] }
  /** A processor of the guest shut down. */
  | { kind: "shutdown"; states: VcpuState[] }
  /** A mistake of Mere's. */
  | { kind: "failed"; message: string; detail: string };
