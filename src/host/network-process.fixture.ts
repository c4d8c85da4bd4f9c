/* A process with VMs on named networks, for tests: does what its parent says over the channel, and tells what comes. */
import type { Cable, NetworkEndpoint, Packet } from "../net/packet.ts";
import { NamedNetworks } from "./named-networks.ts";
import { resolveVmOptions } from "./vm-config.ts";

export interface ProcessOrder {
  readonly order: "join" | "leave" | "send" | "crash";
  readonly network?: string;
  readonly mac?: number;
  readonly hostname?: string;
  readonly deny?: readonly string[];
  readonly frame?: string;
}
export type ProcessReport =
  | { readonly report: "joined"; readonly ipv4: number }
  | { readonly report: "left" }
  | { readonly report: "refused"; readonly code: string; readonly message: string }
  | { readonly report: "frame"; readonly frame: string };

const networks = new NamedNetworks(process.argv[2]!);
let resources = new AsyncDisposableStack();
let cable: Cable | undefined;
const endpoint: NetworkEndpoint = {
  receive: ({ bytes }: Packet) => {
    tell({ report: "frame", frame: Buffer.from(bytes).toString("base64") });
    return true;
  },
};

function tell(report: ProcessReport): void {
  process.send!(report);
}
async function join({ network = "", mac = 0, hostname = "", deny = [] }: ProcessOrder): Promise<void> {
  const config = resolveVmOptions({ network: { name: network, deny } });
  try {
    const joined = await networks.join(network, config, mac, hostname, resources);
    cable = joined.switch.connect(endpoint, { mac, ipv4: joined.guest });
    tell({ report: "joined", ipv4: joined.guest });
  } catch (error) {
    const { code, message } = error as Error & { code: string };
    tell({ report: "refused", code, message });
  }
}
async function leave(): Promise<void> {
  await resources.disposeAsync();
  resources = new AsyncDisposableStack();
  tell({ report: "left" });
}

process.on("message", (order: ProcessOrder) => {
  if (order.order === "join") void join(order);
  else if (order.order === "leave") void leave();
  else if (order.order === "send") cable!.send({ bytes: Buffer.from(order.frame!, "base64") });
  else process.kill(process.pid, "SIGKILL");
});
