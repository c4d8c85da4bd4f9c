/* The machine code that puts a whole user-mode state into the processor, runs one instruction and takes the state out again; and the
 * signal handler that turns a fault into "left at this address with this trap number". Written as bytes: the tests need no assembler.
 * Everything is at absolute addresses below 2 GiB, so that no register is needed to find it.
 * @source System V psABI (calling convention); Linux arch/x86/include/uapi/asm/sigcontext.h (ucontext)
 *
 * The block at HARNESS:
 *   0x000  512 B  FXSAVE64 image in     0x400  512 B  FXSAVE64 image out
 *   0x200  16×8   general registers in  0x600  16×8   general registers out
 *   0x280  8      RFLAGS in             0x680  8      RFLAGS out
 *   0x288  8      FS base in            0x688  8      FS base out
 *   0x290  8      GS base in            0x690  8      GS base out
 *   0x6a0  8      trap number + 1, 0 if none; 0x6a8 error code; 0x6b0 CR2; 0x6b8 RIP of the trap
 *   0x6c0  8      armed: nonzero while the instruction under test runs
 *   0x700  8×3    the host's RSP, FS base, GS base; 0x718 its MXCSR; 0x71c its x87 control word
 *   0x1000        (downwards) a stack of a few words
 */
import { Rflags } from "../../src/isa/registers.ts";
import { CODE_START, HARNESS } from "../instructions/address-space.ts";

export const Block = {
  FX_IN: 0x000,
  GPR_IN: 0x200,
  FLAGS_IN: 0x280,
  FS_IN: 0x288,
  GS_IN: 0x290,
  FX_OUT: 0x400,
  GPR_OUT: 0x600,
  FLAGS_OUT: 0x680,
  FS_OUT: 0x688,
  GS_OUT: 0x690,
  TRAP: 0x6a0,
  ERROR: 0x6a8,
  CR2: 0x6b0,
  TRAP_RIP: 0x6b8,
  ARMED: 0x6c0,
  HOST_RSP: 0x700,
  HOST_FS: 0x708,
  HOST_GS: 0x710,
  HOST_MXCSR: 0x718,
  HOST_FCW: 0x71c,
  STACK: 0x1000,
} as const;

/** Where the code lies, from HARNESS. */
const ENTRY = 0x1000;
const UCONTEXT = { RIP: 0xa8, EFLAGS: 0xb0, ERROR: 0xc0, TRAP: 0xc8, CR2: 0xd8 } as const;
const RAX = 0;
const RSP = 4;

class Code {
  readonly bytes: number[] = [];

  raw(...bytes: number[]): this {
    this.bytes.push(...bytes);
    return this;
  }
  u32(value: number): this {
    return this.raw(value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >>> 24) & 255);
  }
  /** ModRM, SIB and disp32 of the absolute address of a block field. */
  #absolute(reg: number, field: number): this {
    return this.raw(((reg & 7) << 3) | 4, 0x25).u32(HARNESS + field);
  }
  /** MOV r64, [field] */
  load(reg: number, field: number): this {
    return this.raw(0x48 | ((reg >> 3) << 2), 0x8b).#absolute(reg, field);
  }
  /** MOV [field], r64 */
  store(field: number, reg: number): this {
    return this.raw(0x48 | ((reg >> 3) << 2), 0x89).#absolute(reg, field);
  }
  /** MOV QWORD [field], imm32 */
  storeImmediate(field: number, value: number): this {
    return this.raw(0x48, 0xc7).#absolute(0, field).u32(value);
  }
  /** An opcode whose ModRM.reg is an extension, on a block field. */
  extended(opcode: readonly number[], ext: number, field: number): this {
    return this.raw(...opcode).#absolute(ext, field);
  }
  /** RDFSBASE 0, RDGSBASE 1, WRFSBASE 2, WRGSBASE 3 with RAX. */
  base(operation: 0 | 1 | 2 | 3): this {
    return this.raw(0xf3, 0x48, 0x0f, 0xae, 0xc0 | (operation << 3));
  }
}

const FXSAVE64 = [0x48, 0x0f, 0xae];
const CALLEE_SAVED_PUSH = [0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57];
const CALLEE_SAVED_POP = [0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b];

