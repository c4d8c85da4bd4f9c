/* Networks that VMs of one process share by name: one switch, one gateway, an address for each VM. The first VM makes one, the last one ends it. */
import type { Cidr, Ipv4, Mac } from "../net/address.ts";
import { AddressPool, networkOf } from "../net/address.ts";
import { type Gateway, openGateway } from "../net/nat/gateway.ts";
import { Switch } from "../net/switch.ts";
import { HostError } from "./host-error.ts";
import type { VmConfig } from "./vm-config.ts";
import { gatewayOn, policyOf } from "./vm-network.ts";

/** A network as one VM on it sees it. */
export interface JoinedNetwork {
  readonly switch: Switch;
  readonly gateway: Gateway;
  readonly network: Cidr;
  readonly guest: Ipv4;
  readonly gatewayAddress: Ipv4;
  readonly dns: Ipv4;
}

interface NamedNetwork {
  readonly switch: Switch;
  readonly pool: AddressPool;
  readonly rules: string;
  readonly gateway: Promise<Gateway>;
  members: number;
}

export class NamedNetworks {
  readonly #networks = new Map<string, NamedNetwork>();

  /** Joins a VM; it leaves with its resources. @throws NetworkError, AddressError; HostError "bad-option" if it wants other rules than those that are there */
  async join(
    name: string,
    { network }: VmConfig,
    mac: Mac,
    hostname: string,
    resources: AsyncDisposableStack,
  ): Promise<JoinedNetwork> {
    const rules = JSON.stringify([network.allow, network.deny, network.dns]);
    const joined = this.#networks.get(name) ?? this.#open(name, network, rules);
    if (joined.rules !== rules)
      throw new HostError(
        "bad-option",
        `The network ${name} has other rules (allow, deny, dns) than this VM asks for: they are the network's; give the same, or take another network.`,
      );
    joined.members++;
    resources.defer(() => this.#leave(name, joined));
    const gateway = await joined.gateway;
    const guest = joined.pool.allocate();
    resources.defer(async () => {
      await gateway.removeGuest(guest);
      joined.pool.release(guest);
    });
    gateway.addGuest({ ipv4: guest, mac, hostname });
    const { network: cidr, gateway: gatewayAddress, dns } = joined.pool;
    return { switch: joined.switch, gateway, network: cidr, guest, gatewayAddress, dns };
  }
  #open(name: string, network: VmConfig["network"], rules: string): NamedNetwork {
    const switched = new Switch();
    const pool = new AddressPool(networkOf(name));
    const gateway = gatewayOn(switched, (cable) =>
      openGateway({
        cable,
        network: pool.network,
        gateway: pool.gateway,
        dns: pool.dns,
        policy: policyOf(network),
        ...(network.dns.length > 0 && { nameServers: network.dns }),
      }),
    );
    gateway.catch(() => undefined); // whoever joins hears of it
    const opened = { switch: switched, pool, rules, gateway, members: 0 };
    this.#networks.set(name, opened);
    return opened;
  }
  async #leave(name: string, network: NamedNetwork): Promise<void> {
    if (--network.members > 0) return;
    if (this.#networks.get(name) === network) this.#networks.delete(name);
    await (await network.gateway.catch(() => undefined))?.close();
  }
}
