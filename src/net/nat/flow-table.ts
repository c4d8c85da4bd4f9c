/* A map from the two ends of a flow: a guest's address and port, and another's. Two maps of 48-bit numbers, because a key made of text costs more than all
 * else that is done for a packet. */
import type { Ipv4 } from "../address.ts";

/** Both ends of a flow, as the guest sees them. */
export interface FlowKey {
  readonly guest: Ipv4;
  readonly guestPort: number;
  readonly remote: Ipv4;
  readonly remotePort: number;
}

const PORTS = 0x1_0000;

export class FlowTable<T> {
  readonly #byGuest = new Map<number, Map<number, T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }
  get(guest: Ipv4, guestPort: number, remote: Ipv4, remotePort: number): T | undefined {
    return this.#byGuest.get(guest * PORTS + guestPort)?.get(remote * PORTS + remotePort);
  }
  /** Adds one that is not there. */
  add({ guest, guestPort, remote, remotePort }: FlowKey, flow: T): void {
    const key = guest * PORTS + guestPort;
    let flows = this.#byGuest.get(key);
    if (flows === undefined) this.#byGuest.set(key, (flows = new Map<number, T>()));
    flows.set(remote * PORTS + remotePort, flow);
    this.#size++;
  }
  /** Removes one if it is the one that is there. */
  remove({ guest, guestPort, remote, remotePort }: FlowKey, flow: T): void {
    const key = guest * PORTS + guestPort;
    const flows = this.#byGuest.get(key);
    if (flows === undefined || flows.get(remote * PORTS + remotePort) !== flow) return;
    flows.delete(remote * PORTS + remotePort);
    if (flows.size === 0) this.#byGuest.delete(key);
    this.#size--;
  }
  *values(): Generator<T> {
    for (const flows of this.#byGuest.values()) yield* flows.values();
  }
}
