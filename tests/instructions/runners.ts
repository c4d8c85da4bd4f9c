/* The runners by name. The wasm engine's appears as soon as src/engine/wasm/test-machine.ts exports createTestMachine(ranges). */
import { existsSync } from "node:fs";
import { OracleMachine } from "../../src/engine/oracle/test-machine.ts";
import type { TestMachine, TestRange } from "../../src/engine/test-machine.ts";
import { CALLS } from "../../src/isa/system/calls.ts";
import { NativeRunner, nativeUnavailable } from "../native/native-runner.ts";
import type { Runner } from "./case.ts";
import { MachineRunner, RANGES } from "./machine-runner.ts";

export type RunnerName = "native" | "oracle" | "wasm";

const WASM_MACHINE = new URL("../../src/engine/wasm/test-machine.ts", import.meta.url);

/** Why a runner cannot work here; undefined if it can. */
export function unavailable(name: RunnerName): string | undefined {
  if (name === "native") return nativeUnavailable();
  if (name === "wasm" && !existsSync(WASM_MACHINE)) return "the wasm engine offers no test machine";
  return undefined;
}

/** @throws Error with the reason if this runner cannot work here */
export async function openRunner(name: RunnerName): Promise<Runner> {
  const reason = unavailable(name);
  if (reason) throw new Error(`no ${name} runner: ${reason}`);
  if (name === "native") return new NativeRunner();
  if (name === "oracle") return new MachineRunner(name, new OracleMachine(RANGES, CALLS));
  const { createTestMachine } = (await import(WASM_MACHINE.href)) as {
    createTestMachine: (ranges: readonly TestRange[]) => TestMachine | Promise<TestMachine>;
  };
  return new MachineRunner(name, await createTestMachine(RANGES));
}
