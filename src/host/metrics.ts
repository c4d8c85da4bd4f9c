/* What a VM uses, in numbers. */
import type { GuestMemoryStatistics } from "../device/virtio/balloon.ts";
import type { MachineStats } from "../vm/machine.ts";

/** Sums since the VM's start, unless it says otherwise. */
export interface VmMetrics {
  readonly uptimeSeconds: number;
  /** Processor time of the host that its vCPUs took. */
  readonly cpuSeconds: number;
  /** Guest instructions. */
  readonly instructions: number;
  readonly cpus: number;
  readonly memory: {
    /** What the VM may have. */
    readonly limitBytes: number;
    /** What it has taken of the host. */
    readonly usedBytes: number;
    /** What the guest does without because the balloon has it. */
    readonly balloonBytes: number;
    /** What went back to the host because the guest said that it is free, in sum. */
    readonly returnedBytes: number;
    /** As the guest's kernel sees it; undefined if it has not told. */
    readonly guest?: GuestMemoryStatistics;
  };
  /** Bytes as the guest sees them. */
  readonly network: { readonly receivedBytes: number; readonly sentBytes: number };
}

const FRAME_BYTES = 4096;

/** Counters of the devices. */
export interface DeviceCounters {
  readonly network: VmMetrics["network"];
  readonly memory: Pick<VmMetrics["memory"], "balloonBytes" | "returnedBytes" | "guest">;
}

export function metricsOf(
  stats: MachineStats,
  limits: { cpus: number; memoryBytes: number },
  counters: DeviceCounters,
): VmMetrics {
  return {
    uptimeSeconds: stats.seconds,
    cpuSeconds: stats.cpuSeconds,
    instructions: Number(stats.retired),
    cpus: limits.cpus,
    memory: {
      limitBytes: limits.memoryBytes,
      usedBytes: stats.framesInUse * FRAME_BYTES,
      ...counters.memory,
    },
    network: counters.network,
  };
}
