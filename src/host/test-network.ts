/* For tests: a guest without a machine, on a named network. */
import { putIpv4, putMac, type Ipv4, type Mac } from "../net/address.ts";
import type { Cable, NetworkEndpoint, Packet } from "../net/packet.ts";
import type { JoinedNetwork, NamedNetworks } from "./named-networks.ts";
import { resolveVmOptions } from "./vm-config.ts";

export interface StationOptions {
  readonly mac: Mac;
  readonly hostname?: string;
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
}

export class Station implements NetworkEndpoint, AsyncDisposable {
  readonly mac: Mac;
  readonly joined: JoinedNetwork;
  readonly #got: Packet[] = [];
  readonly #resources: AsyncDisposableStack;
  readonly #cable: Cable;
  #onPacket: (() => void) | undefined;

  private constructor(mac: Mac, joined: JoinedNetwork, resources: AsyncDisposableStack) {
    this.mac = mac;
    this.joined = joined;
    this.#resources = resources;
    this.#cable = joined.switch.connect(this, { mac, ipv4: joined.guest });
    resources.defer(() => this.#cable.close());
    // A machine keeps its process alive; a network does not.
    const alive = setInterval(() => undefined, 60_000);
    resources.defer(() => clearInterval(alive));
  }
  static async join(networks: NamedNetworks, name: string, options: StationOptions): Promise<Station> {
    const { mac, hostname = `vm${mac % 256}`, allow = [], deny = [] } = options;
    await using resources = new AsyncDisposableStack();
    const config = resolveVmOptions({ network: { name, allow, deny } });
    const joined = await networks.join(name, config, mac, hostname, resources);
    return new Station(mac, joined, resources.move());
  }
  get ipv4(): Ipv4 {
    return this.joined.guest;
  }

  receive(packet: Packet): boolean {
    this.#got.push(packet);
    this.#onPacket?.();
    return true;
  }
  /** The oldest packet that was not yet taken. */
  async next(): Promise<Packet> {
    while (this.#got.length === 0) await new Promise<void>((resolve) => (this.#onPacket = resolve));
    return this.#got.shift()!;
  }
  send(to: Mac, text: string, more: Partial<Packet> = {}): void {
    this.#cable.send({ bytes: frame(this.mac, this.ipv4, to, Buffer.from(text)), ...more });
  }
  sendRaw(packet: Packet): void {
    this.#cable.send(packet);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

/** An IPv4 packet of a protocol that nobody knows. */
export function frame(from: Mac, source: Ipv4, to: Mac, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(34 + payload.length);
  putMac(bytes, 0, to);
  putMac(bytes, 6, from);
  bytes.set([8, 0, 0x45], 12);
  bytes[23] = 253;
  putIpv4(bytes, 26, source);
  bytes.set(payload, 34);
  return bytes;
}
export function payload({ bytes }: Packet): string {
  return Buffer.from(bytes.subarray(34)).toString("utf8");
}
