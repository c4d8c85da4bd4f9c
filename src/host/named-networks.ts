/* Networks that VMs share by name, in one process and in several: in each one switch and one gateway, links to the others, an address for each VM. The first VM of a process
 * opens one, its last one leaves it. @source docs/network.md "Networks by name". On the main thread. */
import { join } from "node:path";
import type { Cidr, Ipv4, Mac } from "../net/address.ts";
import { AddressPool, networkOf } from "../net/address.ts";
import type { Member } from "../net/link-codec.ts";
import { type Gateway, openGateway } from "../net/nat/gateway.ts";
import { Switch } from "../net/switch.ts";
import { Uplink } from "../net/uplink.ts";
import { type AddressClaim, NetworkDirectory, inTurn, otherRules } from "./network-directory.ts";
import { NetworkMesh } from "./network-mesh.ts";
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

interface OpenNetwork {
  readonly switch: Switch;
  readonly pool: AddressPool;
  readonly uplink: Uplink;
  readonly gateway: Gateway;
  readonly directory: NetworkDirectory;
  readonly mesh: NetworkMesh;
  /** VMs of this process. */
  readonly guests: Set<Member>;
  readonly resources: AsyncDisposableStack;
}
interface NamedNetwork {
  readonly rules: string;
  readonly opened: Promise<OpenNetwork>;
  members: number;
}

export class NamedNetworks {
  readonly #root: string;
  readonly #networks = new Map<string, NamedNetwork>();
  /** Those that this process is leaving. */
  readonly #leaving = new Map<string, Promise<void>>();

  /** @param stateDirectory where VMs are kept: networks are there too */
  constructor(stateDirectory: string) {
    this.#root = join(stateDirectory, "networks");
  }

  /** Joins a VM; it leaves with its resources.
   *  @throws NetworkError, AddressError; HostError "bad-option" if it wants other rules than those that are there, "unreachable", "state" */
  async join(
    name: string,
    { network }: VmConfig,
    mac: Mac,
    hostname: string,
    resources: AsyncDisposableStack,
  ): Promise<JoinedNetwork> {
    const rules = JSON.stringify([network.allow, network.deny, network.dns]);
    const joined = this.#networks.get(name) ?? this.#start(name, network, rules);
    if (joined.rules !== rules) throw otherRules(name);
    joined.members++;
    resources.defer(() => this.#leave(name, joined));
    const opened = await joined.opened;
    const { pool, gateway, guests, mesh } = opened;
    const { address: guest, claim } = claimAddress(opened);
    const member: Member = { ipv4: guest, mac, hostname: hostname.toLowerCase() };
    resources.defer(async () => {
      guests.delete(member);
      mesh.setMembers([...guests]);
      await gateway.removeGuest(guest);
      pool.release(guest);
      claim.release();
    });
    gateway.addGuest(member);
    guests.add(member);
    mesh.setMembers([...guests]);
    return {
      switch: opened.switch,
      gateway,
      network: pool.network,
      guest,
      gatewayAddress: pool.gateway,
      dns: pool.dns,
    };
  }
  #start(name: string, network: VmConfig["network"], rules: string): NamedNetwork {
    const opened = this.#open(name, network, rules);
    opened.catch(() => undefined); // whoever joins hears of it
    const started = { rules, opened, members: 0 };
    this.#networks.set(name, started);
    return started;
  }
  async #open(name: string, network: VmConfig["network"], rules: string): Promise<OpenNetwork> {
    await this.#leaving.get(name);
    await using resources = new AsyncDisposableStack();
    const path = join(this.#root, name);
    const pool = new AddressPool(networkOf(name));
    const switched = new Switch();
    const uplink = new Uplink();
    uplink.plug(switched.connect(uplink));
    resources.defer(() => uplink.close());
    const { directory, mesh } = await inTurn(path, async () => {
      const entered = resources.adopt(NetworkDirectory.enter(path, name, rules), (each) => each.leave());
      const options = { path, name, network: pool.network, uplink };
      return { directory: entered, mesh: resources.adopt(await NetworkMesh.listen(options), (each) => each.close()) };
    });
    const gateway = await openGatewayOf(switched, pool, uplink, network);
    resources.defer(() => gateway.close());
    await mesh.connect();
    const guests = new Set<Member>();
    return { switch: switched, pool, uplink, gateway, directory, mesh, guests, resources: resources.move() };
  }
  async #leave(name: string, network: NamedNetwork): Promise<void> {
    if (--network.members > 0) return;
    if (this.#networks.get(name) === network) this.#networks.delete(name);
    const left = network.opened.then(
      ({ resources }) => resources.disposeAsync(),
      () => undefined,
    );
    this.#leaving.set(name, left);
    await left.finally(() => {
      if (this.#leaving.get(name) === left) this.#leaving.delete(name);
    });
  }
}

/** The lowest address that no VM has, here or in another process. @throws AddressError "exhausted" */
function claimAddress({ pool, uplink, directory }: OpenNetwork): { address: Ipv4; claim: AddressClaim } {
  const others: Ipv4[] = [];
  try {
    for (;;) {
      const address = pool.allocate();
      others.push(address);
      // What others have said that they have need not be tried.
      const claim = uplink.nameOf(address) === undefined ? directory.claim(address) : undefined;
      if (claim === undefined) continue;
      others.pop();
      return { address, claim };
    }
  } finally {
    for (const address of others) pool.release(address);
  }
}
function openGatewayOf(
  switched: Switch,
  pool: AddressPool,
  uplink: Uplink,
  network: VmConfig["network"],
): Promise<Gateway> {
  return gatewayOn(switched, (cable) =>
    openGateway({
      cable,
      network: pool.network,
      gateway: pool.gateway,
      dns: pool.dns,
      policy: policyOf(network),
      addressOf: (name) => uplink.addressOf(name),
      nameOf: (address) => uplink.nameOf(address),
      ...(network.dns.length > 0 && { nameServers: network.dns }),
    }),
  );
}
