/* The oracle's Cpu: registers and flat memory, and a machine around it in which there is nothing: no ports, no device MSRs, a clock and an
 * entropy source that stand still, so that results can be compared.
 */
import { type Cpu, GuestFault, type Privilege, Vector } from "../../isa/cpu.ts";
import type { RegisterFile } from "../../isa/register-file.ts";
import { Reg } from "../../isa/registers.ts";
import { type CpuModel, cpuModel } from "../../isa/system/cpu-model.ts";
import type { FlatMemory } from "./flat-memory.ts";

export class OracleCpu implements Cpu {
  readonly regs: RegisterFile;
  readonly memory: FlatMemory;
  readonly model: CpuModel = cpuModel(1);
  #current = 0n;
  #next = 0n;
  /** Where the instruction has gone, if not to the next one. */
  #target: bigint | undefined;

  constructor(regs: RegisterFile, memory: FlatMemory) {
    this.regs = regs;
    this.memory = memory;
  }

  begin(length: number): void {
    this.#current = this.regs.get64(Reg.RIP);
    this.#next = BigInt.asUintN(64, this.#current + BigInt(length));
    this.#target = undefined;
  }
  /** Writes RIP. */
  end(): void {
    this.regs.set64(Reg.RIP, this.#target ?? this.#next);
  }

  #user(privilege: Privilege): boolean {
    return privilege === "current" && this.regs.cpl === 3;
  }
  read(address: bigint, size: number, privilege: Privilege = "current", notCanonical: number = Vector.GP): bigint {
    const at = BigInt.asUintN(64, address);
    this.memory.check(at, size, false, this.#user(privilege), notCanonical);
    return this.memory.read(at, size);
  }
  write(
    address: bigint,
    size: number,
    value: bigint,
    privilege: Privilege = "current",
    notCanonical: number = Vector.GP,
  ): void {
    const at = BigInt.asUintN(64, address);
    this.memory.check(at, size, true, this.#user(privilege), notCanonical);
    this.memory.write(at, size, value);
  }
  probeWrite(address: bigint, size: number, privilege: Privilege = "current", notCanonical: number = Vector.GP): void {
    this.memory.check(BigInt.asUintN(64, address), size, true, this.#user(privilege), notCanonical);
  }
  nextRip(): bigint {
    return this.#next;
  }
  currentRip(): bigint {
    return this.#current;
  }
  setRip(rip: bigint): void {
    this.#target = BigInt.asUintN(64, rip);
  }

  flushTlb(): void {}
  modeChanged(): void {}
  halt(): void {}
  interruptsMayBeOpen(): void {}
  tsc(): bigint {
    return 0n;
  }
  random64(): bigint {
    return 0n;
  }
  readDeviceMsr(): undefined {
    return undefined;
  }
  writeDeviceMsr(): boolean {
    return false;
  }
  portIn(_port: number, size: 1 | 2 | 4): number {
    return size === 4 ? 0xffff_ffff : (1 << (8 * size)) - 1;
  }
  portOut(): void {}
  readTpr(): number {
    return 0;
  }
  writeTpr(): void {}
  hypercall(): bigint {
    throw new GuestFault(Vector.UD);
  }
}
