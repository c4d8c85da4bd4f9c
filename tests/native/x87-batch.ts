/* Thousands of x87 cases in one native call: for each, FXRSTOR64 of an image, one instruction, FXSAVE64. Unmasked exceptions do no harm:
 * they stay pending, and nothing that waits comes before FNCLEX. Linux on x86-64 only, in this process: it installs no handlers.
 *
 *   image, 512 bytes: FXSAVE64 area · 0x1d0 memory operand (bytes that the processor leaves alone) · 0x1e0 RFLAGS after · 0x1e8 RFLAGS before
 *   RSI is the image before, RDI the image after: an instruction reads [RSI + 0x1d0] or writes [RDI + 0x1d0].
 */
import koffi from "koffi";

export const Image = {
  SIZE: 512,
  FCW: 0,
  FSW: 2,
  TAGS: 4,
  MXCSR: 0x18,
  ST: 0x20,
  MEMORY: 0x1d0,
  FLAGS_OUT: 0x1e0,
  FLAGS_IN: 0x1e8,
} as const;
const PROT_ALL = 7;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const CODE_SIZE = 4096;

const u32 = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >>> 24) & 255];

/** void run(void *out, const void *in, int count), count not 0 */
function program(instruction: readonly number[]): number[] {
  const loop = [
    0x48,
    0x0f,
    0xae,
    0x0e, // FXRSTOR64 [RSI]
    0xff,
    0xb6,
    ...u32(Image.FLAGS_IN),
    0x9d, // PUSH [RSI + FLAGS_IN]; POPFQ
    ...instruction,
    0x9c,
    0x8f,
    0x87,
    ...u32(Image.FLAGS_OUT), // PUSHFQ; POP [RDI + FLAGS_OUT]
    0x48,
    0x0f,
    0xae,
    0x07, // FXSAVE64 [RDI]
    0xdb,
    0xe2, // FNCLEX
    0x48,
    0x81,
    0xc6,
    ...u32(Image.SIZE), // ADD RSI, 512
    0x48,
    0x81,
    0xc7,
    ...u32(Image.SIZE), // ADD RDI, 512
    0xff,
    0xca, // DEC EDX
  ];
  return [...loop, 0x0f, 0x85, ...u32(-(loop.length + 6)), 0xdb, 0xe3, 0xc3]; // JNZ loop; FNINIT; RET
}

export class X87Batch {
  readonly capacity: number;
  /** Images before and after. */
  readonly input: Uint8Array;
  readonly output: Uint8Array;
  readonly #code: Uint8Array;
  readonly #run: (count: number) => void;

  constructor(capacity: number) {
    this.capacity = capacity;
    const libc = koffi.load("libc.so.6");
    const mmap = libc.func(
      "int64_t mmap(int64_t address, size_t length, int prot, int flags, int fd, int64_t offset)",
    ) as (...a: unknown[]) => number | bigint;
    const size = capacity * Image.SIZE;
    const base = BigInt(mmap(0, CODE_SIZE + 2 * size, PROT_ALL, MAP_PRIVATE_ANONYMOUS, -1, 0));
    if (base < 0n) throw new Error("no executable memory");
    const [input, output] = [base + BigInt(CODE_SIZE), base + BigInt(CODE_SIZE + size)];
    this.#code = new Uint8Array(koffi.view(base, CODE_SIZE));
    this.input = new Uint8Array(koffi.view(input, size));
    this.output = new Uint8Array(koffi.view(output, size));
    const run = koffi.decode(base, koffi.proto("void x87_batch(int64_t out, int64_t in, int count)")) as (
      ...a: unknown[]
    ) => void;
    this.#run = (count) => run(output, input, count);
  }

  /** Runs an instruction on the first `count` images. Memory operands are [RSI + disp32] or [RDI + disp32]. */
  run(instruction: readonly number[], count: number): void {
    this.#code.set(program(instruction));
    this.output.fill(0, 0, count * Image.SIZE);
    this.#run(count);
  }
}
