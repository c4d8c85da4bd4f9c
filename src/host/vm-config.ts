/* What a VM is to be: the options that the SDK and the command line take, and the plain data they become once they were checked. */
import { availableParallelism } from "node:os";
import { isAbsolute, resolve } from "node:path";
import { posix } from "node:path";
import { parseCidr, parseIpv4 } from "../net/address.ts";
import { HostError } from "./host-error.ts";
import { sizeInBytes } from "./size.ts";
import { nativeUnavailable } from "../vm/native-support.ts";
import type { TranslatorKind } from "../vm/machine.ts";

/** Options of Host.create(). All may be left out. */
export interface VmOptions {
  /** An image's reference, as `mere image pull` takes it; "debian" if absent. */
  readonly image?: string;
  /** Letters, digits, "_", "." and "-"; made up if absent. */
  readonly name?: string;
  /** Virtual CPUs, 1 to 8; 1 if absent. */
  readonly cpus?: number;
  /** Bytes, or a size such as "512M" or "1G"; 512 MiB if absent. */
  readonly memory?: number | string;
  /** Memory for translated code, as `memory`; 256 MiB if absent. */
  readonly codeCache?: number | string;
  /** Keep translated code for later runs, and use what earlier ones have kept; true if absent. */
  readonly keptCode?: boolean;
  /** What hot code becomes: the host processor's own instructions, or WebAssembly, which works everywhere and keeps V8's walls around it; "native" where this host can if absent. */
  readonly translator?: "native" | "wasm";
  /** The VM's main process: words after the image's entrypoint; an empty list is the image's own command. The VM ends with it. Absent: no main process, the
   *  VM runs until it is stopped. */
  readonly command?: readonly string[];
  /** Instead of the image's. */
  readonly entrypoint?: readonly string[];
  /** The main process has a terminal. */
  readonly tty?: boolean;
  /** The main process's standard input stays open for Vm.main.stdin; otherwise it reads nothing. */
  readonly stdin?: boolean;
  /** Added to the image's. */
  readonly env?: Readonly<Record<string, string>>;
  /** name[:group] or uid[:gid], instead of the image's. */
  readonly user?: string;
  /** Instead of the image's. */
  readonly workingDirectory?: string;
  /** The VM's name if absent. */
  readonly hostname?: string;
  readonly network?: NetworkOptions | NetworkMode;
  /** "8080:80", "127.0.0.1:8080:80/udp", "80" (any port of the host's), or as parts. */
  readonly ports?: readonly (string | PortOptions)[];
  /** "directory:path[:ro]", or as parts. */
  readonly volumes?: readonly (string | VolumeOptions)[];
  /** "name-or-file[:path][,ro]", or as parts: the first is /dev/vdb. */
  readonly disks?: readonly (string | DiskOptions)[];
  /** An IANA name, such as "Europe/Zurich"; the image's if absent. */
  readonly timezone?: string;
  /** Lines for root's ~/.ssh/authorized_keys. */
  readonly sshKeys?: readonly string[];
  /** NoCloud data for images with cloud-init. */
  readonly cloudInit?: CloudInitOptions;
  /** The image's own /sbin/init is started as well, as on a machine. */
  readonly init?: boolean;
  /** A kernel file, or "mere" or "debian"; Mere's own where it was built, else Debian's, if absent. */
  readonly kernel?: string;
  /** Whether the registry is asked: "missing" if absent. */
  readonly pull?: "missing" | "always" | "never";
  /** Are vm.logs() kept? true if absent. */
  readonly logs?: boolean;
  /** Does the VM leave nothing when it ends? true if absent. */
  readonly ephemeral?: boolean;
}

