/* The VMs that the gateway serves: their addresses, names, and where their frames go. Others on the segment are not answered. I/O thread. */
import { type Ipv4, type Mac, formatIpv4, isMulticastMac } from "../address.ts";
import { NetworkError } from "../network-error.ts";

export interface GuestOptions {
  readonly ipv4: Ipv4;
  /** Frames from its address must then come from this device; undefined: from whichever spoke last (there is only one guest then). */
  readonly mac?: Mac | undefined;
  /** What DHCP tells it and other guests find it by. */
  readonly hostname?: string | undefined;
}

export class Guest {
  readonly ipv4: Ipv4;
  readonly hostname: string | undefined;
  readonly #fixedMac: Mac | undefined;
  #mac: Mac | undefined;

  constructor({ ipv4, mac, hostname }: GuestOptions) {
    this.ipv4 = ipv4;
    this.hostname = hostname?.toLowerCase();
    this.#fixedMac = mac;
    this.#mac = mac;
  }

  /** undefined: it has not spoken yet. */
  get mac(): Mac | undefined {
    return this.#mac;
  }
  get hasFixedMac(): boolean {
    return this.#fixedMac !== undefined;
  }
  /** A frame came from its address. @returns false if that is not from its device */
  hear(mac: Mac): boolean {
    if (this.#fixedMac !== undefined) return this.#fixedMac === mac;
    if (isMulticastMac(mac)) return false;
    this.#mac = mac;
    return true;
  }
}

export class Guests {
  readonly #byAddress = new Map<Ipv4, Guest>();

  add(options: GuestOptions): Guest {
    const guest = new Guest(options);
    this.#byAddress.set(guest.ipv4, guest);
    return guest;
  }
  remove(ipv4: Ipv4): Guest | undefined {
    const guest = this.#byAddress.get(ipv4);
    this.#byAddress.delete(ipv4);
    return guest;
  }
  at(ipv4: Ipv4): Guest | undefined {
    return this.#byAddress.get(ipv4);
  }
  /** The guest that a device's DHCP request is for. */
  of(mac: Mac): Guest | undefined {
    let unbound: Guest | undefined;
    for (const guest of this.#byAddress.values()) {
      if (!guest.hasFixedMac) unbound ??= guest;
      else if (guest.mac === mac) return guest;
    }
    return unbound;
  }
  named(hostname: string): Guest | undefined {
    for (const guest of this.#byAddress.values()) if (guest.hostname === hostname) return guest;
    return undefined;
  }
  /** @param ipv4 undefined: the only one. @throws NetworkError "no-such-guest" */
  find(ipv4: Ipv4 | undefined): Guest {
    const [only, ...others] = this.#byAddress.values();
    const guest = ipv4 === undefined ? (others.length === 0 ? only : undefined) : this.at(ipv4);
    if (guest !== undefined) return guest;
    throw new NetworkError(
      "no-such-guest",
      ipv4 === undefined
        ? "The network has several VMs or none: say which address a forwarded port is for."
        : `No VM of this network has the address ${formatIpv4(ipv4)}: forward to one that is there.`,
    );
  }
}
