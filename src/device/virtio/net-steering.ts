/* Which pair of queues a flow's packets come to: the one that the driver last sent this flow from, so that both are one processor's work in the guest.
 * @source virtio 1.2 §5.1.6.5.6 (automatic receive steering). IPv4 and IPv6, TCP and UDP; all else goes to the first pair. I/O thread. */

const ENTRIES = 256;
const ETHERTYPE = { IPV4: 0x0800, IPV6: 0x86dd } as const;

export class FlowTable {
  readonly #pairs = new Uint8Array(ENTRIES);

  /** @param bytes a frame that the driver sent from this pair */
  learn(bytes: Uint8Array, pair: number): void {
    this.#pairs[flowHash(bytes)] = pair;
  }
  /** @param bytes a frame for the driver @param active pairs that it receives from */
  pairOf(bytes: Uint8Array, active: number): number {
    return active === 1 ? 0 : this.#pairs[flowHash(bytes)]! % active;
  }
}

/** The same for both directions of a flow. @returns 0 to ENTRIES − 1 */
function flowHash(bytes: Uint8Array): number {
  const type = (bytes[12]! << 8) | bytes[13]!;
  let hash = 0;
  let ports: number;
  if (type === ETHERTYPE.IPV4 && bytes.length >= 34) {
    for (let at = 26; at < 34; at++) hash ^= bytes[at]! << (8 * (at & 1));
    // A fragment's ports are only in the first one.
    const fragment = (bytes[20]! & 0x3f) !== 0 || bytes[21] !== 0;
    ports = fragment ? bytes.length : 14 + 4 * (bytes[14]! & 15);
  } else if (type === ETHERTYPE.IPV6 && bytes.length >= 54) {
    for (let at = 22; at < 54; at++) hash ^= bytes[at]! << (8 * (at & 1));
    ports = 54;
  } else return 0;
  for (let at = ports; at < ports + 4 && at < bytes.length; at++) hash ^= bytes[at]! << (8 * (at & 1));
  return (hash ^ (hash >> 8)) & (ENTRIES - 1);
}
