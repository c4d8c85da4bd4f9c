/* A guest with the agent for tests: Debian's kernel, a writable ext4 root with busybox in it, vsock. */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ensureAgent } from "../../src/agent/build.ts";
import { AgentClient } from "../../src/agent/client.ts";
import { AGENT_MODULES, type AgentConfig, buildAgentInitramfs } from "../../src/agent/initramfs.ts";
import { VsockDevice } from "../../src/device/virtio/vsock.ts";
import { openRawDisk } from "../../src/disk/raw.ts";
import { busyboxApplets } from "../../src/image/busybox.ts";
import { ensureBusybox, ensureKernel, readModules, vmlinuxPath } from "../../src/image/kernel.ts";
import { createMachine, type Machine } from "../../src/vm/machine.ts";
import { e2fsprogs } from "./guest-programs.ts";

export interface AgentGuest {
  readonly client: AgentClient;
  readonly machine: Machine;
  readonly vsock: VsockDevice;
  /** What came over the serial port. */
  log(): string;
  /** Stops it and removes its disk. */
  stop(): Promise<void>;
}

export interface AgentGuestOptions {
  readonly config?: Partial<AgentConfig>;
  /** Files of the root by path; a mode other than 0644 for those that begin with "#!". */
  readonly files?: Readonly<Record<string, string>>;
  readonly cpus?: number;
  readonly agent?: string;
}

/** Boots one. @returns before the agent is ready */
export async function startAgentGuest(options: AgentGuestOptions = {}): Promise<AgentGuest> {
  const work = await mkdtemp(join(tmpdir(), "mere-agent-"));
  const image = join(work, "root.ext4");
  await makeRoot(join(work, "root"), image, options.files ?? {});
  const kernel = await ensureKernel({}, "debian");
  const vsock = new VsockDevice();
  const client = new AgentClient(vsock);
  const serial: Uint8Array[] = [];
  const initrd = buildAgentInitramfs({
    agent: await readFile(options.agent ?? (await ensureAgent())),
    modules: await readModules(kernel, AGENT_MODULES),
    config: { root: { device: "/dev/vda" }, hostname: "guest", ...options.config },
  });
  const disk = await openRawDisk(image);
  const machine = await createMachine({
    cpus: options.cpus ?? 1,
    memoryBytes: 256 << 20,
    kernel: await readFile(vmlinuxPath(kernel)),
    initrd,
    commandLine: "console=ttyS0 quiet panic=-1",
    disks: [disk],
    devices: [vsock],
    serialOutput: (bytes) => void serial.push(bytes),
  });
  machine.start();
  return {
    client,
    machine,
    vsock,
    log: () => Buffer.concat(serial).toString("latin1"),
    stop: async () => {
      await machine.stop();
      vsock.close();
      client.close();
      await disk.close();
      await rm(work, { recursive: true, force: true });
    },
  };
}

async function makeRoot(root: string, image: string, files: Readonly<Record<string, string>>): Promise<void> {
  const busybox = await ensureBusybox();
  for (const path of ["bin", "etc", "proc", "sys", "dev", "run", "tmp", "root", "mnt"])
    await mkdir(join(root, path), { recursive: true });
  await cp(busybox, join(root, "bin/busybox"));
  for (const applet of busyboxApplets(await readFile(busybox)))
    if (applet !== "busybox") await symlink("busybox", join(root, "bin", applet));
  const all = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:A user:/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\naudio:x:29:user,other\n",
    ...files,
  };
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
  }
  const { status, output } = await e2fsprogs(
    "mke2fs",
    "-q",
    "-F",
    "-E",
    "root_owner=0:0",
    "-t",
    "ext4",
    "-d",
    root,
    image,
    "24m",
  );
  if (status !== 0) throw new Error(`mke2fs: ${output}`);
  await rm(root, { recursive: true });
}
