/* The gateway of a VM's network: a router, DHCP and name server that ends guests' connections and opens the host's sockets for them, so that no privilege is
 * needed. @source docs/network.md "The gateway"; RFC 1812, RFC 826. Leaves out: IPv6 (neither advertised nor answered, so guests use IPv4 at once). I/O thread. */
import { BROADCAST_MAC, type Cidr, GATEWAY_MAC, type Ipv4, type Mac, cidrContains, lastOf, macAt } from "../address.ts";
import { NetworkError } from "../network-error.ts";
import type { Cable, NetworkEndpoint, Packet } from "../packet.ts";
import { HOST_LOOPBACK, Policy } from "../policy.ts";
import { receiveArp } from "./arp.ts";
import { answerDhcp } from "./dhcp.ts";
import { DnsService } from "./dns.ts";
import { type NameServer, hostNameServers, parseNameServer } from "./dns-upstream.ts";
import { type Forward, type ForwardOptions, forwardTcp, forwardUdp } from "./forwards.ts";
import { type Guest, type GuestOptions, Guests } from "./guests.ts";
import { Icmp, answerEcho, sendError } from "./icmp.ts";
import { ETHERNET_BYTES, EtherType, IpProtocol, Ipv4Packet, u16At } from "./ipv4.ts";
import { Link } from "./link.ts";
import { Reassembly } from "./reassembly.ts";
import { Tcp, type TcpLimits, type TcpTarget } from "./tcp.ts";
import { type Datagram, Udp, readUdp } from "./udp.ts";

const DNS_PORT = 53;
const DHCP_SERVER_PORT = 67;
const DHCP_CLIENT_PORT = 68;
const BROADCAST: Ipv4 = 0xffff_ffff;
const DEFAULT_MTU_BYTES = 1500;

export interface GatewayOptions {
  readonly cable: Cable;
  /** The segment's addresses; the gateway's, the name server's and guests' are of them. */
  readonly network: Cidr;
  readonly gateway: Ipv4;
  readonly dns: Ipv4;
  readonly mac?: Mac | undefined;
  readonly guests?: readonly GuestOptions[] | undefined;
  /** undefined: isolation, without exceptions */
  readonly policy?: Policy | undefined;
  /** IP addresses, with :port if it is not 53; undefined: the host's. @see parseNameServer */
  readonly nameServers?: readonly string[] | undefined;
  /** What DHCP gives as the domain. */
  readonly domain?: string | undefined;
  /** 576 to 65,535; 1500 if not given. */
  readonly mtuBytes?: number | undefined;
  /** Names of VMs on the same network that are not this gateway's guests. @param name in lower case, without a domain */
  readonly addressOf?: ((name: string) => Ipv4 | undefined) | undefined;
  /** Their names, the other way. */
  readonly nameOf?: ((address: Ipv4) => string | undefined) | undefined;
  readonly limits?: (TcpLimits & { readonly udpFlows?: number }) | undefined;
}

/** What goes on, for metrics. */
export interface GatewayStats {
  readonly tcpConnections: number;
  readonly udpFlows: number;
  readonly nameQueries: number;
  /** Bytes between guests and the host that wait for their receiver. */
  readonly queuedBytes: number;
  /** Frames from guests, and those of them that were not for the gateway or not correct. */
  readonly framesReceived: number;
  readonly framesDropped: number;
}

/** Makes a gateway and listens at forwarded ports. @throws NetworkError: then nothing is left open */
export async function openGateway(
  options: GatewayOptions & { readonly forwards?: readonly ForwardOptions[] },
): Promise<Gateway> {
  const gateway = new Gateway(options);
  try {
    for (const forward of options.forwards ?? []) await gateway.forward(forward);
  } catch (error) {
    await gateway.close();
    throw error;
  }
  return gateway;
}

export class Gateway implements NetworkEndpoint {
  readonly #options: GatewayOptions;
  readonly #link: Link;
  readonly #policy: Policy;
  readonly #guests = new Guests();
  readonly #dns: DnsService;
  readonly #udp: Udp;
  readonly #tcp: Tcp;
  readonly #reassembly = new Reassembly();
  readonly #packet = new Ipv4Packet();
  readonly #forwards = new Set<Forward>();
  readonly #own: readonly Ipv4[];
  #received = 0;
  #dropped = 0;
  #isClosed = false;