export type NetworkMode = "nat" | "none";
export interface NetworkOptions {
  /** "nat" if absent; or "tap=NAME". */
  readonly mode?: NetworkMode | `tap=${string}`;
  /** VMs that name the same network see each other. */
  readonly name?: string;
  /** The guest's address with its prefix, on a TAP device: "192.168.7.2/24". Absent: the guest has none until it asks for one. */
  readonly address?: string;
  /** Its gateway, on a TAP device. */
  readonly gateway?: string;
  /** Destinations that are allowed besides the public ones: CIDR[:port[-port]][/tcp|/udp], or host:PORT for the host's loopback. */
  readonly allow?: readonly string[];
  /** Destinations that are not. */
  readonly deny?: readonly string[];
  /** Addresses of DNS servers, instead of the host's. */
  readonly dns?: readonly string[];
}
export interface PortOptions {
  /** 127.0.0.1 if absent. */
  readonly hostAddress?: string;
  /** 0 or absent: any that is free. */
  readonly hostPort?: number;
  readonly guestPort: number;
  readonly protocol?: "tcp" | "udp";
}
export interface VolumeOptions {
  /** A directory of the host. */
  readonly host: string;
  /** An absolute path in the guest. */
  readonly guest: string;
  readonly readOnly?: boolean;
}
export interface DiskOptions {
  /** A disk of `mere disk create`, or the path of an image file (with a slash). */
  readonly disk: string;
  /** Where it is mounted; absent: it is not. */
  readonly guest?: string;
  readonly readOnly?: boolean;
}
export interface CloudInitOptions {
  /** "#cloud-config\n…" */
  readonly userData: string;
  readonly metaData?: string;
  readonly networkConfig?: string;
}

/** What was asked for, checked and complete. Plain data. */
export interface VmConfig {
  readonly image: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly codeCacheBytes: number;
  readonly keptCode: boolean;
  readonly translator: TranslatorKind | null;
  readonly command: readonly string[] | null;
  readonly entrypoint: readonly string[] | null;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string | null;
  readonly workingDirectory: string | null;
  readonly hostname: string | null;
  readonly network: {
    readonly mode: string;
    readonly name: string | null;
    readonly address: string | null;
    readonly gateway: string | null;
    readonly allow: readonly string[];
    readonly deny: readonly string[];
    readonly dns: readonly string[];
  };
  readonly ports: readonly Required<PortOptions>[];
  readonly volumes: readonly Required<VolumeOptions>[];
  readonly disks: readonly { readonly disk: string; readonly guest: string | null; readonly readOnly: boolean }[];
  readonly timezone: string | null;
  readonly sshKeys: readonly string[];
  readonly cloudInit: CloudInitOptions | null;
  readonly init: boolean;
  readonly kernel: string | null;
  readonly pull: "missing" | "always" | "never";
  readonly logs: boolean;
  readonly ephemeral: boolean;
}

const MIB = 2 ** 20;
/** In bytes. The least memory in which Debian's kernel and an initramfs have room to start; the frame pool is one wasm memory of at most 16 GiB. */
export const MEMORY = { least: 64 * MIB, most: 16 * 1024 * MIB, default: 512 * MIB } as const;
/** In bytes. What V8 has room for is about the most. */
export const CODE_CACHE = { least: 0, most: 4096 * MIB, default: 256 * MIB } as const;
/** As many as the engine keeps state for. */
export const MOST_CPUS = 8;
const PAGE_BYTES = 4096;
/** Nobody on the network reaches a VM that was not meant for them. */
const DEFAULT_HOST_ADDRESS = "127.0.0.1";
/** RFC 1123 labels. */
const HOSTNAME = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?$/;

function bad(message: string): HostError {
  return new HostError("bad-option", message);
}
function shown(text: unknown): string {
  return JSON.stringify(text);
}

/** A size in bytes: 1048576, "512M", "1.5GiB". @throws HostError "bad-option" */
export function parseSizeBytes(what: string, size: number | string): number {
  if (typeof size === "number") {
    if (Number.isSafeInteger(size) && size >= 0) return size;
    throw bad(`${what} is ${size}: give whole bytes, or a size such as "512M".`);
  }
  const bytes = sizeInBytes(size);
  if (bytes === undefined) throw bad(`${what} ${shown(size)} is no size: write bytes, or 512M or 1G.`);
  return bytes;
}

function sizeWithin(
  what: string,
  size: number | string | undefined,
  limits: { least: number; most: number; default: number },
): number {
  if (size === undefined) return limits.default;
  const bytes = parseSizeBytes(what, size);
  if (bytes < limits.least || bytes > limits.most)
    throw bad(`${what} ${shown(size)} is outside ${limits.least / MIB} MiB to ${limits.most / MIB} MiB.`);
  return bytes - (bytes % PAGE_BYTES);
}

