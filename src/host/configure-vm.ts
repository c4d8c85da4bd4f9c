/* Runs a script in a VM whose root is a raw disk, which it changes: how images of Debian packages are configured by the packages' own scripts, and images are
 * changed by what a user says. The VM has no network and nobody else sees it. On the main thread. */
import { keptCodeDirectory } from "../image/cache.ts";
import { setTimeout } from "node:timers/promises";
import { AgentClient } from "../agent/client.ts";
import { FsDevice } from "../device/virtio/fs.ts";
import { VsockDevice } from "../device/virtio/vsock.ts";
import { openRawDisk } from "../disk/raw.ts";
import type { ConfigureHow } from "../image/store/options.ts";
import { openShare } from "../share/share-server.ts";
import { LastLines } from "../vm/last-lines.ts";
import { createMachine } from "../vm/machine.ts";
import { bootFiles } from "./boot-files.ts";
import { release } from "./guest-kernel.ts";
import { HostError } from "./host-error.ts";
import { SHARE_MODULES, shareTag } from "./share-tag.ts";

/** Packages' scripts compile and sort: they want memory, and the host has it for these minutes. */
const MEMORY_BYTES = 1 << 30;
const READY_MS = 120_000;
const POWER_OFF_MS = 60_000;
/** What is kept of the script's output. */
const LOG_CHARACTERS = 1 << 20;

export interface ConfigureOptions extends ConfigureHow {
  readonly cacheDir?: string | undefined;
}

/** Runs `script` with the guest's /bin/sh as root. The disk's file system is unmounted in order and its file closed when it resolves; the file is
 *  not synced: what is not whole then is of no use.
 *  @returns the script's exit status and output @throws HostError "boot-failed", DiskError, KernelError, PackageError */
export async function configureInVm(
  disk: string,
  script: string,
  { cacheDir, signal, onOutput, shared }: ConfigureOptions = {},
): Promise<{ status: number; log: string }> {
  await using resources = new AsyncDisposableStack();
  const root = await openRawDisk(disk, { unflushed: true });
  resources.defer(() => root.close());
  const vsock = new VsockDevice();
  resources.defer(() => vsock.close());
  const agent = new AgentClient(vsock);
  resources.defer(() => agent.close());
  const share = shared && (await openShare(shared.host, { readOnly: true }));
  resources.defer(() => share?.close());
  const config = {
    root: { device: "/dev/vda" },
    hostname: "mere",
    ...(shared && { shares: [{ tag: shareTag(0), path: shared.guest, readOnly: true }] }),
  };
  const files = await bootFiles({ config, modules: shared ? SHARE_MODULES : [] }, { cacheDir, signal });
  const serial = new LastLines();
  const machine = await createMachine({
    cpus: 1,
    memoryBytes: MEMORY_BYTES,
    keptCode: keptCodeDirectory(cacheDir),
    ...files,
    disks: [root],
    devices: [vsock, ...(share ? [new FsDevice({ tag: shareTag(0), server: share })] : [])],
    serialOutput: (bytes) => serial.push(bytes),
  });
  release(files.kernel);
  release(files.initrd);
  resources.defer(() => machine.stop());
  const stop = (): void => void machine.stop();
  signal?.addEventListener("abort", stop, { once: true });
  resources.defer(() => signal?.removeEventListener("abort", stop));
  machine.start();
  const early = machine.wait().then((end) => {
    signal?.throwIfAborted();
    const last = serial.lines().map((line) => `  ${line}`);
    throw new HostError("boot-failed", [`The VM ended before the script did (${end.reason}).`, ...last].join("\n"));
  });
  early.catch(() => undefined);
  const { complaints } = await Promise.race([agent.ready(READY_MS, signal), early]);
  if (shared !== undefined && complaints.length > 0)
    throw new HostError("boot-failed", `The VM is not as it should be: ${complaints.join(" ")}`);
  const result = await Promise.race([runScript(agent, script, onOutput), early]);
  await agent.powerOff({ signal: AbortSignal.timeout(POWER_OFF_MS) });
  const end = await Promise.race([machine.wait(), setTimeout(POWER_OFF_MS, undefined, { ref: false })]);
  if (end?.reason === "poweroff") return result;
  throw new HostError("timeout", "The VM did not power off, so its disk may not be whole; try again.");
}

async function runScript(
  agent: AgentClient,
  script: string,
  onOutput: ((text: string) => void) | undefined,
): Promise<{ status: number; log: string }> {
  const running = await agent.exec({ command: ["/bin/sh", "-c", `exec 2>&1\n${script}`] });
  running.stdin.end();
  const decoder = new TextDecoder();
  let log = "";
  for await (const chunk of running.stdout as AsyncIterable<Uint8Array>) {
    const text = decoder.decode(chunk, { stream: true });
    onOutput?.(text);
    log = (log + text).slice(-LOG_CHARACTERS);
  }
  const end = await running.exit;
  return { status: "code" in end ? end.code : 128, log };
}
