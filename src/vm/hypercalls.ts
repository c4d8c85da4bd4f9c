/* The hypercalls of KVM that Linux uses between processors. @source Linux Documentation/virt/kvm/x86/hypercalls.rst, include/uapi/linux/kvm_para.h
 * Called on the executor's thread. Leaves out: VAPIC_POLL_IRQ, MMU_OP, CLOCK_PAIRING, MAP_GPA_RANGE. */
import type { Devices } from "../device/layout.ts";

const Call = { KICK_CPU: 5, SEND_IPI: 10, SCHED_YIELD: 11 } as const;
const KVM_ENOSYS = -1000n;
/** As KVM: what is asked of a processor that there is not is done. */
const DONE = 0n;

/** Answers VMCALL. A 64-bit bitmap is a0 (low) and a1 (high). */
export function hypercalls({ localApics, wakeups, layout }: Devices) {
  const processor = (apicId: bigint): number | undefined =>
    apicId < BigInt(layout.vcpus) ? Number(apicId) : undefined;
  return (nr: bigint, a0: bigint, a1: bigint, a2: bigint, a3: bigint): bigint => {
    switch (Number(BigInt.asUintN(32, nr))) {
      case Call.KICK_CPU: {
        const n = processor(a1);
        if (n !== undefined) wakeups.kick(n);
        return DONE;
      }
      case Call.SEND_IPI:
        if (a2 >= BigInt(layout.vcpus)) return DONE;
        return BigInt(localApics.sendToMask(a0 | (a1 << 64n), Number(a2), Number(a3 & 0xffff_ffffn)));
      case Call.SCHED_YIELD: {
        const n = processor(a0);
        if (n !== undefined) wakeups.favour(n);
        return DONE;
      }
      default:
        return KVM_ENOSYS;
    }
  };
}
