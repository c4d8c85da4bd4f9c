/* A VM in this process: from its options to a running machine with an agent, a main process and a door for other processes, and to its end. On the main thread. */
import type { Duplex, Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { setTimeout } from "node:timers/promises";
import { AgentError } from "../agent/agent-error.ts";
import { AgentClient, type AgentReady } from "../agent/client.ts";
import { signalNumber } from "../agent/exec.ts";
import { copyOverlay } from "../disk/merge.ts";
import type { StoredImage } from "../image/store/stored-image.ts";
import type { FileLock } from "../image/store/file-lock.ts";
import { LastLines } from "../vm/last-lines.ts";
import type { Machine, MachineEnd } from "../vm/machine.ts";
import { ControlServer, type VmLink } from "./control.ts";
import { HostError } from "./host-error.ts";
import { mainCommand, processDefaults } from "./main-process.ts";
import { type MachineParts, type PartsSurroundings, assembleMachine } from "./machine-parts.ts";
import { type VmMetrics, metricsOf } from "./metrics.ts";
import { OutputLog } from "./output-log.ts";
import { type ProcessExit, type VmProcess, startProcess } from "./process.ts";
import type { VmConfig } from "./vm-config.ts";
import type { VmDirectories, VmRecord } from "./vm-directory.ts";

/** The guest's kernel and agent have this long on a machine that is busy with other things. */
const READY_MS = 120_000;
/** File systems are written and the guest powers off within this, or it is stopped where it is. */
const POWER_OFF_MS = 10_000;
const INIT_GRACE_MS = 60_000;
/** A guest that shuts down, with an init of its own perhaps, has ended by then. */
const MAIN_LOST_MS = 90_000;
/** Who reads a main process's output has begun by then. */
const FIRST_READ_MS = 1000;
/** Where the image says nothing that is one. */
const DEFAULT_STOP_SIGNAL = "SIGTERM";

export interface LocalVmOptions extends PartsSurroundings {
  readonly directories: VmDirectories;
  /** The size of the main process's terminal. */
  readonly terminal?: { readonly columns: number; readonly rows: number };
}

export class LocalVm implements VmLink {
  readonly #directories: VmDirectories;
  readonly #options: LocalVmOptions;
  readonly #resources = new AsyncDisposableStack();
  /** Says that it lives. */
  readonly #lock: FileLock;
  readonly #serial = new LastLines();
  readonly #ended = Promise.withResolvers<VmRecord>();
  readonly #gone = Promise.withResolvers<void>();
  #record: VmRecord;
  #parts!: MachineParts;
  #machine!: Machine;
  #agent!: AgentClient;
  #control: ControlServer | undefined;
  #main: VmProcess | undefined;
  #mainExit: ProcessExit | undefined;
  #stopping: Promise<void> | undefined;

  private constructor(record: VmRecord, lock: FileLock, options: LocalVmOptions) {
    this.#record = record;
    this.#lock = lock;
    this.#directories = options.directories;
    this.#options = options;
    this.#ended.promise.catch(() => undefined);
  }

  /** Creates the VM and waits until its agent answers and its main process, if it has one, runs.
   *  @throws HostError and the errors of images, disks, network, kernel and agent; nothing is left then */
  static async create(name: string | undefined, config: VmConfig, options: LocalVmOptions): Promise<LocalVm> {
    const { directories, signal } = options;
    const { lock, ...claimed } = await directories.create(name);
    const record: VmRecord = {
      ...claimed,
      config,
      defaults: { env: {}, user: "", workingDirectory: "/" },
      status: "starting",
      createdAt: new Date().toISOString(),
      pid: process.pid,
      ports: [],
      ephemeral: config.ephemeral,
    };
    const vm = new LocalVm(record, lock, options);
    try {
      await directories.save(record);
      signal?.throwIfAborted();
      await vm.#boot();
      return vm;
    } catch (error) {
      await vm.#abandon(error);
      throw error;
    }
  }

  get record(): VmRecord {
    return this.#record;
  }
  /** Its streams, for the one who created it. Output that nobody reads stops the process; it is read for the log if there is one. */
  get main(): VmProcess | undefined {
    return this.#main;
  }

  /** Resolves when nothing of it is left in this process. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  async #boot(): Promise<void> {
    const { config, id, name } = this.#record;
    const directory = this.#directories.path(id);
    this.#parts = await assembleMachine({ config, id, name, directory }, this.#resources, this.#options, (bytes) =>
      this.#serial.push(bytes),
    );
    const { machine, image, vsock } = this.#parts;
    this.#machine = machine;
    const defaults = processDefaults(config, image.config);
    const command = mainCommand(config, image.config);
    this.#agent = new AgentClient(vsock);
    this.#resources.defer(() => this.#agent.close());
    const startedAt = performance.now();
    machine.start();
    const end = machine.wait();
    const { agentStartedUs, readyUs, complaints } = await this.#untilReady(end);
    const readyMs = performance.now() - startedAt;
    this.#record = {
      ...this.#record,
      status: "running",
      defaults,
      startedAt: new Date().toISOString(),
      readyAfter: { readyMs, agentMs: (readyUs - agentStartedUs) / 1000 },
      complaints,
      ports: this.#parts.ports,
    };
    // What is said to run can be reached.
    this.#control = await ControlServer.listen(this.#directories.path(id, "control.sock"), this);
    await this.#directories.save(this.#record);
    if (command !== undefined) await this.#startMain(command);
    this.#options.signal?.throwIfAborted();
    void this.#watch(end);
  }

  /** Waits for the agent; a guest that ends instead, or never answers, has failed. */
  async #untilReady(end: Promise<MachineEnd>): Promise<AgentReady> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const ready = new AbortController();
    const stopped = Promise.withResolvers<never>();
    const onAbort = (): void => stopped.reject(signal!.reason as Error);
    signal?.addEventListener("abort", onAbort, { once: true });
    const early = end.then((how): never => {
      throw this.#bootFailed(`the guest ended before it was ready (${how.reason})`, how.detail);
    });
    early.catch(() => undefined);
    try {
      return await Promise.race([
        this.#agent.ready(READY_MS, ready.signal).catch((error: unknown): never => {
          throw this.#bootFailed((error as Error).message.replace(/\.$/, ""), undefined, error);
        }),
        early,
        stopped.promise,
      ]);
    } finally {
      ready.abort();
      signal?.removeEventListener("abort", onAbort);
    }
  }
  #bootFailed(what: string, detail: string | undefined, cause?: unknown): HostError {
    const lines = this.#serial.lines();
    const told = lines.length > 0 ? ["The last lines of its serial port:", ...lines.map((line) => `  ${line}`)] : [];
    const parts = [`The VM did not start: ${what}.`, ...(detail === undefined ? [] : [detail.trimEnd()]), ...told];
    return new HostError("boot-failed", parts.join("\n"), cause);
  }

  async #startMain(command: readonly string[]): Promise<void> {
    const { config, defaults, id } = this.#record;
    const { columns = 80, rows = 24 } = this.#options.terminal ?? {};
    const start = (): Promise<VmProcess> =>
      startProcess(this.#agent, defaults, command, {
        ...(config.tty && { tty: { columns, rows } }),
        ...(config.tty &&
          config.env["TERM"] === undefined &&
          process.env["TERM"] !== undefined && { env: { TERM: process.env["TERM"] } }),
      });
    this.#main = await start().catch(async (error: unknown) => {
      if (!(error instanceof AgentError) || error.code !== "no-such-directory") throw error;
      // As container runtimes do: the directory that an image, or the user, names for its command is made.
      await this.#agent.makeDirectory(defaults.workingDirectory, { parents: true });
      return start();
    });
    this.#main.stdin.on("error", () => undefined);
    if (!config.stdin) this.#main.stdin.end();
    if (config.logs) {
      const log = new OutputLog(this.#directories.path(id, "output.log"));
      this.#resources.defer(() => log.close());
      void record(this.#main, log);
    }
    void this.#main.exit.then(
      (exit) => this.#onMainExit(exit),
      () => this.#onMainLost(),
    );
  }
  async #onMainExit(exit: ProcessExit): Promise<void> {
    this.#mainExit = exit;
    await Promise.all([this.#main!.stdout, this.#main!.stderr].map(readToEnd));
    await this.#powerOff();
  }

  /** The machine's end says why; a guest that goes on without its main process does so for nothing. */
  async #onMainLost(): Promise<void> {
    const ended = this.#ended.promise.catch((error: unknown) => error);
    const how = await Promise.race([ended, aborted(AbortSignal.timeout(MAIN_LOST_MS))]);
    if (how === undefined) await this.#powerOff();
  }

  /** Writes file systems that somebody will see again, and ends the machine. */
  async #powerOff(): Promise<void> {
    this.#stopping ??= (async () => {
      const { config } = this.#record;
      if (this.#parts.mustSync) {
        // An init of the image stops its services first.
        const over = AbortSignal.timeout(config.init ? POWER_OFF_MS + INIT_GRACE_MS : POWER_OFF_MS);
        await this.#agent
          .powerOff({ signal: over, ...(config.init && { graceMs: INIT_GRACE_MS }) })
          .catch(() => undefined);
        await Promise.race([this.#machine.wait().catch(() => undefined), aborted(over)]);
      }
      await this.#machine.stop();
    })();
    await this.#stopping;
  }

  async #watch(end: Promise<MachineEnd>): Promise<void> {
    const how = await end.catch((error: unknown) => error as Error);
    await this.#resources.disposeAsync().catch(() => undefined);
    const crashed = how instanceof Error || how.reason === "shutdown" || how.reason === "panic";
    const reason = how instanceof Error ? how.message : this.#reasonOf(how);
    this.#record = {
      ...this.#record,
      status: crashed ? "failed" : "exited",
      endedAt: new Date().toISOString(),
      ...(this.#mainExit !== undefined && { exitCode: this.#mainExit.exitCode }),
      ...(reason !== undefined && { reason }),
    };
    await this.#keepOrRemove();
    this.#lock.release();
    this.#ended.resolve(this.#record);
    // Whoever waits in another process is told first.
    await this.#control?.close();
    this.#gone.resolve();
  }
  #reasonOf({ reason, detail }: MachineEnd): string | undefined {
    if (reason === "stopped") return this.#mainExit === undefined ? "stopped" : undefined;
    if (reason === "poweroff") return this.#mainExit === undefined ? "the guest powered off" : undefined;
    if (reason === "reset") return "the guest rebooted";
    const what =
      reason === "panic" ? "the guest's kernel panicked" : "the guest's processor shut down (a triple fault)";
    const lines = this.#serial.lines().map((line) => `  ${line}`);
    return [
      what,
      ...(detail === undefined ? [] : [detail.trimEnd()]),
      "The last lines of its serial port:",
      ...lines,
    ].join("\n");
  }
  async #keepOrRemove(): Promise<void> {
    const { id, name, ephemeral } = this.#record;
    if (ephemeral) await this.#directories.remove(id, name).catch(() => undefined);
    else await this.#directories.save(this.#record).catch(() => undefined);
  }
  /** After a failure on the way up. */
  async #abandon(error: unknown): Promise<void> {
    await this.#machine?.stop().catch(() => undefined);
    // Before the door closes, which waits for those who wait for the end.
    this.#ended.reject(error);
    await this.#control?.close();
    await this.#resources.disposeAsync().catch(() => undefined);
    const { id, name } = this.#record;
    await this.#directories.remove(id, name).catch(() => undefined);
    this.#lock.release();
  }

  // ——— VmLink ———
  async connect(port: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<Duplex> {
    return this.#parts.vsock.connect(port, options);
  }
  async request(op: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    switch (op) {
      case "metrics":
        return this.#metrics();
      case "signal":
        return this.#signal(String(args["signal"]));
      case "stop":
        return this.#stop(Number(args["timeoutMs"]));
      case "kill":
        await this.#machine.stop();
        return this.#ended.promise;
      case "commit":
        return this.#commit(String(args["name"]));
      case "wait":
        return this.#ended.promise;
      default:
        throw new HostError("unreachable", `A VM cannot ${JSON.stringify(op)}: is the other side a newer Mere?`);
    }
  }
  async #metrics(): Promise<VmMetrics> {
    const counters = await this.#parts.counters();
    return metricsOf(this.#machine.stats(), this.#record.config, counters);
  }
  async #commit(name: string): Promise<StoredImage> {
    const { image, root } = this.#parts;
    const writeDisk = async (path: string): Promise<void> => {
      // What there is to write is written before others have to wait for it.
      await this.#agent.sync();
      await this.#agent.frozen(() => copyOverlay(root, path));
    };
    return this.#options.images.commit({ base: image, config: image.config, name, writeDisk });
  }
  #signal(signal: string): void {
    if (this.#main === undefined)
      throw new HostError("bad-option", `The VM ${this.#record.name} has no main process that could get ${signal}.`);
    this.#main.kill(signal);
  }
  async #stop(timeoutMs: number): Promise<VmRecord> {
    if (this.#main !== undefined && this.#mainExit === undefined) {
      this.#main.kill(stopSignalOf(this.#parts.image.config.stopSignal));
      const ended = await Promise.race([this.#ended.promise, aborted(AbortSignal.timeout(timeoutMs))]);
      if (ended !== undefined) return ended;
    }
    await this.#powerOff();
    return this.#ended.promise;
  }
}

/** What a process printed last may still be on its way: whoever reads it gets it before the machine ends. A short command may have ended before its caller
 *  begins to read. */
async function readToEnd(stream: Readable): Promise<void> {
  const isRead = (): boolean => stream.readableFlowing !== null || stream.listenerCount("readable") > 0;
  if (!isRead()) await setTimeout(FIRST_READ_MS);
  if (isRead()) await finished(stream, { writable: false }).catch(() => undefined);
}

/** Reads what a process prints into the log, each stream in its own time. */
async function record(main: VmProcess, log: OutputLog): Promise<void> {
  const read = async (stream: "stdout" | "stderr"): Promise<void> => {
    for await (const chunk of main[stream] as AsyncIterable<Uint8Array>) await log.append(stream, chunk);
  };
  await Promise.allSettled([read("stdout"), read("stderr")]);
}

/** An image may say any word. */
function stopSignalOf(text: string): string {
  try {
    signalNumber(text);
    return text;
  } catch {
    return DEFAULT_STOP_SIGNAL;
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
