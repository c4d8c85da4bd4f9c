/* The runners by name: the processor, the oracle, the wasm engine's interpreter and translator, and native code ("hostcode": "native" is the processor
 * itself). */
import { readFileSync } from "node:fs";
import { OracleMachine } from "../../src/engine/oracle/test-machine.ts";
import { TRANSLATE_ALL, TRANSLATION } from "../../src/engine/wasm/engine.ts";
import { createTestMachine } from "../../src/engine/wasm/test-machine.ts";
import { CALLS } from "../../src/isa/system/calls.ts";
import { NativeRunner, nativeUnavailable } from "../native/native-runner.ts";
import { nativeCode } from "../../src/vm/native-host.ts";
import { nativeUnavailable as noNativeCode } from "../../src/vm/native-support.ts";
import type { Runner } from "./case.ts";
import { MachineRunner, RANGES } from "./machine-runner.ts";

export type RunnerName = "native" | "oracle" | "wasm" | "translator" | "hostcode";

/** Why a runner cannot work here; undefined if it can. */
export function unavailable(name: RunnerName): string | undefined {
  if (name === "hostcode") return noNativeCode();
  return name === "native" ? (nativeUnavailable() ?? otherProcessor()) : undefined;
}
/** What the SDM leaves to no one else: near jumps with 66 keep all of RIP, FXSAVE stores pointers also where no exception waits. @source AMD64 APM vol. 3 "JMP (Near)", vol. 2 §11.4.4 */
function otherProcessor(): string | undefined {
  const vendor = /^vendor_id\s*: (.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
  return vendor === "GenuineIntel"
    ? undefined
    : `cases are as on Intel's processors, and this is one of ${vendor ?? "another maker"}`;
}

/** @throws Error with the reason if this runner cannot work here */
export async function openRunner(name: RunnerName): Promise<Runner> {
  const reason = unavailable(name);
  if (reason) throw new Error(`no ${name} runner: ${reason}`);
  if (name === "native") return new NativeRunner();
  if (name === "oracle") return new MachineRunner(name, new OracleMachine(RANGES, CALLS));
  const translations = {
    wasm: TRANSLATION,
    translator: TRANSLATE_ALL,
    hostcode: { ...TRANSLATE_ALL, native: nativeCode },
  };
  return new MachineRunner(name, createTestMachine(RANGES, translations[name]));
}
