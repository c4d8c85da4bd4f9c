/* What is shown of a vCPU that shut down: reason, registers, the instructions at RIP. */
import { createDecoder, newDecoded } from "../isa/decode.ts";
import { disassemble } from "../isa/disassemble.ts";
import type { Cpu } from "../isa/cpu.ts";
import { GuestFault } from "../isa/cpu.ts";
import { GPR_NAMES, Reg, SegmentIndex } from "../isa/registers.ts";

const SHOWN_INSTRUCTIONS = 6;
const MAX_INSTRUCTION = 15;

const hex = (v: bigint): string => v.toString(16).padStart(16, "0");

/** Several lines of text. */
export function describeVcpu(cpu: Cpu, reason: string): string {
  const { regs } = cpu;
  const rows: string[] = [];
  for (let n = 0; n < 16; n += 4) {
    rows.push(
      GPR_NAMES.slice(n, n + 4)
        .map((name, i) => `${name.padEnd(3)} ${hex(regs.gpr(n + i))}`)
        .join("  "),
    );
  }
  const control = (["CR0", "CR2", "CR3", "CR4", "EFER"] as const).map(
    (name) => `${name} ${regs.get64(Reg[name]).toString(16)}`,
  );
  const cs = regs.segment(SegmentIndex.CS);
  return [
    `${reason} at RIP ${hex(regs.get64(Reg.RIP))}, CPL ${regs.cpl}, RFLAGS ${regs.rflags.toString(16)}, CS ${cs.selector.toString(16)}`,
    ...rows,
    control.join("  "),
    `GDT ${hex(regs.get64(Reg.GDTR_BASE))}  IDT ${hex(regs.get64(Reg.IDTR_BASE))}  ${regs.get64(Reg.RETIRED)} instructions retired`,
    ...instructionsAt(cpu, regs.get64(Reg.RIP)),
  ].join("\n");
}

/** The next few instructions, as far as they can be read. */
function instructionsAt(cpu: Cpu, rip: bigint): string[] {
  const bytes = readCode(cpu, rip, SHOWN_INSTRUCTIONS * MAX_INSTRUCTION);
  if (bytes.length === 0) return ["  (the code there is not mapped)"];
  const decoder = createDecoder();
  const d = newDecoded();
  const lines: string[] = [];
  for (let at = 0; at < bytes.length && lines.length < SHOWN_INSTRUCTIONS; at += d.length) {
    if (decoder.decode(bytes, at, bytes.length, d)) {
      lines.push(
        `  ${hex(rip + BigInt(at))}  ${Buffer.from(bytes.subarray(at, at + 8)).toString("hex")}  (no instruction)`,
      );
      break;
    }
    lines.push(`  ${hex(rip + BigInt(at))}  ${disassemble(d, rip + BigInt(at))}`);
  }
  return lines;
}
function readCode(cpu: Cpu, rip: bigint, length: number): Uint8Array {
  const bytes: number[] = [];
  try {
    for (let i = 0; i < length; i++) bytes.push(Number(cpu.read(rip + BigInt(i), 1, "system")));
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
  }
  return Uint8Array.from(bytes);
}
