/* The network of the benchmark's guests: a server on the host (bench/programs/net.c), and Mere's own device and gateway for a VM that is not made by `mere run`. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { NetDevice } from "../src/device/virtio/net.ts";
import { ISOLATED, formatIpv4, macOf, maskOf } from "../src/net/address.ts";
import { type Gateway, openGateway } from "../src/net/nat/gateway.ts";
import { Policy, parseRule } from "../src/net/policy.ts";
import { Switch } from "../src/net/switch.ts";

/** What a guest is told: those of Mere and of QEMU's user network are the same. */
export const GUEST_ADDRESS: string = formatIpv4(ISOLATED.guest);
export const GUEST_NETMASK: string = formatIpv4(maskOf(ISOLATED.network.prefix));
/** Where a guest finds the host's 127.0.0.1. */
export const HOST_ADDRESS: string = formatIpv4(ISOLATED.gateway);

/** A server for one run of the programs. */
export interface Peer {
  readonly port: number;
  close(): void;
}

/** @param programs directory of the compiled programs @throws Error when it does not start */
export async function startPeer(programs: string): Promise<Peer> {
  const child: ChildProcess = spawn(join(programs, "net"), ["serve"], { stdio: ["ignore", "pipe", "inherit"] });
  const close = (): void => void child.kill();
  for await (const line of createInterface({ input: child.stdout! })) return { port: Number(line), close };
  throw new Error("the server of the network's benchmark did not start");
}

/** A network device on a segment of its own with a gateway that lets the guest reach the host. The caller closes the gateway. */
export async function benchNetwork(): Promise<{ device: NetDevice; gateway: Gateway }> {
  const mac = macOf("bench");
  const device = new NetDevice({ mac });
  const segment = new Switch();
  device.plug(segment.connect(device, { mac, ipv4: ISOLATED.guest }));
  const late: { gateway?: Gateway } = {};
  const cable = segment.connect({ receive: (packet) => late.gateway!.receive(packet) });
  const gateway = await openGateway({
    ...ISOLATED,
    cable,
    guests: [{ ipv4: ISOLATED.guest, mac }],
    policy: new Policy([parseRule("allow", "host")]),
  });
  late.gateway = gateway;
  return { device, gateway };
}
