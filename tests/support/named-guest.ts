/* A Linux guest on a named network: in this process, or in one of its own that does what it is told over the channel (run this file for that). */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { NetDevice } from "../../src/device/virtio/net.ts";
import { NamedNetworks } from "../../src/host/named-networks.ts";
import { resolveVmOptions } from "../../src/host/vm-config.ts";
import { formatIpv4 } from "../../src/net/address.ts";
import { NetGuest } from "./net-guest.ts";

export interface NamedGuestOptions {
  readonly state: string;
  readonly network: string;
  readonly mac: number;
  readonly hostname: string;
}
export interface NamedGuest extends AsyncDisposable {
  /** "10.128.0.3" */
  readonly address: string;
  /** Runs a shell line; throws unless its status is 0. @returns what it printed */
  run(line: string): Promise<string>;
}
type Answer = { readonly ok: string } | { readonly error: string };

/** Boots a guest whose address is set and whose name server is the network's. */
export async function bootNamedGuest({ state, network, mac, hostname }: NamedGuestOptions): Promise<NamedGuest> {
  await using resources = new AsyncDisposableStack();
  const config = resolveVmOptions({ network: { name: network } });
  const joined = await new NamedNetworks(state).join(network, config, mac, hostname, resources);
  const device = new NetDevice({ mac });
  device.plug(joined.switch.connect(device, { mac, ipv4: joined.guest }));
  resources.defer(() => device.unplug());
  const guest = resources.use(await NetGuest.boot({ devices: [device] }));
  const address = formatIpv4(joined.guest);
  await guest.run(`ifconfig eth0 ${address} netmask 255.255.248.0 up`);
  await guest.run(`mkdir -p /etc && echo nameserver ${formatIpv4(joined.dns)} > /etc/resolv.conf`);
  const kept = resources.move();
  return { address, run: (line) => guest.run(line), [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** The same in a process of its own. */
export async function forkNamedGuest(options: NamedGuestOptions): Promise<NamedGuest> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(options)]);
  const address = await answerOf(child);
  return {
    address,
    run: (line) => {
      child.send(line);
      return answerOf(child);
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}
async function answerOf(child: ChildProcess): Promise<string> {
  const answer = await new Promise<Answer>((resolve) => {
    const onExit = (): void => resolve({ error: "the guest's process ended" });
    child.once("exit", onExit);
    child.once("message", (message: Answer) => {
      child.off("exit", onExit);
      resolve(message);
    });
  });
  if ("error" in answer) throw new Error(answer.error);
  return answer.ok;
}

if (import.meta.main) {
  const tell = (answer: Promise<string>): void =>
    void answer.then(
      (ok) => process.send!({ ok }),
      (error: unknown) => process.send!({ error: String(error) }),
    );
  const guest = bootNamedGuest(JSON.parse(process.argv[2]!) as NamedGuestOptions);
  tell(guest.then(({ address }) => address));
  process.on("message", (line: string) => tell(guest.then((booted) => booted.run(line))));
  process.on("disconnect", () => process.exit(1));
}