function checkTranslator(translator: TranslatorKind | undefined): TranslatorKind | null {
  if (translator === undefined) return null;
  if (translator !== "native" && translator !== "wasm")
    throw bad(`${shown(translator)} is no translator: take "native" or "wasm", or leave it out.`);
  const reason = translator === "native" ? nativeUnavailable() : undefined;
  if (reason !== undefined) throw bad(`Native code is not possible here, since ${reason}: leave the translator out.`);
  return translator;
}

/** "[hostAddress:][hostPort:]guestPort[/tcp|/udp]". An IPv6 address is in brackets. @throws HostError "bad-option" */
export function parsePort(text: string): Required<PortOptions> {
  const match = /^(?:(?:(\[[0-9a-fA-F:.]+\]|[0-9.]+):)?(\d*):)?(\d+)(?:\/(tcp|udp))?$/.exec(text);
  if (match === null)
    throw bad(`The port ${shown(text)} is not understood: write 8080:80, 127.0.0.1:8080:80 or 53:53/udp.`);
  const [, address, hostPort, guestPort, protocol] = match;
  return checkPort({
    hostAddress: address?.replace(/^\[|\]$/g, "") ?? DEFAULT_HOST_ADDRESS,
    hostPort: hostPort === undefined || hostPort === "" ? 0 : Number(hostPort),
    guestPort: Number(guestPort),
    protocol: (protocol ?? "tcp") as "tcp" | "udp",
  });
}
function checkPort(port: PortOptions): Required<PortOptions> {
  const { hostAddress = DEFAULT_HOST_ADDRESS, hostPort = 0, guestPort, protocol = "tcp" } = port;
  for (const [what, value, least] of [
    ["host's", hostPort, 0],
    ["guest's", guestPort, 1],
  ] as const)
    if (!Number.isInteger(value) || value < least || value > 65535)
      throw bad(`${value} cannot be the ${what} port: ports are numbers from 1 to 65535.`);
  return { hostAddress, hostPort, guestPort, protocol };
}

/** "directory:path[:ro]". Relative directories are the caller's. @throws HostError "bad-option" */
export function parseVolume(text: string): Required<VolumeOptions> {
  const match = /^(.+?):(\/.*?)(?::(ro|rw))?$/.exec(text);
  if (match === null)
    throw bad(
      `The volume ${shown(text)} is not understood: write directory:/path/in/the/guest, with :ro for read-only.`,
    );
  return checkVolume({ host: match[1], guest: match[2], readOnly: match[3] === "ro" });
}
function checkVolume({ host, guest, readOnly = false }: VolumeOptions): Required<VolumeOptions> {
  return { host: resolve(host), guest: checkGuestPath(guest), readOnly };
}
function checkGuestPath(path: string): string {
  const normal = posix.normalize(path);
  if (!isAbsolute(path) || normal === "/" || path.includes("\0"))
    throw bad(`${shown(path)} cannot be mounted on: give an absolute path of the guest's, and not /.`);
  return normal.replace(/\/$/, "");
}

/** "name-or-file[:path][,ro]". @throws HostError "bad-option" */
export function parseDisk(text: string): VmConfig["disks"][number] {
  const match = /^(.+?)(?::(\/[^,]*))?(,ro)?$/.exec(text);
  if (match === null) throw bad(`The disk ${shown(text)} is not understood: write NAME, FILE or NAME:/path, and ,ro.`);
  return checkDisk({
    disk: match[1],
    ...(match[2] !== undefined && { guest: match[2] }),
    readOnly: match[3] !== undefined,
  });
}
function checkDisk({ disk, guest, readOnly = false }: DiskOptions): VmConfig["disks"][number] {
  return {
    disk: disk.includes("/") ? resolve(disk) : disk,
    guest: guest === undefined ? null : checkGuestPath(guest),
    readOnly,
  };
}