function enter(c: Code): void {
  c.raw(...CALLEE_SAVED_PUSH).store(Block.HOST_RSP, RSP);
  c.base(0).store(Block.HOST_FS, RAX).base(1).store(Block.HOST_GS, RAX);
  c.extended([0x0f, 0xae], 3, Block.HOST_MXCSR).extended([0xd9], 7, Block.HOST_FCW); // STMXCSR, FNSTCW
  c.storeImmediate(Block.TRAP, 0).storeImmediate(Block.ARMED, 1);
  c.extended(FXSAVE64, 1, Block.FX_IN); // FXRSTOR64
  c.load(RAX, Block.FS_IN).base(2).load(RAX, Block.GS_IN).base(3);
  c.raw(0x48, 0xc7, 0xc4).u32(HARNESS + Block.STACK); // MOV RSP, imm32
  c.extended([0xff], 6, Block.FLAGS_IN).raw(0x9d); // PUSH [flags]; POPFQ
  for (let n = 0; n < 16; n++) c.load(n, Block.GPR_IN + 8 * n);
  c.raw(0xe9).u32(CODE_START - (HARNESS + ENTRY + c.bytes.length + 4)); // JMP CODE_START
}

function leave(c: Code): void {
  for (let n = 0; n < 16; n++) c.store(Block.GPR_OUT + 8 * n, n);
  c.raw(0x48, 0xc7, 0xc4).u32(HARNESS + Block.STACK);
  c.raw(0x9c).extended([0x8f], 0, Block.FLAGS_OUT); // PUSHFQ; POP [flags]
  c.raw(0x6a, 0x02, 0x9d); // PUSH 2; POPFQ
  c.base(0).store(Block.FS_OUT, RAX).base(1).store(Block.GS_OUT, RAX);
  c.load(RAX, Block.HOST_FS).base(2).load(RAX, Block.HOST_GS).base(3);
  c.extended(FXSAVE64, 0, Block.FX_OUT).raw(0xdb, 0xe3); // FXSAVE64; FNINIT
  c.extended([0x0f, 0xae], 2, Block.HOST_MXCSR).extended([0xd9], 5, Block.HOST_FCW); // LDMXCSR, FLDCW
  c.storeImmediate(Block.ARMED, 0).load(RSP, Block.HOST_RSP);
  c.raw(...CALLEE_SAVED_POP, 0xc3);
}

/** handler(signal, siginfo, ucontext in RDX): notes the trap, resumes at the exit. A signal while not armed is a fault of the harness: the process ends. */
function handle(c: Code, exit: number): void {
  c.raw(0x48, 0x83)
    .raw(0x3c, 0x25)
    .u32(HARNESS + Block.ARMED)
    .raw(0x00); // CMP QWORD [armed], 0
  c.raw(0x75, 12).raw(0xb8).u32(231).raw(0xbf).u32(99).raw(0x0f, 0x05); // JNE +12; exit_group(99)
  const copy = (from: number, to: number): void => void c.raw(0x48, 0x8b, 0x82).u32(from).store(to, RAX); // MOV RAX, [RDX+from]
  copy(UCONTEXT.RIP, Block.TRAP_RIP);
  copy(UCONTEXT.ERROR, Block.ERROR);
  copy(UCONTEXT.CR2, Block.CR2);
  c.raw(0x48, 0x8b, 0x82).u32(UCONTEXT.TRAP).raw(0x48, 0xff, 0xc0).store(Block.TRAP, RAX); // INC RAX
  c.raw(0x48, 0x81, 0xa2).u32(UCONTEXT.EFLAGS).u32(~Rflags.TF); // AND: else the exit would be traced too
  c.raw(0x48, 0xc7, 0x82).u32(UCONTEXT.RIP).u32(exit).raw(0xc3); // MOV QWORD [RDX+RIP], exit; RET
}

export interface Trampoline {
  /** To be put at `at`. */
  readonly bytes: Uint8Array;
  readonly at: number;
  /** Addresses: void entry(void); where the instruction under test jumps when it is done; the signal handler. */
  readonly entry: number;
  readonly exit: number;
  readonly handler: number;
}

export function buildTrampoline(): Trampoline {
  const c = new Code();
  const at = HARNESS + ENTRY;
  enter(c);
  const exit = at + c.bytes.length;
  leave(c);
  const handler = at + c.bytes.length;
  handle(c, exit);
  return { bytes: Uint8Array.from(c.bytes), at, entry: at, exit, handler };
}
