/* The system calls for TAP devices that node:fs lacks, through node:ffi (in Node 26 without a flag, experimental). Undefined where it is switched off: then there is no TAP.
 * Any thread. @source Linux Documentation/networking/tuntap.rst, linux/if_tun.h, ioctl(2), poll(2), eventfd(2) */
import { withCLibrary } from "../device/c-library.ts";

/** @source linux/if_tun.h, linux/if.h */
export const Tun = {
  SETIFF: 0x4004_54ca,
  SETOFFLOAD: 0x4004_54d0,
  SETVNETHDRSZ: 0x4004_54d8,
  IFF_TAP: 0x0002,
  IFF_NO_PI: 0x1000,
  IFF_VNET_HDR: 0x4000,
  F_CSUM: 1,
  F_TSO4: 2,
  F_TSO6: 4,
} as const;
export const Errno = { EPERM: 1, EINTR: 4, EAGAIN: 11, EBUSY: 16, EINVAL: 22 } as const;
const POLLIN = 1;
const POLLFD_BYTES = 8;

/** None throws; all give −errno where they fail. */
export interface TapCalls {
  /** @param argument a number, or bytes that the call reads and writes */
  ioctl(fd: number, request: number, argument: number | Uint8Array): number;
  /** @returns bytes read; 0 never */
  read(fd: number, into: Uint8Array): number;
  /** @returns a descriptor that is readable once 8 bytes were written to it */
  eventfd(): number;
  /** Blocks the thread until one of two descriptors can be read. @returns bit 0: the first one, bit 1: the second */
  waitReadable(first: number, second: number): number;
}

const SIGNATURES = {
  ioctl: { arguments: ["int32", "uint64", "uint64"], return: "int32" },
  read: { arguments: ["int32", "buffer", "uint64"], return: "int64" },
  eventfd: { arguments: ["uint32", "int32"], return: "int32" },
  poll: { arguments: ["buffer", "uint64", "int32"], return: "int32" },
} as const;

export const tapCalls: TapCalls | undefined = withCLibrary(SIGNATURES, ({ functions, ffi, checked }) => ({
  ioctl: (fd, request, argument) =>
    checked(
      functions.ioctl(
        fd,
        BigInt(request),
        typeof argument === "number" ? BigInt(argument) : ffi.getRawPointer(argument),
      ),
    ),
  read: (fd, into) => checked(functions.read(fd, into, BigInt(into.length))),
  eventfd: () => checked(functions.eventfd(0, 0)),
  waitReadable: (first, second) => {
    const polled = new DataView(new ArrayBuffer(2 * POLLFD_BYTES));
    [first, second].forEach((fd, n) => {
      polled.setInt32(POLLFD_BYTES * n, fd, true);
      polled.setInt16(POLLFD_BYTES * n + 4, POLLIN, true);
    });
    const result = checked(functions.poll(new Uint8Array(polled.buffer), 2n, -1));
    if (result < 0) return result;
    const ready = (n: number): number => (polled.getInt16(POLLFD_BYTES * n + 6, true) === 0 ? 0 : 1 << n);
    return ready(0) | ready(1);
  },
}));
