/* The initramfs of a VM that runs from a root disk: the agent as /init, the modules that it loads, and its configuration as lines of fields between tabs, which
 * guest/config.c reads. Not compressed: the kernel would spend guest cycles on it. Called once a VM, before boot. */
import { CpioWriter } from "../image/cpio.ts";
import type { KernelModule } from "../image/kernel.ts";

/** Where the root file system is, and how it is mounted. */
export interface AgentRoot {
  /** "/dev/vda" */
  readonly device: string;
  /** Default "ext4". */
  readonly fstype?: string;
  readonly readOnly?: boolean;
}

/** A network interface and its IPv4 address: nothing in the image is asked for, no DHCP is done. */
export interface AgentNetwork {
  /** Default "eth0". */
  readonly interface?: string;
  /** With its prefix length: "10.0.2.15/24". */
  readonly address: string;
  readonly gateway?: string | undefined;
  /** Bytes; default: what the device says. */
  readonly mtu?: number | undefined;
}

/** A further disk. */
export interface AgentMount {
  /** "/dev/vdb" */
  readonly device: string;
  /** Absolute; made if it is not there. */
  readonly path: string;
  /** Default "ext4". */
  readonly fstype?: string;
  readonly readOnly?: boolean;
}

/** A virtio-fs device. Its module is among `modules`. */
export interface AgentShare {
  readonly tag: string;
  /** Absolute; made if it is not there. */
  readonly path: string;
  readonly readOnly?: boolean;
}

/** What the agent makes of the guest before it says that it is ready. What cannot be done is a complaint of AgentReady; only a root that cannot be mounted
 *  ends the guest. */
export interface AgentConfig {
  readonly root: AgentRoot;
  /** Also written to /etc/hostname and /etc/hosts. */
  readonly hostname?: string | undefined;
  readonly network?: AgentNetwork | undefined;
  /** Written to /etc/resolv.conf, which is left alone if there is none of both. */
  readonly dns?: { readonly servers: readonly string[]; readonly search?: readonly string[] } | undefined;
  /** A name in the image's /usr/share/zoneinfo: "Europe/Zurich". */
  readonly timezone?: string | undefined;
  /** Lines for authorized_keys, of root if no user is named. */
  readonly sshKeys?: { readonly user?: string; readonly keys: readonly string[] } | undefined;
  /** Files for cloud-init's NoCloud data source. */
  readonly cloudInit?:
    | {
        readonly metaData: string;
        readonly userData: string;
        readonly networkConfig?: string | undefined;
        readonly vendorData?: string | undefined;
      }
    | undefined;
  readonly mounts?: readonly AgentMount[];
  readonly shares?: readonly AgentShare[];
  /** Puts a file system in memory on /tmp. */
  readonly tmp?: boolean;
  /** The image's init to run as PID 1, with the agent beside it: true is /sbin/init. */
  readonly init?: boolean | string;
}

export interface AgentInitramfsOptions {
  /** The program itself: what is in the file that ensureAgent names. */
  readonly agent: Uint8Array;
  /** Loaded before the root is mounted, in this order. */
  readonly modules: readonly KernelModule[];
  /** Loaded once the host knows that the guest is ready, beside what runs then: for devices that no command waits for. */
  readonly laterModules?: readonly KernelModule[];
  readonly config: AgentConfig;
}

/** Modules that the agent needs before it is ready. Those that a kernel has built in are passed over by readModules. */
export const AGENT_MODULES = ["virtio_mmio", "virtio_blk", "ext4", "vmw_vsock_virtio_transport"] as const;

/** What guest/config.c and guest/boot.c have room for. */
const LIMITS = { configBytes: 200_000, lineBytes: 16_000, fields: 12, laterModules: 16 } as const;

