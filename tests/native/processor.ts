/* Runs one instruction case on the real processor, in this process. Linux on x86-64 only. Takes over SIGSEGV, SIGBUS, SIGILL, SIGFPE
 * and SIGTRAP of the process: so it is used in a child process (child.ts), which runs nothing but cases.
 * @source Linux sigaction(2), sigaltstack(2), mmap(2)
 */
import koffi from "koffi";
import { packFlags } from "../../src/isa/flags.ts";
import { RegisterFile } from "../../src/isa/register-file.ts";
import { Reg, Rflags } from "../../src/isa/registers.ts";
import {
  CODE,
  CODE_START,
  DATA,
  DATA_PATTERN,
  DATA_SIZE,
  HARNESS,
  PAGE,
  READ_ONLY,
  READ_ONLY_PATTERN,
} from "../instructions/address-space.ts";
import { type Fault, type InstructionCase, memoryDifference, type Outcome, STATE_BYTES } from "../instructions/case.ts";
import { fromFxsave, toFxsave } from "./fxsave.ts";
import { Block, buildTrampoline } from "./trampoline.ts";

const PROT = { READ: 1, WRITE: 2, EXEC: 4 } as const;
const MAP_PRIVATE_ANONYMOUS_FIXED_NOREPLACE = 0x02 | 0x20 | 0x10_0000;
const TASK_SIZE_MAX = 0x7fff_ffff_f000n;
const SIGNALS = [4, 5, 7, 8, 11]; // ILL TRAP BUS FPE SEGV
const SA_SIGINFO_ONSTACK_NODEFER = 0x4 | 0x0800_0000 | 0x4000_0000;
/** AVX-512 state makes a signal frame of about 4 KiB. */
const SIGNAL_STACK = 64 * 1024;
const INT3 = 0xcc;
const TRAP = { BP: 3, PF: 14 } as const;
/** In a page fault's error code. */
const FETCH = 16;
const HAS_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17]);

const libc = koffi.load("libc.so.6");
const mmap = libc.func("int64_t mmap(int64_t address, size_t length, int prot, int flags, int fd, int64_t offset)") as (
  ...a: unknown[]
) => number | bigint;
const mprotect = libc.func("int mprotect(int64_t address, size_t length, int prot)") as (...a: unknown[]) => number;
const sigaction = libc.func("int sigaction(int signal, const void *action, void *old)") as (...a: unknown[]) => number;
const sigaltstack = libc.func("int sigaltstack(const void *stack, void *old)") as (...a: unknown[]) => number;

function map(address: number, size: number, prot: number): Uint8Array {
  const got = Number(mmap(address, size, prot, MAP_PRIVATE_ANONYMOUS_FIXED_NOREPLACE, -1, 0));
  if (got !== address) throw new Error(`0x${address.toString(16)} is not free in this process`);
  return new Uint8Array(koffi.view(BigInt(address), size));
}

function installHandler(handler: number): void {
  const stack = HARNESS + 2 * PAGE;
  map(stack, SIGNAL_STACK, PROT.READ | PROT.WRITE);
  const altStack = Buffer.alloc(24); // void *sp; int flags; size_t size
  altStack.writeBigUInt64LE(BigInt(stack), 0);
  altStack.writeBigUInt64LE(BigInt(SIGNAL_STACK), 16);
  const action = Buffer.alloc(152); // handler; 128-byte mask; int flags; restorer (libc's own)
  action.writeBigUInt64LE(BigInt(handler), 0);
  action.writeUInt32LE(SA_SIGINFO_ONSTACK_NODEFER, 136);
  if (sigaltstack(altStack, null) !== 0) throw new Error("sigaltstack failed");
  for (const signal of SIGNALS)
    if (sigaction(signal, action, null) !== 0) throw new Error(`sigaction ${signal} failed`);
}

export class Processor {
  readonly #data: Uint8Array;
  readonly #code: Uint8Array;
  readonly #block: Uint8Array;
  readonly #fields: DataView;
  readonly #enter: () => void;
  readonly #exit: number;
  readonly #before: Uint8Array = DATA_PATTERN.slice();

  constructor() {
    this.#data = map(DATA, DATA_SIZE, PROT.READ | PROT.WRITE);
    this.#data.set(DATA_PATTERN);
    map(READ_ONLY, PAGE, PROT.READ | PROT.WRITE).set(READ_ONLY_PATTERN);
    mprotect(READ_ONLY, PAGE, PROT.READ);
    this.#code = map(CODE, PAGE, PROT.READ | PROT.WRITE | PROT.EXEC).fill(INT3);
    this.#block = map(HARNESS, 2 * PAGE, PROT.READ | PROT.WRITE | PROT.EXEC);
    this.#fields = new DataView(this.#block.buffer);
    const trampoline = buildTrampoline();
    this.#block.set(trampoline.bytes, trampoline.at - HARNESS);
    this.#exit = trampoline.exit;
    installHandler(trampoline.handler);
    this.#enter = koffi.decode(BigInt(trampoline.entry), koffi.proto("void enter()")) as () => void;
  }

