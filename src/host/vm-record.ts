/* What is known of a VM without asking it: vm.json. Whoever may write where VMs are kept may write anything into it, so what is read is looked at. */
import type { ProcessDefaults } from "./main-process.ts";
import type { VmConfig } from "./vm-config.ts";

const STATUSES = ["starting", "running", "exited", "failed"] as const;
export type VmStatus = (typeof STATUSES)[number];

/** Plain data. */
export interface VmRecord {
  /** 12 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly config: VmConfig;
  /** What programs in it get, unless they say otherwise. */
  readonly defaults: ProcessDefaults;
  readonly status: VmStatus;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly startedAt?: string;
  readonly endedAt?: string;
  /** What was asked for and could not be done in the guest: sentences. */
  readonly complaints?: readonly string[];
  /** From the machine's start until the agent answered, and the part of it that was the agent's; the rest was the kernel's. In milliseconds. */
  readonly readyAfter?: { readonly readyMs: number; readonly agentMs: number };
  /** Of the process that it runs in, where that sees it. Whether it lives says the lock of the directory. */
  readonly pid: number;
  /** The main command's, once it ended: 0–255; 128 + n after signal n. */
  readonly exitCode?: number;
  /** Why it failed, or what ended it. */
  readonly reason?: string;
  /** The host's side of forwarded ports, as they were really opened. */
  readonly ports: readonly PortRecord[];
  /** Is the directory removed when the VM ends? */
  readonly ephemeral: boolean;
}
/** One forwarded port. */
export interface PortRecord {
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: "tcp" | "udp";
}

type Fields = Readonly<Record<string, unknown>>;

/** @param id that the directory tells  @returns undefined if this is no record of that VM */
export function parseRecord(text: string, id: string): VmRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) && value["id"] === id && isRecord(value) ? (value as unknown as VmRecord) : undefined;
  } catch {
    return undefined;
  }
}

function isRecord({ name, config, defaults, status, createdAt, pid, ports, ephemeral }: Fields): boolean {
  return (
    typeof name === "string" &&
    STATUSES.some((known) => known === status) &&
    typeof createdAt === "string" &&
    Number.isInteger(pid) &&
    typeof ephemeral === "boolean" &&
    Array.isArray(ports) &&
    ports.every(isPort) &&
    isFields(defaults) &&
    isFields(defaults["env"]) &&
    Object.values(defaults["env"]).every(isText) &&
    isText(defaults["user"]) &&
    isText(defaults["workingDirectory"]) &&
    isFields(config) &&
    isText(config["image"]) &&
    (config["command"] === null || (Array.isArray(config["command"]) && config["command"].every(isText)))
  );
}
function isPort(value: unknown): boolean {
  if (!isFields(value)) return false;
  const { hostAddress, hostPort, guestPort, protocol } = value;
  return isText(hostAddress) && Number.isInteger(hostPort) && Number.isInteger(guestPort) && isText(protocol);
}
function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
function isText(value: unknown): boolean {
  return typeof value === "string";
}
