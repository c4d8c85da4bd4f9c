/* Creates a VM in a process of its own, which goes on when this one ends. */
import { fork } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { HostError, type HostErrorCode } from "./host-error.ts";
import type { CreateProgress, HostPlaces } from "./host.ts";
import type { VmOptions } from "./vm-config.ts";
import type { VmRecord } from "./vm-directory.ts";

/** What the new process is told. */
export interface DetachedOrder {
  readonly places: HostPlaces;
  readonly options: VmOptions;
}
/** What it tells. */
export type DetachedMessage =
  | {
      readonly kind: "progress";
      readonly phase: Parameters<CreateProgress>[0];
      readonly done: number;
      readonly total: number;
    }
  | { readonly kind: "created"; readonly record: VmRecord }
  | { readonly kind: "failed"; readonly name: string; readonly code: string; readonly message: string };

/** @returns the VM's record once it runs: it may have ended, and left nothing, by now @throws what Host.create() throws */
export async function createDetached(
  order: DetachedOrder,
  stateDirectory: string,
  { signal, onProgress }: { signal?: AbortSignal | undefined; onProgress?: CreateProgress | undefined },
): Promise<VmRecord> {
  signal?.throwIfAborted();
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
  // What the process says unasked: defects of Mere's.
  const log = openSync(join(stateDirectory, "processes.log"), "a", 0o600);
  const child = fork(new URL(`./vm-process${extension}`, import.meta.url), [], {
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  const created = Promise.withResolvers<VmRecord>();
  child.on("message", (message: DetachedMessage) => {
    if (message.kind === "progress") onProgress?.(message.phase, message.done, message.total);
    else if (message.kind === "created") created.resolve(message.record);
    else created.reject(asError(message));
  });
  // It may come more than once: what cannot be started cannot be sent anything either.
  child.on("error", (error) =>
    created.reject(new HostError("state", `No process can be started for the VM: ${error.message}.`, error)),
  );
  child.once("exit", (code, how) =>
    created.reject(
      new HostError(
        "boot-failed",
        `The VM's process ended (${how ?? `status ${code ?? 0}`}) before the VM ran; see ${join(stateDirectory, "processes.log")}.`,
      ),
    ),
  );
  const onAbort = (): void => created.reject(signal!.reason as Error);
  signal?.addEventListener("abort", onAbort, { once: true });
  child.send(order);
  try {
    return await created.promise;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    // To the child this is the end of the connection: it stops what it has not finished.
    if (child.connected) child.disconnect();
    child.unref();
  }
}

/** Errors of other areas keep their name and code. */
function asError({ name, code, message }: Extract<DetachedMessage, { kind: "failed" }>): Error {
  if (name === "HostError") return new HostError(code as HostErrorCode, message);
  return Object.assign(new Error(message), { name, ...(code !== "" && { code }) });
}
