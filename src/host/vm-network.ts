/* The network of a VM: its device, the switch it hangs on, the gateway or TAP device at the other end, forwarded ports. On the main thread. */
import { NetDevice } from "../device/virtio/net.ts";
import { type Ipv4, ISOLATED, type Mac, formatIpv4, formatMac, macOf } from "../net/address.ts";
import { type Gateway, openGateway } from "../net/nat/gateway.ts";
import type { NetworkEndpoint, Packet } from "../net/packet.ts";
import { Policy, parseRule } from "../net/policy.ts";
import { Switch } from "../net/switch.ts";
import { HostError } from "./host-error.ts";
import type { JoinedNetwork, NamedNetworks } from "./named-networks.ts";
import type { VmConfig } from "./vm-config.ts";
import type { PortRecord } from "./vm-directory.ts";

/** What the guest is told of its interface. Texts as people write them. */
export interface InterfaceConfig {
  readonly mac: string;
  /** "10.0.2.15/24"; undefined where nobody gave one: the guest may ask a DHCP server. */
  readonly address: string | undefined;
  readonly gateway: string | undefined;
  readonly dns: readonly string[];
}
export interface VmNetwork {
  readonly device: NetDevice;
  readonly guest: InterfaceConfig;
  readonly ports: readonly PortRecord[];
}

/** More queues than vCPUs are never used, and Linux takes no more than it has processors. */
const MOST_QUEUE_PAIRS = 4;

/** Connects a VM as its configuration says. What was opened is put on `resources`. @returns undefined for a VM without a network
 *  @throws NetworkError, TapError, AddressError, HostError "bad-option" */
export async function connectNetwork(
  { config, id, name }: { readonly config: VmConfig; readonly id: string; readonly name: string },
  networks: NamedNetworks,
  resources: AsyncDisposableStack,
): Promise<VmNetwork | undefined> {
  const { network } = config;
  if (network.mode === "none") return withoutNetwork(config);
  const mac = macOf(id);
  const device = new NetDevice({ mac, queuePairs: Math.min(config.cpus, MOST_QUEUE_PAIRS) });
  const interfaceMac = formatMac(mac);
  if (network.mode !== "nat") {
    withoutNetwork(config);
    await connectTap(device, mac, network.mode.slice("tap=".length), resources);
    const { address, gateway, dns } = network;
    return {
      device,
      guest: { mac: interfaceMac, address: address ?? undefined, gateway: gateway ?? undefined, dns },
      ports: [],
    };
  }
  const joined =
    network.name === null
      ? await openIsolated(config, mac, config.hostname ?? name, resources)
      : await networks.join(network.name, config, mac, config.hostname ?? name, resources);
  const cable = joined.switch.connect(device, { mac, ipv4: joined.guest });
  device.plug(cable);
  resources.defer(() => {
    device.unplug();
    cable.close();
  });
  return {
    device,
    guest: {
      mac: interfaceMac,
      address: `${formatIpv4(joined.guest)}/${joined.network.prefix}`,
      gateway: formatIpv4(joined.gatewayAddress),
      dns: [formatIpv4(joined.dns)],
    },
    ports: await forwardPorts(joined.gateway, joined.guest, config),
  };
}

function withoutNetwork({ ports, network }: VmConfig): undefined {
  if (ports.length === 0) return undefined;
  throw new HostError(
    "bad-option",
    `Ports are forwarded through NAT only, not with the network ${network.mode}; leave out one of the two.`,
  );
}

/** A gateway's place on a switch, before there is a gateway. */
export async function gatewayOn(
  switched: Switch,
  open: (cable: ReturnType<Switch["connect"]>) => Promise<Gateway>,
): Promise<Gateway> {
  let gateway: Gateway | undefined;
  const endpoint: NetworkEndpoint = { receive: (packet: Packet) => gateway?.receive(packet) ?? true };
  const cable = switched.connect(endpoint);
  try {
    gateway = await open(cable);
    return gateway;
  } catch (error) {
    cable.close();
    throw error;
  }
}

/** The rules of a VM's configuration. @throws NetworkError "bad-rule" */
export function policyOf({ allow, deny }: VmConfig["network"]): Policy {
  return new Policy([...allow.map((rule) => parseRule("allow", rule)), ...deny.map((rule) => parseRule("deny", rule))]);
}

/** A segment with this VM and its gateway alone. */
async function openIsolated(
  config: VmConfig,
  mac: Mac,
  hostname: string,
  resources: AsyncDisposableStack,
): Promise<JoinedNetwork> {
  const switched = new Switch();
  const { network, guest, gateway: gatewayAddress, dns } = ISOLATED;
  const gateway = await gatewayOn(switched, (cable) =>
    openGateway({
      cable,
      network,
      gateway: gatewayAddress,
      dns,
      guests: [{ ipv4: guest, mac, hostname }],
      policy: policyOf(config.network),
      ...(config.network.dns.length > 0 && { nameServers: config.network.dns }),
    }),
  );
  resources.defer(() => gateway.close());
  return { switch: switched, gateway, network, guest, gatewayAddress, dns };
}

async function connectTap(
  device: NetDevice,
  mac: number,
  name: string,
  resources: AsyncDisposableStack,
): Promise<void> {
  // It looks up calls of the C library when it is loaded.
  const { openTap } = await import("../net/tap.ts");
  const tap = openTap(name);
  resources.defer(() => tap.close());
  const switched = new Switch();
  tap.plug(switched.connect(tap));
  device.plug(switched.connect(device, { mac }));
  resources.defer(() => device.unplug());
}

async function forwardPorts(gateway: Gateway, guest: Ipv4, { ports }: VmConfig): Promise<PortRecord[]> {
  const opened: PortRecord[] = [];
  for (const port of ports) {
    const { hostAddress, hostPort, guestPort, protocol } = await gateway.forward({ ...port, guest });
    opened.push({ hostAddress, hostPort, guestPort, protocol });
  }
  return opened;
}
