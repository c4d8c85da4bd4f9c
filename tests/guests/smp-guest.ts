/* SmpGuest: a long-mode guest with several vCPUs on executor threads of their own: the real ones of src/vm, without Linux. Tests only.
 *
 * Linear = physical (the firmware's identity map), all of it supervisor, the devices' windows too. Each vCPU begins at At.CODE with its number in RDI and that
 * of all in RSI; the program is preceded by START and followed by FINISH, which ends the machine when all vCPUs have come there. */
import { ALL_PASSES } from "../../src/engine/wasm/translator/region-options.ts";
import { REGION_LIMITS } from "../../src/engine/wasm/translator/region-options.ts";
import { attachDevices, createDeviceShared, type Devices } from "../../src/device/layout.ts";
import { STOPPED } from "../../src/device/mailbox.ts";
import { hostNanos } from "../../src/engine/clock.ts";
import { Attention } from "../../src/engine/engine.ts";
import { Word } from "../../src/engine/wakeups.ts";
import { createStateMemory, vcpuAddress } from "../../src/engine/wasm/layout.ts";
import { RegisterFile } from "../../src/isa/register-file.ts";
import { Reg } from "../../src/isa/registers.ts";
import { initializeLongMode } from "../../src/isa/system/long-mode.ts";
import { FramePool } from "../../src/memory/frames.ts";
import { GuestRam } from "../../src/memory/guest-ram.ts";
import { FIRMWARE_BYTES, writeFirmware } from "../../src/vm/boot/firmware.ts";
import { Control, EXIT_REASONS, REGION_COUNTS } from "../../src/vm/executor-protocol.ts";
import { Executors, type ExecutorsEnd } from "../../src/vm/executors.ts";
import { code, type Listing } from "./listing.ts";

const RAM_BYTES = 8 * 1024 ** 2;
const IDT_BYTES = 0xff0;

export const At = {
  FIRMWARE: 0x1000,
  IDT: 0x5000,
  /** Limit and base, for LIDT. */
  IDTR: 0x5ff0,
  /** Words of the program; the first two count vCPUs that have finished and started. */
  WORDS: 0x9000,
  CODE: 0x10000,
  HANDLERS: 0x20000,
  /** vCPU n's stack grows down from here, 4 KiB for each. */
  STACKS: 0x40000,
  DATA: 0x50000,
  MADE: 0x60000,
} as const;
if (At.FIRMWARE + FIRMWARE_BYTES > At.IDT) throw new RangeError("the firmware has no room");

/** All begin the program at the same time. */
const START = code(`
  f0 ff 04 25 04 90 00 00         lock inc dword [0x9004]
  wait:
  f3 90                           pause
  39 34 25 04 90 00 00            cmp [0x9004], esi
  75 f5                           jne wait
`);
const FINISH = code(`
  f0 ff 04 25 00 90 00 00         lock inc dword [0x9000]
  85 ff                           test edi, edi
  75 13                           jne park
  wait:
  f3 90                           pause
  39 34 25 00 90 00 00            cmp [0x9000], esi
  75 f5                           jne wait
  b8 00 00 b0 fe                  mov eax, 0xfeb00000
  c6 00 34                        mov byte [rax], 0x34
  park:
  f4                              hlt
  eb fd                           jmp park
`);

let limits = REGION_LIMITS;
/** From now on guests ask for the translation of what they run as soon as they run it. */
export function translateSoon(): void {
  limits = { ...REGION_LIMITS, threshold: 0 };
}
let nativeCode = false;
/** From now on guests run native code, where hot or, after translateSoon(), from the beginning. */
export function useNativeCode(): void {
  nativeCode = true;
}
let regions = 0;
/** Regions that this file's guests have had. */
export const regionsSoFar = (): number => regions;

export interface SmpOptions {
  readonly vcpus?: number;
  readonly executors?: number;
  /** All but the first wait for the wakeup mailbox; then there is no START. */
  readonly parked?: boolean;
  /** RBX and RCX of all. */
  readonly rbx?: number;
  readonly rcx?: number;
}

export class SmpGuest {
  readonly ram: GuestRam;
  readonly state: WebAssembly.Memory;
  readonly devices: Devices;
  readonly files: readonly RegisterFile[];
  readonly #words: readonly Int32Array[];
  readonly #executors: Executors;
  readonly #regionCounts: SharedArrayBuffer;

