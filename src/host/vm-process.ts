/* The process of a VM that goes on when the one that created it has ended (`mere run -d`). Started by detached.ts, which tells it what to create over the
 * channel and hears how it went; then nothing joins the two. Entry point; imported by nothing. */
import { HostError } from "./host-error.ts";
import type { DetachedMessage, DetachedOrder } from "./detached.ts";
import { Host } from "./host.ts";
import type { OwnVm } from "./own-vm.ts";

const creating = new AbortController();
// Whoever wanted the VM is gone before it was there.
const onDisconnect = (): void => creating.abort(new HostError("timeout", "The VM was not wanted any more."));
let running: OwnVm | undefined;

function tell(message: DetachedMessage): Promise<void> {
  return new Promise((resolve) => {
    const send = process.send?.bind(process);
    if (send === undefined || !process.connected) resolve();
    else send(message, undefined, {}, () => resolve());
  });
}

async function serve({ places, options }: DetachedOrder): Promise<void> {
  const host = new Host(places);
  try {
    const vm = await host.create({
      ...options,
      signal: creating.signal,
      onProgress: (phase, done, total) => void tell({ kind: "progress", phase, done, total }),
    });
    running = vm;
    process.off("disconnect", onDisconnect);
    await tell({ kind: "created", record: await vm.inspect() });
    if (process.connected) process.disconnect?.();
    await vm.wait();
    process.exit(0);
  } catch (error) {
    const { code, message, name } = error as Error & { code?: string };
    await tell({ kind: "failed", name, code: code ?? "", message });
    process.exit(1);
  }
}

process.once("disconnect", onDisconnect);
// A machine that shuts down: disks are written first.
process.on("SIGTERM", () => {
  creating.abort(new HostError("timeout", "The VM's process was told to end."));
  void running?.stop();
});
// A terminal that closes is not the VM's.
process.on("SIGHUP", () => undefined);
process.on("SIGINT", () => undefined);
process.once("message", (order: DetachedOrder) => void serve(order));
