/* A guest with the agent for tests: Debian's kernel, a writable ext4 root with busybox in it, vsock. */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ensureAgent } from "../../src/agent/build.ts";
import { AgentClient } from "../../src/agent/client.ts";
import { AGENT_MODULES, type AgentConfig, buildAgentInitramfs } from "../../src/agent/initramfs.ts";
import type { VirtioDevice } from "../../src/device/virtio/device.ts";
import { VsockDevice } from "../../src/device/virtio/vsock.ts";
import { openRawDisk } from "../../src/disk/raw.ts";
import { runCommand } from "../../src/image/command.ts";
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
  /** A file on one of its disks, the first of which is the root, after it has ended. */
  onDisk(disk: number, path: string): Promise<string>;
  /** Stops it and removes its disks. */
  stop(): Promise<void>;
}

export interface AgentGuestOptions {
  readonly config?: Partial<AgentConfig>;
  /** Files of the root by path; a mode other than 0644 for those that begin with "#!". */
  readonly files?: Readonly<Record<string, string>>;
  /** Symbolic links of the root: target by path. */
  readonly links?: Readonly<Record<string, string>>;
  /** Directories that the root does not have. */
  readonly without?: readonly string[];
  readonly cpus?: number;
  /** Further disks of so many MiB, empty ext4 file systems. */
  readonly disks?: readonly number[];
  /** Devices beside vsock, and the modules for them. */
  readonly devices?: readonly VirtioDevice[];
  readonly modules?: readonly string[];
  readonly laterModules?: readonly string[];
  readonly agent?: string;
}

/** Boots one. @returns before the agent is ready */
export async function startAgentGuest(options: AgentGuestOptions = {}): Promise<AgentGuest> {
  const work = await mkdtemp(join(tmpdir(), "mere-agent-"));
  const image = join(work, "root.ext4");
  await makeRoot(join(work, "root"), image, options);
  const kernel = await ensureKernel({}, "debian");
  const vsock = new VsockDevice();
  const client = new AgentClient(vsock);
  const serial: Uint8Array[] = [];
  const initrd = buildAgentInitramfs({
    agent: await readFile(options.agent ?? (await ensureAgent())),
    modules: await readModules(kernel, [...AGENT_MODULES, ...(options.modules ?? [])]),
    laterModules: await readModules(kernel, options.laterModules ?? []),
    config: { root: { device: "/dev/vda" }, hostname: "guest", ...options.config },
  });
  const disks = [await openRawDisk(image)];
  for (const [i, sizeMib] of (options.disks ?? []).entries()) {
    const path = join(work, `disk${i}.ext4`);
    const { status, output } = await e2fsprogs("mke2fs", "-q", "-F", "-t", "ext4", path, `${sizeMib}m`);
    if (status !== 0) throw new Error(`mke2fs: ${output}`);
    disks.push(await openRawDisk(path));
  }
  const machine = await createMachine({
    cpus: options.cpus ?? 1,
    memoryBytes: 256 << 20,
    kernel: await readFile(vmlinuxPath(kernel)),
    initrd,
    commandLine: "console=ttyS0 quiet panic=-1",
    disks,
    devices: [vsock, ...(options.devices ?? [])],
    serialOutput: (bytes) => void serial.push(bytes),
  });
  machine.start();
  return {
    client,
    machine,
    vsock,
    log: () => Buffer.concat(serial).toString("latin1"),
    onDisk: async (n, path) => {
      const file = n === 0 ? image : join(work, `disk${n - 1}.ext4`);
      const { stdout } = await runCommand("debugfs", ["-R", `cat ${path}`, file]).catch(() =>
        runCommand("/usr/sbin/debugfs", ["-R", `cat ${path}`, file]),
      );
      return stdout;
    },
    stop: async () => {
      await machine.stop();
      vsock.close();
      client.close();
      for (const disk of disks) await disk.close();
      await rm(work, { recursive: true, force: true });
    },
  };
}

async function makeRoot(root: string, image: string, options: AgentGuestOptions): Promise<void> {
  const { files = {}, links = {}, without = [] } = options;
  const busybox = await ensureBusybox();
  for (const path of ["bin", "etc", "proc", "sys", "dev", "run", "tmp", "root", "mnt", "sbin"])
    if (!without.includes(path)) await mkdir(join(root, path), { recursive: true });
  await cp(busybox, join(root, "bin/busybox"));
  for (const applet of busyboxApplets(await readFile(busybox)))
    if (applet !== "busybox") await symlink("busybox", join(root, "bin", applet));
  const all = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:A user:/home/user:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\naudio:x:29:user,other\n",
    ...files,
  };
  for (const [path, text] of Object.entries(all)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
  }
  for (const [path, target] of Object.entries(links)) await symlink(target, join(root, path));
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