  constructor(program: Listing, options: SmpOptions = {}) {
    const { vcpus = 2, executors = vcpus, parked = false, rbx = At.DATA, rcx = 0 } = options;
    this.ram = GuestRam.create(FramePool.create(2 * RAM_BYTES), RAM_BYTES, executors);
    const state = (this.state = createStateMemory(executors));
    const numbers = Array.from({ length: vcpus }, (_, n) => n);
    const registerFiles = (this.#words = numbers.map(
      (n) => new Int32Array(state.buffer, vcpuAddress(n), Reg.SIZE / 4),
    ));
    registerFiles.forEach((file, n) => (file[Word.OWNER] = n % executors));
    const shared = createDeviceShared({ vcpus, virtio: [] });
    this.devices = attachDevices(shared, {
      registerFiles,
      memory: this.ram,
      hostNs: hostNanos,
      realtimeNs: () => 0n,
    });
    this.files = numbers.map((n) => new RegisterFile(state.buffer, vcpuAddress(n)));
    this.#initialize(rbx, rcx);
    if (parked) for (const regs of this.files.slice(1)) regs.set32(Reg.RUN_STATE, STOPPED);
    const parts = [...(parked ? [] : [START]), program, FINISH];
    this.ram.write(At.CODE, Uint8Array.from(parts.flatMap(({ bytes }) => [...bytes])));
    const control = new SharedArrayBuffer(4);
    new Int32Array(control)[0] = Control.NOT_YET;
    const exits = new SharedArrayBuffer(8 * EXIT_REASONS.length * executors);
    const region = { passes: ALL_PASSES, parallel: true };
    const regionCounts = (this.#regionCounts = new SharedArrayBuffer(8 * REGION_COUNTS.length * executors));
    const threads = new SharedArrayBuffer(4 * executors);
    const told = {
      nativeCode,
      keptCode: undefined,
      quickDisks: [],
      threads,
      kvmFeatures: 0,
      cpuFeatures: undefined,
      region,
      limits,
      regionCounts,
    };
    const start = { state, ram: this.ram.shared, devices: shared, vcpus, exits, control, ...told };
    this.#executors = new Executors(executors, start, this.devices.wakeups);
  }
  #initialize(rbx: number, rcx: number): void {
    const firmware = writeFirmware(this.ram, At.FIRMWARE);
    this.ram.writeU16(At.IDTR, IDT_BYTES - 1);
    this.ram.writeU64(At.IDTR + 2, BigInt(At.IDT));
    this.files.forEach((regs, apicId) => {
      const rsp = BigInt(At.STACKS + 0x1000 * (apicId + 1));
      initializeLongMode(regs, { ...firmware, rip: BigInt(At.CODE), rsp, rsi: BigInt(this.files.length), apicId });
      regs.setGpr(7, BigInt(apicId));
      regs.setGpr(3, BigInt(rbx));
      regs.setGpr(1, BigInt(rcx));
    });
    this.devices.reset();
    for (const apic of this.devices.localApics.apics) apic.writeMsr(0x80f, 0x1ffn); // software-enabled
  }

  /** Puts a handler of a vector into memory. */
  handler(vector: number, { bytes }: Listing): void {
    const at = At.HANDLERS + 0x100 * (vector & 15);
    this.ram.write(at, bytes);
    this.ram.writeU64(
      At.IDT + 16 * vector,
      BigInt(at & 0xffff) | (0x10n << 16n) | (0x8e00n << 32n) | (BigInt(at >> 16) << 48n),
    );
    this.ram.writeU64(At.IDT + 16 * vector + 8, 0n);
  }
  /** Runs until all vCPUs have finished. @throws if one shuts down instead */
  async run(): Promise<void> {
    const { shutdown, states } = await this.end();
    if (shutdown) throw new Error(states.map(({ text }) => text).join("\n"));
  }
  /** As run, for guests that may shut down. */
  async end(): Promise<ExecutorsEnd> {
    const stop = this.devices.doorbell.serve(() => this.#executors.stop(false));
    this.#executors.start();
    try {
      return await this.#executors.end;
    } finally {
      await stop();
      await this.#executors.terminate();
      new Float64Array(this.#regionCounts).forEach((count, i) => {
        if (REGION_COUNTS[i % REGION_COUNTS.length] === "regions") regions += count;
      });
    }
  }
  /** What a caller does whose own vCPU waits behind this one. */
  askOut(vcpu: number): void {
    Atomics.or(this.#words[vcpu]!, Word.ATTENTION, Attention.COME_OUT);
  }
  u8(address: number): number {
    return this.ram.readU16(address)! & 0xff;
  }
  u16(address: number): number {
    return this.ram.readU16(address)!;
  }
  u32(address: number): number {
    const bytes = new Uint8Array(4);
    this.ram.read(address, bytes);
    return new DataView(bytes.buffer).getUint32(0, true);
  }
  u64(address: number): bigint {
    return this.ram.readU64(address)!;
  }
}
