/* A VM as programs see it, whether it runs in this process or in another. */
import { AgentClient } from "../agent/client.ts";
import { HostError } from "./host-error.ts";
import type { StoredImage } from "../image/store/stored-image.ts";
import type { VmLink } from "./control.ts";
import { VmFiles } from "./files.ts";
import { type LogEntry, type LogOptions, readLog } from "./output-log.ts";
import {
  type Command,
  type ExecOptions,
  type ExecResult,
  type StartOptions,
  type VmProcess,
  execProcess,
  startProcess,
} from "./process.ts";
import type { PortRecord, VmDirectories, VmRecord } from "./vm-directory.ts";
import type { VmMetrics } from "./metrics.ts";

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A handle; the VM itself goes on when nobody holds one, unless it was created in this process. */
export class Vm {
  readonly id: string;
  readonly name: string;
  /** In the guest: read, write, list, … */
  readonly files: VmFiles;
  protected readonly link: VmLink;
  protected readonly directories: VmDirectories;
  protected readonly agent: AgentClient;

  constructor(record: VmRecord, link: VmLink, directories: VmDirectories) {
    this.id = record.id;
    this.name = record.name;
    this.link = link;
    this.directories = directories;
    // Whoever started the VM has heard that it is ready.
    this.agent = new AgentClient({
      connect: (port, { signal }) => link.connect(port, { signal }),
      listen: () => () => undefined,
    });
    this.files = new VmFiles(this.agent);
  }

  /** What is known of it: status, configuration, ports, exit code. @throws HostError "no-such-vm" once it was removed */
  async inspect(): Promise<VmRecord> {
    const record = await this.directories.load(this.id);
    if (record !== undefined) return record;
    throw new HostError("no-such-vm", `The VM ${this.name} is not there any more.`);
  }

  /** Starts a program whose streams are used while it runs. @throws AgentError "not-found", … if it cannot be started */
  async start(command: Command, options?: StartOptions): Promise<VmProcess> {
    return startProcess(this.agent, (await this.inspect()).defaults, command, options);
  }
  /** Runs a program to its end. @throws AgentError if it cannot be started, HostError "timeout" */
  async exec(command: Command, options?: ExecOptions): Promise<ExecResult> {
    return execProcess(this.agent, (await this.inspect()).defaults, command, options);
  }

  /** The host's side of a forwarded port. @throws HostError "bad-option" if it is not forwarded */
  async port(guestPort: number, protocol: "tcp" | "udp" = "tcp"): Promise<PortRecord> {
    const { ports } = await this.inspect();
    const found = ports.find((port) => port.guestPort === guestPort && port.protocol === protocol);
    if (found !== undefined) return found;
    throw new HostError(
      "bad-option",
      `Port ${guestPort}/${protocol} of ${this.name} is not forwarded; say so when the VM is created: "${guestPort}" among its ports.`,
    );
  }

  /** What the main process printed. */
  async *logs(options: LogOptions = {}): AsyncGenerator<LogEntry> {
    // Nobody waits any more for the VM's end when the loop is left.
    const left = new AbortController();
    const waited = options.follow === true ? this.link.request("wait", {}, left.signal) : Promise.resolve();
    const ended = waited.catch(() => undefined);
    try {
      yield* readLog(this.directories.path(this.id, "output.log"), options, ended);
    } finally {
      left.abort();
    }
  }
  /** What it uses now. */
  async metrics(): Promise<VmMetrics> {
    return (await this.link.request("metrics")) as VmMetrics;
  }

  /** Makes an image of its root disk as it is now, under a name of one's own, with the configuration of the VM's image. Programs that write to the root wait for
   *  some seconds. What other disks and shared directories have is not in it. @throws ImageError "bad-reference"; HostError "not-running": a VM that has ended has no root disk any more */
  async commit(name: string, { signal }: { signal?: AbortSignal } = {}): Promise<StoredImage> {
    return (await this.link.request("commit", { name }, signal)) as StoredImage;
  }

  /** Sends a signal to the main process. @param signal "SIGTERM", … */
  async signal(signal: string): Promise<void> {
    await this.link.request("signal", { signal });
  }
  /** Stops it in order: the main process gets the image's stop signal, file systems are written; after `timeoutMs` (10 s if absent) as kill(). */
  async stop({ timeoutMs = 10_000 }: { timeoutMs?: number } = {}): Promise<VmRecord> {
    const finiteMs = Math.min(Math.max(timeoutMs, 0), LONGEST_TIMER_MS);
    return (await this.link.request("stop", { timeoutMs: finiteMs })) as VmRecord;
  }
  /** Stops it where it is: what was not synced is lost. */
  async kill(): Promise<VmRecord> {
    return (await this.link.request("kill")) as VmRecord;
  }
  /** Waits until it has ended. @returns its last record, with the main process's exit code */
  async wait(): Promise<VmRecord> {
    return (await this.link.request("wait")) as VmRecord;
  }
  /** Removes what is left of a VM that has ended. @throws HostError "still-running" */
  async remove(): Promise<void> {
    const record = await this.inspect();
    if (record.status === "running" || record.status === "starting")
      throw new HostError("still-running", `The VM ${this.name} runs; stop it first, or kill it.`);
    await this.directories.remove(this.id, this.name);
  }
}