  /** @throws NetworkError "bad-server" */
  constructor(options: GatewayOptions) {
    const { cable, gateway, dns, policy = new Policy(), limits = {} } = options;
    this.#options = options;
    this.#policy = policy;
    this.#own = [gateway, dns];
    this.#link = new Link(cable, options.mac ?? GATEWAY_MAC, options.mtuBytes ?? DEFAULT_MTU_BYTES);
    for (const guest of options.guests ?? []) this.#guests.add(guest);
    this.#dns = new DnsService(
      nameServersOf(options.nameServers),
      { addressOf: (name) => this.#addressOf(name), nameOf: (address) => this.#nameOf(address) },
      () => policy.permitsDns(),
    );
    this.#udp = new Udp(this.#link, gateway, policy, limits.udpFlows);
    this.#tcp = new Tcp({
      link: this.#link,
      gateway,
      policy,
      target: (address, port) => this.#targetOf(address, port),
      limits,
    });
  }

  get stats(): GatewayStats {
    return {
      tcpConnections: this.#tcp.connections,
      udpFlows: this.#udp.flows,
      nameQueries: this.#dns.outstanding,
      queuedBytes: this.#tcp.queuedBytes,
      framesReceived: this.#received,
      framesDropped: this.#dropped,
    };
  }
  /** What is listened at. */
  get forwards(): readonly Forward[] {
    return [...this.#forwards];
  }

  /** Serves one more VM. */
  addGuest(options: GuestOptions): void {
    this.#guests.add(options);
  }
  /** A VM is gone: its connections are reset, its ports are closed. */
  async removeGuest(ipv4: Ipv4): Promise<void> {
    const guest = this.#guests.remove(ipv4);
    if (guest === undefined) return;
    this.#tcp.forget(guest);
    this.#udp.forget(guest);
    for (const forward of this.#forwards) if (forward.guest === ipv4) await forward.close();
  }

  /** Listens at a port of the host. @throws NetworkError */
  async forward(options: ForwardOptions): Promise<Forward> {
    if (this.#isClosed)
      throw new NetworkError("closed", "The VM's network is closed: forward ports while the VM runs.");
    const guest = this.#guests.find(options.guest);
    const listener =
      options.protocol === "udp"
        ? await forwardUdp(this.#udp, guest, options)
        : await forwardTcp(this.#tcp, guest, options);
    const forward: Forward = {
      ...listener,
      close: async () => {
        this.#forwards.delete(forward);
        await listener.close();
      },
    };
    this.#forwards.add(forward);
    // It may have been closed meanwhile.
    if (this.#isClosed) await forward.close();
    return forward;
  }

  /** Resets all connections and closes all sockets. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const closing = [...this.#forwards].map((forward) => forward.close());
    this.#tcp.close();
    this.#udp.close();
    this.#dns.close();
    this.#options.cable.onRoom = undefined;
    this.#options.cable.close();
    await Promise.all(closing);
  }

  receive(packet: Packet): boolean {
    if (!this.#isClosed) {
      this.#received++;
      if (!this.#receiveFrame(packet)) this.#dropped++;
    }
    return true;
  }

  /** @returns false: not for the gateway, or not correct */
  #receiveFrame({ bytes, checksum }: Packet): boolean {
    if (bytes.length < ETHERNET_BYTES) return false;
    const destination = macAt(bytes, 0);
    if (destination !== this.#link.mac && destination !== BROADCAST_MAC) return false;
    const type = u16At(bytes, 12);
    if (type === EtherType.ARP) {
      receiveArp(bytes, this.#own, this.#guests, this.#link);
      return true;
    }
    if (type !== EtherType.IPV4) return false;
    const packet = this.#packet;
    if (!packet.read(bytes, checksum !== undefined)) return false;
    if (packet.fragmentOffset === 0 && !packet.moreFragments) return this.#receivePacket(packet);
    if (this.#senderOf(packet) === undefined) return false;
    const whole = this.#reassembly.add(packet);
    return whole === undefined || (packet.read(whole, false) && this.#receivePacket(packet));
  }

  #receivePacket(packet: Ipv4Packet): boolean {
    const datagram = packet.protocol === IpProtocol.UDP ? readUdp(packet) : undefined;
    if (datagram?.destinationPort === DHCP_SERVER_PORT && this.#receiveDhcp(packet, datagram)) return true;
    const guest = this.#senderOf(packet);
    if (guest === undefined || macAt(packet.bytes, 0) !== this.#link.mac) return false;
    const { destination, protocol } = packet;
    const isOwn = this.#own.includes(destination);
    if (!isOwn && !this.#isRoutable(guest, packet)) return true;
    if (protocol === IpProtocol.TCP) this.#tcp.receive(guest, packet);
    else if (protocol === IpProtocol.UDP) {
      if (datagram === undefined) return false;
      this.#receiveUdp(guest, packet, datagram);
    } else if (protocol !== IpProtocol.ICMP)
      sendError(this.#link, guest, this.#options.gateway, Icmp.PROTOCOL_UNREACHABLE, packet);
    else if (isOwn) answerEcho(this.#link, guest, packet);
    else sendError(this.#link, guest, this.#options.gateway, Icmp.PROHIBITED, packet);
    return true;
  }

  /** The guest that a packet comes from, if it may have that address. */
  #senderOf({ bytes, source }: Ipv4Packet): Guest | undefined {
    const guest = this.#guests.at(source);
    return guest?.hear(macAt(bytes, 6)) === true ? guest : undefined;
  }
  /** Would a router pass it on? If not, the guest is told. */
  #isRoutable(guest: Guest, packet: Ipv4Packet): boolean {
    const { gateway, network } = this.#options;
    // Multicast and broadcast stay on the segment, and are never answered with errors.
    if (packet.destination >= 0xe000_0000 || packet.destination === lastOf(network)) return false;
    const error = cidrContains(network, packet.destination)
      ? Icmp.HOST_UNREACHABLE
      : packet.ttl <= 1
        ? Icmp.TTL_EXCEEDED
        : undefined;
    if (error !== undefined) sendError(this.#link, guest, gateway, error, packet);
    return error === undefined;
  }

  #receiveUdp(guest: Guest, packet: Ipv4Packet, datagram: Datagram): void {
    const { gateway, dns } = this.#options;
    const { destination } = packet;
    if (destination === dns && datagram.destinationPort === DNS_PORT) {
      const { sourcePort } = datagram;
      void this.#dns.answer(datagram.data, "udp").then((answer) => {
        if (answer === undefined || this.#isClosed) return;
        this.#link.sendDatagram(guest, dns, DNS_PORT, sourcePort, answer);
      });
    } else if (destination === dns) sendError(this.#link, guest, dns, Icmp.PORT_UNREACHABLE, packet);
    else this.#udp.receive(guest, packet, datagram, destination === gateway ? HOST_LOOPBACK : destination);
  }
  #targetOf(address: Ipv4, port: number): TcpTarget | undefined {
    const { gateway, dns } = this.#options;
    if (address === dns) return port === DNS_PORT ? { kind: "service", open: () => this.#dns.open() } : undefined;
    return { kind: "host", address: address === gateway ? HOST_LOOPBACK : address, port };
  }

  /** @returns false: it is some other server's */
  #receiveDhcp(packet: Ipv4Packet, { data, sourcePort }: Datagram): boolean {
    const { network, gateway, dns, domain } = this.#options;
    if (packet.destination !== BROADCAST && packet.destination !== gateway && packet.destination !== lastOf(network))
      return false;
    if (sourcePort !== DHCP_CLIENT_PORT) return true;
    const configuration = { gateway, dns, prefix: network.prefix, mtuBytes: this.#link.mtuBytes, domain };
    const sender = macAt(packet.bytes, 6);
    // Nobody asks for another device.
    const reply = answerDhcp(data, configuration, (mac) => (mac === sender ? this.#guests.of(mac) : undefined));
    if (reply === undefined) return true;
    this.#link.sendUdpTo(
      reply.to === undefined ? BROADCAST_MAC : reply.mac,
      { source: gateway, destination: reply.to ?? BROADCAST },
      { sourcePort: DHCP_SERVER_PORT, destinationPort: DHCP_CLIENT_PORT },
      reply.message,
    );
    return true;
  }

  #addressOf(name: string): Ipv4 | undefined {
    if (name === "host") return this.#policy.permitsHost() ? this.#options.gateway : undefined;
    return this.#guests.named(name)?.ipv4 ?? this.#options.addressOf?.(name);
  }
  #nameOf(address: Ipv4): string | null | undefined {
    const { network, gateway } = this.#options;
    if (!cidrContains(network, address)) return undefined;
    if (address === gateway) return "gateway";
    return this.#guests.at(address)?.hostname ?? this.#options.nameOf?.(address) ?? null;
  }
}

function nameServersOf(texts: readonly string[] | undefined): () => Promise<readonly NameServer[]> {
  if (texts === undefined) return hostNameServers();
  const servers = texts.map(parseNameServer);
  return () => Promise.resolve(servers);
}