function checkNetwork(network: VmOptions["network"]): VmConfig["network"] {
  const {
    mode = "nat",
    name,
    address,
    gateway,
    allow = [],
    deny = [],
    dns = [],
  }: NetworkOptions = typeof network === "string" ? { mode: network } : (network ?? {});
  if (mode !== "nat" && mode !== "none" && !/^tap=[a-zA-Z0-9_.-]{1,15}$/.test(mode))
    throw bad(`There is no network ${shown(mode)}: take nat, none or tap=NAME.`);
  if (name !== undefined && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(name))
    throw bad(`${shown(name)} cannot be a network's name: take letters, digits, "_", "." and "-".`);
  const tap = mode.startsWith("tap=");
  if (!tap && (address !== undefined || gateway !== undefined))
    throw bad("An address and a gateway are given for a TAP device only; NAT gives them itself.");
  if (address !== undefined && (parseCidr(address) === undefined || !address.includes("/")))
    throw bad(`${shown(address)} is no address with a prefix: write 192.168.7.2/24.`);
  for (const each of [...(gateway === undefined ? [] : [gateway]), ...(tap ? dns : [])])
    if (parseIpv4(each) === undefined) throw bad(`${shown(each)} is no IPv4 address.`);
  return {
    mode,
    name: name ?? null,
    address: address ?? null,
    gateway: gateway ?? null,
    allow: [...allow],
    deny: [...deny],
    dns: [...dns],
  };
}

function checkWords(what: string, words: readonly string[] | undefined): readonly string[] | null {
  if (words === undefined) return null;
  if (words.some((word) => word.includes("\0"))) throw bad(`${what} cannot contain NUL characters.`);
  return [...words];
}
function checkEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  for (const [name, value] of Object.entries(env))
    if (name === "" || name.includes("=") || name.includes("\0") || value.includes("\0"))
      throw bad(`${shown(name)} cannot be a variable of the environment: names have no "=", and nothing has NUL.`);
  return { ...env };
}

/** Checks options and completes them. @throws HostError "bad-option" */
export function resolveVmOptions(options: VmOptions): VmConfig {
  const { cpus = 1, hostname } = options;
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MOST_CPUS)
    throw bad(`A VM has 1 to ${MOST_CPUS} CPUs, not ${cpus} (this host has ${availableParallelism()}).`);
  if (hostname !== undefined && !HOSTNAME.test(hostname))
    throw bad(`${shown(hostname)} cannot be a host name: take letters, digits, "." and "-".`);
  if (options.timezone !== undefined && !/^[A-Za-z0-9_+-]+(\/[A-Za-z0-9_+-]+)*$/.test(options.timezone))
    throw bad(`${shown(options.timezone)} is no time zone: take a name such as Europe/Zurich or UTC.`);
  return {
    image: options.image ?? "debian",
    cpus,
    memoryBytes: sizeWithin("The memory", options.memory, MEMORY),
    codeCacheBytes: sizeWithin("The code cache", options.codeCache, CODE_CACHE),
    keptCode: options.keptCode ?? true,
    translator: checkTranslator(options.translator),
    command: checkWords("The command", options.command),
    entrypoint: checkWords("The entrypoint", options.entrypoint),
    tty: options.tty ?? false,
    stdin: options.stdin ?? false,
    env: checkEnvironment(options.env ?? {}),
    user: options.user ?? null,
    workingDirectory: options.workingDirectory ?? null,
    hostname: hostname ?? null,
    network: checkNetwork(options.network),
    ports: (options.ports ?? []).map((port) => (typeof port === "string" ? parsePort(port) : checkPort(port))),
    volumes: (options.volumes ?? []).map((v) => (typeof v === "string" ? parseVolume(v) : checkVolume(v))),
    disks: (options.disks ?? []).map((disk) => (typeof disk === "string" ? parseDisk(disk) : checkDisk(disk))),
    timezone: options.timezone ?? null,
    sshKeys: [...(options.sshKeys ?? [])],
    cloudInit: options.cloudInit ?? null,
    init: options.init ?? false,
    kernel: options.kernel ?? null,
    pull: options.pull ?? "missing",
    logs: options.logs ?? true,
    ephemeral: options.ephemeral ?? true,
  };
}
