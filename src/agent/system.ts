/* The guest as a whole: what it tells of itself, its clock, the end. */
import { type FrameReader, FrameWriter, In, Op, Out } from "./protocol.ts";
import { type Cancellable, type Requests, requestFrame } from "./requests.ts";

/** How long processes have between SIGTERM and SIGKILL when the guest is shut down. */
const GRACE_MS = 2000;
const NANOS = 1_000_000_000n;
/** More interfaces than a guest has. */
const MOST_ADDRESSES = 1024;

export interface GuestInfo {
  readonly uptimeMs: number;
  /** Over 1, 5 and 15 minutes. */
  readonly load: readonly [number, number, number];
  readonly processes: number;
  readonly memory: {
    readonly totalBytes: number;
    readonly freeBytes: number;
    /** What programs could have without swapping. */
    readonly availableBytes: number;
    /** Buffers and page cache. */
    readonly cachedBytes: number;
    readonly swapTotalBytes: number;
    readonly swapFreeBytes: number;
  };
  /** As uname -r says it. */
  readonly kernel: string;
  readonly hostname: string;
  /** IPv4, of interfaces that are up or not. */
  readonly addresses: readonly {
    readonly interface: string;
    readonly address: string;
    readonly prefixLength: number;
  }[];
}

export interface PowerOptions extends Cancellable {
  /** How long processes have to end by themselves, or the image's init to end the guest: 2 s if absent. */
  readonly graceMs?: number;
}

/** @throws AgentError */
export function guestInfo(requests: Requests, signal: AbortSignal | undefined): Promise<GuestInfo> {
  return requests.once(requestFrame(Op.INFO).finish(), readGuestInfo, signal);
}

function readGuestInfo(answer: FrameReader): GuestInfo {
  const bytes = (): number => Number(answer.u64());
  const load = (): number => answer.u32() / 65536;
  const uptimeMs = Number(answer.u64()) / 1000;
  const info = {
    uptimeMs,
    load: [load(), load(), load()] as const,
    processes: answer.u32(),
    memory: {
      totalBytes: bytes(),
      freeBytes: bytes(),
      availableBytes: bytes(),
      cachedBytes: bytes(),
      swapTotalBytes: bytes(),
      swapFreeBytes: bytes(),
    },
    kernel: answer.text(),
    hostname: answer.text(),
  };
  const count = answer.u32();
  if (count > MOST_ADDRESSES) throw new RangeError("too many addresses");
  return { ...info, addresses: Array.from({ length: count }, () => readAddress(answer.text())) };
}

function readAddress(text: string): GuestInfo["addresses"][number] {
  const [, name, address, prefix] = /^(\S+) ([\d.]+)\/(\d+)$/.exec(text) ?? [];
  if (name === undefined) throw new RangeError("an address that is none");
  return { interface: name, address: address!, prefixLength: Number(prefix) };
}

/** Steps the guest's CLOCK_REALTIME. @param nanoseconds since 1970 @throws AgentError */
export function setClock(requests: Requests, nanoseconds: bigint, signal: AbortSignal | undefined): Promise<void> {
  const frame = requestFrame(Op.CLOCK)
    .u64(nanoseconds / NANOS)
    .u32(Number(nanoseconds % NANOS));
  return requests.once(frame.finish(), () => undefined, signal);
}

/** Writes all file systems' data to the disks. As long as there is to write. @throws AgentError */
export async function sync(requests: Requests, signal: AbortSignal | undefined): Promise<void> {
  const channel = await requests.open(requestFrame(Op.SYNC).finish(), signal);
  try {
    await channel.expect(Out.DONE);
  } finally {
    channel.close();
  }
}

/** Runs `work` while the root's file system holds still: its disk is then as after an unmount. Programs of the guest that write to it wait meanwhile.
 *  @throws AgentError "busy" if it holds still already; what `work` throws */
export async function frozen<T>(
  requests: Requests,
  work: () => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  const { channel } = await requests.ask(requestFrame(Op.FREEZE).finish(), Out.STARTED, signal);
  try {
    const result = await work();
    channel.post(new FrameWriter(In.END).finish());
    await channel.expect(Out.DONE, requests.timeoutMs);
    return result;
  } finally {
    // If that comes early, it is the end of it too.
    channel.close();
  }
}

/** Begins the end of the guest; the machine's end tells when that is. @throws AgentError */
export function power(requests: Requests, reboot: boolean, options: PowerOptions): Promise<void> {
  const frame = requestFrame(Op.POWER)
    .u8(Number(reboot))
    .u32(options.graceMs ?? GRACE_MS);
  return requests.once(frame.finish(), () => undefined, options.signal);
}
