/* For tests: the agent as a program of this machine, behind a Unix socket instead of vsock. What it does with processes and files is what it does in a guest, against a
 * real kernel and without a boot. It then neither mounts nor ends anything of the machine's. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { ensureAgent } from "./build.ts";
import { AgentClient } from "./client.ts";
import type { AgentTransport } from "./requests.ts";

export interface NativeAgent {
  readonly client: AgentClient;
  readonly transport: AgentTransport;
  readonly process: ChildProcess;
  /** A directory for the test's files; removed by stop(). */
  readonly directory: string;
  stop(): Promise<void>;
}

/** Connects to a Unix socket, whatever the port. */
export function socketTransport(path: string): AgentTransport {
  return {
    connect: async () => {
      const socket = connect({ path, allowHalfOpen: true });
      await once(socket, "connect");
      return socket;
    },
    listen: () => () => undefined,
  };
}

/** @param program another build of the agent; the cached one if absent */
export async function startNativeAgent(program?: string): Promise<NativeAgent> {
  const directory = await mkdtemp(join(tmpdir(), "mere-native-agent-"));
  const path = join(directory, "agent.sock");
  const child = spawn(program ?? (await ensureAgent()), ["--listen", path], { stdio: ["ignore", "ignore", "inherit"] });
  const there = (): Promise<boolean> =>
    access(path).then(
      () => true,
      () => false,
    );
  while (!(await there())) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the agent ended: ${String(child.exitCode ?? child.signalCode)}`);
    await setImmediate();
  }
  const transport = socketTransport(path);
  return {
    client: new AgentClient(transport, { timeoutMs: 20_000 }),
    transport,
    process: child,
    directory,
    stop: async () => {
      const ended = once(child, "exit");
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await ended;
      }
      await rm(directory, { recursive: true, force: true });
    },
  };
}
