/* A machine put together for a VM of an image: kernel, root disk, network, shares, agent. Everything that must be given back is put on the caller's stack, in the
 * order in which it is taken. On the main thread. */
import type { Disk } from "../device/virtio/disk.ts";
import { BalloonDevice } from "../device/virtio/balloon.ts";
import { FsDevice } from "../device/virtio/fs.ts";
import { VsockDevice } from "../device/virtio/vsock.ts";
import { openDisk } from "../disk/open.ts";
import { openEphemeralOverlay } from "../disk/overlay.ts";
import type { OverlayDisk } from "../disk/overlay-disk.ts";
import { resolveDisk } from "../disk/store.ts";
import { useImage } from "../image/images.ts";
import type { StoredImage } from "../image/store/stored-image.ts";
import { openShare } from "../share/share-server.ts";
import { type Machine, createMachine } from "../vm/machine.ts";
import { disksDirectory } from "./disks-directory.ts";
import { HostError } from "./host-error.ts";
import { type BootFiles, bootFiles } from "./boot-files.ts";
import { keptCodeDirectory } from "../image/cache.ts";
import { kernelChoice, release } from "./guest-kernel.ts";
import type { CreateProgress, HostPlaces } from "./host.ts";
import { agentConfig } from "./agent-config.ts";
import type { HostImages } from "./images.ts";
import type { DeviceCounters } from "./metrics.ts";
import { SHARE_MODULES, shareTag } from "./share-tag.ts";
import type { VmConfig } from "./vm-config.ts";
import type { NamedNetworks } from "./named-networks.ts";
import type { PortRecord } from "./vm-directory.ts";
import { type VmNetwork, connectNetwork } from "./vm-network.ts";

/** What surrounds a VM. */
export interface PartsSurroundings {
  readonly places: HostPlaces;
  readonly images: HostImages;
  readonly networks: NamedNetworks;
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
  /** The guest's root. */
  readonly root: OverlayDisk;
  readonly vsock: VsockDevice;
  readonly ports: readonly PortRecord[];
  /** Will anybody see again what the guest writes? Then it must power off in order. */
  readonly mustSync: boolean;
  counters(): Promise<DeviceCounters>;
}

/** What is loaded before the command runs, beside what the agent needs: each module costs guest time. */
const NETWORK_MODULES = ["virtio_net", "af_packet"];
/** No command waits for these. */
const LATER_MODULES = ["virtio_rng", "virtio_balloon"];
/** One interrupt a device, and the agent names disks by one letter. */
const MOST_DISKS = 8;
const MOST_SHARES = 8;
const STATISTICS_MS = 500;

/** @throws the errors of images, disks, network, shares, kernel and agent */
export async function assembleMachine(
  subject: PartsSubject,
  resources: AsyncDisposableStack,
  around: PartsSurroundings,
  onSerial: (bytes: Uint8Array) => void,
): Promise<MachineParts> {
  const { config } = subject;
  const { images, signal, onProgress } = around;
  const progress = { ...(signal && { signal }), ...(onProgress && { onProgress }) };
  const image = await images.ensure(config.image, { ...progress, pull: config.pull });
  resources.defer(await useImage(image, signal));
  const root = await openEphemeralOverlay(subject.directory, { base: image.rootDisk });
  resources.defer(() => root.close());
  const disks = [root, ...(await openDisks(subject, around.places, resources))];
  const devices = await openDevices(subject, resources, around);
  onProgress?.("boot", 0, 0);
  const files = await filesFor(subject, devices, around);
  const machine = await createMachine({
    cpus: config.cpus,
    memoryBytes: config.memoryBytes,
    codeCacheBytes: config.codeCacheBytes,
    keptCode: config.keptCode ? keptCodeDirectory(around.places.cacheDirectory) : undefined,
    ...(config.translator !== null && { translator: config.translator }),
    ...files,
    disks,
    devices: [devices.vsock, devices.balloon, ...(devices.network ? [devices.network.device] : []), ...devices.shares],
    serialOutput: onSerial,
  });
  release(files.kernel);
  release(files.initrd);
  return {
    machine,
    image,
    root,
    vsock: devices.vsock,
    ports: devices.network?.ports ?? [],
    mustSync: mustSync(config),
    counters: () => countersOf(devices),
  };
}

function mustSync({ init, disks, volumes }: VmConfig): boolean {
  return init || disks.some(({ readOnly }) => !readOnly) || volumes.some(({ readOnly }) => !readOnly);
}
/** A guest that is busy, or has no driver yet, tells nothing. */
async function countersOf({ network, balloon }: VmDevices): Promise<DeviceCounters> {
  const { receivedBytes = 0, sentBytes = 0 } = network?.device.counters ?? {};
  const guest = await balloon.statistics({ timeoutMs: STATISTICS_MS }).catch(() => undefined);
  const { actualBytes: balloonBytes, reportedBytes: returnedBytes } = balloon;
  return { network: { receivedBytes, sentBytes }, memory: { balloonBytes, returnedBytes, ...(guest && { guest }) } };
}

/** The user's. */
async function openDisks(
  { config }: PartsSubject,
  { dataDirectory }: HostPlaces,
  resources: AsyncDisposableStack,
): Promise<Disk[]> {
  const disks: Disk[] = [];
  if (config.disks.length > MOST_DISKS)
    throw new HostError(
      "bad-option",
      `A VM has at most ${MOST_DISKS} disks besides its root, not ${config.disks.length}.`,
    );
  for (const { disk, readOnly } of config.disks) {
    const opened = await openDisk(resolveDisk(disksDirectory(dataDirectory), disk), { readOnly });
    resources.defer(() => opened.close());
    disks.push(opened);
  }
  return disks;
}

interface VmDevices {
  readonly balloon: BalloonDevice;
  readonly vsock: VsockDevice;
  readonly network: VmNetwork | undefined;
  readonly shares: readonly FsDevice[];
}
async function openDevices(
  subject: PartsSubject,
  resources: AsyncDisposableStack,
  { networks }: PartsSurroundings,
): Promise<VmDevices> {
  const network = await connectNetwork(subject, networks, resources);
  const shares = await openShares(subject.config, resources);
  const vsock = new VsockDevice();
  resources.defer(() => vsock.close());
  return { vsock, balloon: new BalloonDevice(), network, shares };
}

function filesFor(
  subject: PartsSubject,
  { network, shares }: VmDevices,
  { places, signal }: PartsSurroundings,
): Promise<BootFiles> {
  const options = {
    kernel: kernelChoice(subject.config.kernel),
    modules: [...(network ? NETWORK_MODULES : []), ...(shares.length > 0 ? SHARE_MODULES : [])],
    laterModules: LATER_MODULES,
    config: agentConfig(subject, network?.guest),
  };
  return bootFiles(options, { cacheDir: places.cacheDirectory, signal });
}

/** One device a volume, in their order. */
async function openShares({ volumes }: VmConfig, resources: AsyncDisposableStack): Promise<FsDevice[]> {
  if (volumes.length > MOST_SHARES)
    throw new HostError("bad-option", `A VM has at most ${MOST_SHARES} shared directories, not ${volumes.length}.`);
  const devices: FsDevice[] = [];
  for (const [index, { host, readOnly }] of volumes.entries()) {
    const server = await openShare(host, { readOnly });
    resources.defer(() => server.close());
    devices.push(new FsDevice({ tag: shareTag(index), server }));
  }
  return devices;
}
