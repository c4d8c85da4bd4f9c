/* Native code in lockstep. Its RDTSC reads the host's clock, which does not repeat: that is left to the interpreter. */
import { leaveOut } from "../../src/engine/native/supported.ts";
import { TRANSLATION } from "../../src/engine/wasm/engine.ts";
import { nativeCode } from "../../src/vm/native-host.ts";
import type { Translation } from "./repeatable-machine.ts";

/** For the whole process. */
export const NATIVE: Translation = () => {
  leaveOut(["rdtsc", "rdtscp"]);
  return { ...TRANSLATION, native: nativeCode };
};
