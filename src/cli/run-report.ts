/* What `mere run` says at the end: how the machine ended, and with --stats what it cost. Everything goes to standard error. */
import { type CliError, ExitStatus, failure } from "./cli-error.ts";
import type { LastLines } from "../vm/last-lines.ts";
import { formatBytes, formatCount, formatRate } from "./format.ts";

/** How a machine ended. @source src/vm/machine.ts */
export interface MachineEnd {
  readonly reason: "poweroff" | "reset" | "shutdown" | "panic" | "stopped";
  /** The processor's state when it stopped. */
  readonly detail?: string;
}

/** What a machine counted. @source src/vm/machine.ts */
export interface MachineStats {
  readonly retired: bigint;
  readonly seconds: number;
  readonly framesInUse: number;
  readonly exits: Readonly<Record<string, number>>;
}

const FRAME_BYTES = 4096;
/** Exit status of `mere run` for a machine that ended by itself.
 *  @param commandStatus what Mere's init reported; undefined if it reported nothing, null if there is no init of Mere's in the guest
 *  @throws CliError (failure) for a guest that crashed or ended without telling its command's status */
export function exitStatusOf(end: MachineEnd, commandStatus: number | undefined | null, serial: LastLines): number {
  if (end.reason === "shutdown") throw crashed("the guest's processor shut down (a triple fault)", end.detail, serial);
  if (end.reason === "panic") throw crashed("the guest's kernel panicked", end.detail, serial);
  if (typeof commandStatus === "number") return commandStatus;
  if (commandStatus === null) return ExitStatus.ok;
  const how = { poweroff: "powered off", reset: "rebooted", stopped: "was stopped" }[end.reason];
  throw crashed(`the guest ${how} before its command ended`, end.detail, serial);
}

function crashed(what: string, detail: string | undefined, serial: LastLines): CliError {
  const lines = serial.lines();
  const parts = [what, ...(detail === undefined ? [] : [detail.trimEnd()])];
  if (lines.length > 0) parts.push("The last lines of its serial port:", ...lines.map((line) => `  ${line}`));
  return failure(parts.join("\n"));
}

/** The lines of --stats. */
export function statsLines(stats: MachineStats): string[] {
  const perSecond = Number(stats.retired) / stats.seconds;
  const exits = Object.entries(stats.exits)
    .filter(([, count]) => count > 0)
    .toSorted(([, a], [, b]) => b - a)
    .map(([reason, count]) => `${reason} ${formatCount(count)}`);
  return [
    `instructions  ${formatCount(stats.retired)} in ${stats.seconds.toFixed(2)} s (${formatRate(perSecond)})`,
    `memory        ${formatCount(stats.framesInUse)} frames in use (${formatBytes(stats.framesInUse * FRAME_BYTES)})`,
    `exits         ${exits.length === 0 ? "none" : exits.join(", ")}`,
  ];
}