  run(test: InstructionCase): Outcome {
    for (const patch of test.memory) this.#before.set(patch.bytes, patch.address - DATA);
    this.#data.set(this.#before);
    this.#putState(test.before);
    const length = test.bytes.length;
    const next = CODE_START + length;
    const at = CODE_START - CODE;
    this.#code.set(test.bytes, at);
    this.#code[at + length] = 0xe9; // JMP exit
    new DataView(this.#code.buffer).setInt32(at + length + 1, this.#exit - (next + 5), true);
    this.#enter();
    this.#code.fill(INT3, at, at + length + 5);
    const memory = memoryDifference(this.#before, this.#data, DATA);
    for (const { address, bytes } of test.memory) {
      this.#before.set(DATA_PATTERN.subarray(address - DATA, address - DATA + bytes.length), address - DATA);
    }
    return this.#takeOutcome(test.before, next, memory);
  }

  #putState(state: Uint8Array): void {
    const regs = new RegisterFile(padded(state).buffer);
    toFxsave(state, this.#block.subarray(Block.FX_IN, Block.FX_IN + 512));
    this.#block.set(state.subarray(Reg.GPR, Reg.GPR + 128), Block.GPR_IN);
    this.#fields.setBigUint64(Block.FLAGS_IN, BigInt(regs.rflags), true);
    this.#fields.setBigUint64(Block.FS_IN, regs.get64(Reg.FS_BASE), true);
    this.#fields.setBigUint64(Block.GS_IN, regs.get64(Reg.GS_BASE), true);
  }

  #takeOutcome(before: Uint8Array, next: number, memory: Outcome["memory"]): Outcome {
    const state = before.slice();
    const view = new DataView(state.buffer);
    const f = this.#fields;
    state.set(this.#block.subarray(Block.GPR_OUT, Block.GPR_OUT + 128), Reg.GPR);
    fromFxsave(this.#block.subarray(Block.FX_OUT, Block.FX_OUT + 512), state);
    view.setBigUint64(Reg.FS_BASE, f.getBigUint64(Block.FS_OUT, true), true);
    view.setBigUint64(Reg.GS_BASE, f.getBigUint64(Block.GS_OUT, true), true);
    const rflags = f.getUint32(Block.FLAGS_OUT, true);
    const { result, aux } = packFlags(rflags);
    view.setBigUint64(Reg.FLAG_RESULT, result, true);
    view.setBigUint64(Reg.FLAG_AUX, aux, true);
    view.setBigUint64(Reg.RFLAGS, BigInt(((rflags & ~Rflags.OSZAPC) | 2) >>> 0), true);
    const arrived = (rip: bigint): Outcome => {
      view.setBigUint64(Reg.RIP, rip, true);
      return { state, fault: undefined, memory };
    };
    const trap = Number(f.getBigUint64(Block.TRAP, true)) - 1;
    const trapRip = f.getBigUint64(Block.TRAP_RIP, true);
    // A jump has arrived: at an INT3 of the code page, or where nothing can be fetched.
    if (trap === TRAP.BP) return arrived(trapRip - 1n);
    if (trap === TRAP.PF && f.getUint32(Block.ERROR, true) & FETCH && trapRip !== BigInt(CODE_START))
      return arrived(trapRip);
    if (trap < 0) return arrived(BigInt(next));
    view.setBigUint64(Reg.RIP, trapRip, true);
    return { state, fault: this.#fault(trap), memory };
  }

  #fault(vector: number): Fault {
    const f = this.#fields;
    const address = vector === TRAP.PF ? f.getBigUint64(Block.CR2, true) : 0n;
    let errorCode = HAS_ERROR_CODE.has(vector) ? f.getUint32(Block.ERROR, true) : 0;
    // Linux tells user mode that every page above its own addresses is present.
    if (address >= TASK_SIZE_MAX) errorCode &= ~1;
    return { vector, errorCode, address };
  }
}

const scratch = new Uint8Array(Reg.SIZE);
function padded(state: Uint8Array): Uint8Array<ArrayBuffer> {
  scratch.set(state.subarray(0, STATE_BYTES));
  return scratch;
}
