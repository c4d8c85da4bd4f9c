/* The runners by name: the processor, the oracle, and the wasm engine's interpreter and translator. */
import { OracleMachine } from "../../src/engine/oracle/test-machine.ts";
import { TRANSLATE_ALL } from "../../src/engine/wasm/engine.ts";
import { createTestMachine } from "../../src/engine/wasm/test-machine.ts";
import { CALLS } from "../../src/isa/system/calls.ts";
import { NativeRunner, nativeUnavailable } from "../native/native-runner.ts";
import type { Runner } from "./case.ts";
import { MachineRunner, RANGES } from "./machine-runner.ts";

export type RunnerName = "native" | "oracle" | "wasm" | "translator";

/** Why a runner cannot work here; undefined if it can. */
export function unavailable(name: RunnerName): string | undefined {
  return name === "native" ? nativeUnavailable() : undefined;
}

/** @throws Error with the reason if this runner cannot work here */
export async function openRunner(name: RunnerName): Promise<Runner> {
  const reason = unavailable(name);
  if (reason) throw new Error(`no ${name} runner: ${reason}`);
  if (name === "native") return new NativeRunner();
  if (name === "oracle") return new MachineRunner(name, new OracleMachine(RANGES, CALLS));
  const machine = name === "translator" ? createTestMachine(RANGES, TRANSLATE_ALL) : createTestMachine(RANGES);
  return new MachineRunner(name, machine);
}
