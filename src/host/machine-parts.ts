/* A machine put together for a VM of an image: kernel, root disk, network, shares, agent. Everything that must be given back is put on the caller's stack, in the
 * order in which it is taken. On the main thread. */
import { readFile } from "node:fs/promises";
import { ensureAgent } from "../agent/build.ts";
import { buildAgentInitramfs } from "../agent/initramfs.ts";
import type { VirtioDevice } from "../device/virtio/device.ts";
import type { Disk } from "../device/virtio/disk.ts";
import { VsockDevice } from "../device/virtio/vsock.ts";
import { openDisk } from "../disk/open.ts";
import { openEphemeralOverlay } from "../disk/overlay.ts";
import { useImage } from "../image/images.ts";
import type { StoredImage } from "../image/store/stored-image.ts";
import { type Machine, createMachine } from "../vm/machine.ts";
import { guestModules, kernelChoice, readGuestKernel, release } from "./guest-kernel.ts";
import type { CreateProgress, HostPlaces } from "./host.ts";
import type { HostImages } from "./images.ts";
import type { DeviceCounters } from "./metrics.ts";
import type { VmConfig } from "./vm-config.ts";
import type { PortRecord } from "./vm-directory.ts";

/** What surrounds a VM. */
export interface PartsSurroundings {
  readonly places: HostPlaces;
  readonly images: HostImages;
  readonly signal?: AbortSignal;
  readonly onProgress?: CreateProgress;
}

/** Which VM. */
export interface PartsSubject {
  readonly config: VmConfig;
  readonly id: string;
  readonly name: string;
  /** The VM's. */
  readonly directory: string;
}

export interface MachineParts {
  readonly machine: Machine;
  readonly image: StoredImage;
  readonly vsock: VsockDevice;
  readonly ports: readonly PortRecord[];
  /** Will anybody see again what the guest writes? Then it must power off in order. */
  readonly mustSync: boolean;
  counters(): DeviceCounters;
}

/** Drivers without which the agent finds neither its root nor the host, then what the configuration asks for. Each module that is loaded costs guest time. */
const MODULES = ["virtio_mmio", "virtio_blk", "ext4", "vmw_vsock_virtio_transport"];
const LATER_MODULES = ["virtio_rng", "virtio_balloon"];
const NETWORK_MODULES = ["virtio_net", "af_packet"];
const SHARE_MODULES = ["virtiofs"];

/** Kernel messages go to the serial port, which keeps the last of them for a crash; a panic reboots at once, which ends the VM. */
const COMMAND_LINE = "console=ttyS0 quiet panic=-1";
/** Each VM is alone with its host: all have the same address. */
const GUEST_CID = 3;

/** @throws the errors of images, disks, network, shares, kernel and agent */
export async function assembleMachine(
  subject: PartsSubject,
  resources: AsyncDisposableStack,
  around: PartsSurroundings,
  onSerial: (bytes: Uint8Array) => void,
): Promise<MachineParts> {
  const { config, directory } = subject;
  const { images, signal, onProgress, places } = around;
  const progress = { ...(signal && { signal }), ...(onProgress && { onProgress }) };
  const image = await images.ensure(config.image, { ...progress, pull: config.pull });
  resources.defer(await useImage(image));
  const root = await openEphemeralOverlay(directory, { base: image.rootDisk });
  resources.defer(() => root.close());
  const disks: Disk[] = [root];
  for (const { disk, readOnly } of config.disks) {
    const opened = await openDisk(disk, { readOnly });
    resources.defer(() => opened.close());
    disks.push(opened);
  }
  const vsock = new VsockDevice();
  resources.defer(() => vsock.close());
  const devices: VirtioDevice[] = [vsock];
  onProgress?.("boot", 0, 0);
  const pull = { cacheDir: places.cacheDirectory, signal };
  const kernel = await readGuestKernel(kernelChoice(config.kernel), pull);
  const initrd = buildAgentInitramfs({
    agent: await readFile(await ensureAgent(pull)),
    modules: await guestModules(kernel, MODULES),
    config: { root: { device: "/dev/vda" }, hostname: config.hostname ?? subject.name },
  });
  const machine = await createMachine({
    cpus: config.cpus,
    memoryBytes: config.memoryBytes,
    codeCacheBytes: config.codeCacheBytes,
    kernel: kernel.file,
    initrd,
    commandLine: COMMAND_LINE,
    disks,
    devices,
    serialOutput: onSerial,
  });
  release(kernel.file);
  release(initrd);
  return {
    machine,
    image,
    vsock,
    ports: [],
    mustSync:
      config.init || config.disks.some(({ readOnly }) => !readOnly) || config.volumes.some(({ readOnly }) => !readOnly),
    counters: () => ({ network: { receivedBytes: 0, sentBytes: 0 } }),
  };
}
