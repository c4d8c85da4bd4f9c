/* CpuModel: what the guest is told about its processors. Built once per VM from its shape; CPUID, MSRs and control-register
 * checks read it. @source docs/design.md "The machine" */
import { PLAIN_FEATURES } from "../features.ts";

export interface CpuModel {
  /** Names as in features.ts: what CPUID tells. */
  readonly features: ReadonlySet<string>;
  /** KVM_CPUID_FEATURES bits (leaf 0x40000001 EAX): only what the machine implements. */
  readonly kvmFeatures: number;
  /** Processors of the VM, 1–255; their x2APIC ids are 0 … vcpus − 1. */
  readonly vcpus: number;
}

/** KVM paravirtual features by bit. @source Linux Documentation/virt/kvm/x86/cpuid.rst */
export const KvmFeature = {
  CLOCKSOURCE: 1 << 0,
  NOP_IO_DELAY: 1 << 1,
  CLOCKSOURCE2: 1 << 3,
  ASYNC_PF: 1 << 4,
  STEAL_TIME: 1 << 5,
  PV_EOI: 1 << 6,
  PV_UNHALT: 1 << 7,
  PV_TLB_FLUSH: 1 << 9,
  PV_SEND_IPI: 1 << 11,
  POLL_CONTROL: 1 << 12,
  PV_SCHED_YIELD: 1 << 13,
  ASYNC_PF_INT: 1 << 14,
  CLOCKSOURCE_STABLE: 1 << 24,
} as const;

/** Guest-physical address width. More than any pool holds; below 52, so that a frame number fits 32 bits and 4 KiB pages. */
export const PHYSICAL_ADDRESS_BITS = 46;
export const LINEAR_ADDRESS_BITS = 48;
/** TSC, core crystal and local APIC timer all tick once a nanosecond. */
export const TSC_KHZ = 1_000_000;

export function cpuModel(
  vcpus: number,
  kvmFeatures: number = KvmFeature.NOP_IO_DELAY,
  features: ReadonlySet<string> = PLAIN_FEATURES,
): CpuModel {
  return { features, kvmFeatures, vcpus };
}