/** Builds the archive. @throws RangeError when the configuration has something that cannot be told to the agent */
export function buildAgentInitramfs({ agent, modules, laterModules = [], config }: AgentInitramfsOptions): Uint8Array {
  const cpio = new CpioWriter();
  for (const path of ["dev", "mere", "mere/modules", "mere/root", "mere/seed"]) cpio.directory(path);
  cpio.characterDevice("dev/console", 5, 1);
  cpio.file("init", agent, 0o755);
  for (const { name, data } of new Map([...laterModules, ...modules].map((module) => [module.name, module])).values())
    cpio.file(`mere/modules/${name}.ko`, data);
  const { cloudInit } = config;
  const seed = {
    "meta-data": cloudInit?.metaData,
    "user-data": cloudInit?.userData,
    "network-config": cloudInit?.networkConfig,
    "vendor-data": cloudInit?.vendorData,
  };
  for (const [name, text] of Object.entries(seed)) if (text !== undefined) cpio.file(`mere/seed/${name}`, text, 0o600);
  const early = new Set(modules.map(({ name }) => name));
  const later = laterModules.filter(({ name }) => !early.has(name));
  if (later.length > LIMITS.laterModules) throw new RangeError(`${later.length} modules cannot be loaded later.`);
  cpio.file("mere/config", configuration(config, [...early], later), 0o600);
  return cpio.finish();
}

function configuration(config: AgentConfig, early: readonly string[], later: readonly KernelModule[]): string {
  const { root, hostname, network, dns, timezone, sshKeys, mounts = [], shares = [], init = false } = config;
  const access = (readOnly = false): string => (readOnly ? "ro" : "rw");
  const lines: string[][] = early.map((name) => ["module", name]);
  lines.push(...later.map(({ name }) => ["later-module", name]));
  lines.push(["root", root.device, root.fstype ?? "ext4", access(root.readOnly)]);
  if (hostname !== undefined) lines.push(["hostname", hostname]);
  if (network !== undefined) {
    const { interface: name = "eth0", address, gateway = "", mtu } = network;
    lines.push(["network", name, address, gateway, mtu === undefined ? "" : `${mtu}`]);
  }
  if (dns?.search !== undefined && dns.search.length > 0) lines.push(["search", ...dns.search]);
  lines.push(...(dns?.servers ?? []).map((server) => ["nameserver", server]));
  if (timezone !== undefined) lines.push(["timezone", zoneName(timezone)]);
  if (sshKeys?.user !== undefined) lines.push(["ssh-user", sshKeys.user]);
  lines.push(...(sshKeys?.keys ?? []).map((key) => ["ssh-key", key.trim()]));
  for (const { device, path, fstype = "ext4", readOnly } of mounts)
    lines.push(["disk", device, path, access(readOnly), fstype]);
  for (const { tag, path, readOnly } of shares) lines.push(["share", tag, path, access(readOnly)]);
  if (config.tmp === true) lines.push(["tmp", "yes"]);
  if (init !== false) lines.push(["init", init === true ? "/sbin/init" : init]);
  const text = lines.map(configLine).join("");
  if (Buffer.byteLength(text) > LIMITS.configBytes)
    throw new RangeError("The configuration of a guest is too long; give fewer ssh keys or disks.");
  return text;
}

function configLine(fields: readonly string[]): string {
  const line = fields.map(field).join("\t");
  if (Buffer.byteLength(line) > LIMITS.lineBytes || fields.length > LIMITS.fields)
    throw new RangeError(`${JSON.stringify(fields[0])} of a guest's configuration is too long.`);
  return `${line}\n`;
}

function field(text: string): string {
  if (/[\0\t\n]/.test(text))
    throw new RangeError(`${JSON.stringify(text)} cannot be told to a guest: it has a tab, a line end or a NUL.`);
  return text;
}

/** It becomes part of a path. */
function zoneName(text: string): string {
  if (!/^[A-Za-z0-9_+-]+(\/[A-Za-z0-9_+-]+)*$/.test(text))
    throw new RangeError(`${JSON.stringify(text)} is no time zone; take a name such as Europe/Zurich or UTC.`);
  return text;
}
