/* Compares a whole boot in lockstep, and narrows a difference down: the boot is repeated up to the last point where all was equal, then slice by slice with all
 * of memory compared, then again with the smallest slices that the translated code allows. Each repetition is the same, so nothing needs to be saved. */
import { describeVcpu } from "../../src/vm/state-dump.ts";
import { FRAME_BYTES } from "../../src/memory/frames.ts";
import { Lockstep } from "./lockstep.ts";
import type { BootImage, RepeatableOptions, Translation } from "./repeatable-machine.ts";
import { codeAddress, Trace } from "./trace.ts";

export interface Comparison {
  readonly image: BootImage;
  readonly options: RepeatableOptions;
  readonly translation: Translation;
  /** How far. */
  readonly instructions: number;
  /** Of one slice; registers are compared after each. */
  readonly slice: number;
  /** Memory and devices are compared after each of so many slices, and at the end. */
  readonly memoryEvery: number;
  onSerial?(bytes: Uint8Array): void;
  onProgress?(retired: number): void;
}
export interface Result {
  readonly retired: number;
  /** Why the guest ended, if it did. */
  readonly end: string | undefined;
  /** Regions of the translating machine. */
  readonly regions: number;
  /** Empty: equal to the end. */
  readonly differences: readonly string[];
  /** Slices done, and how many of them were done when all was equal. */
  readonly slices: number;
  readonly equal: number;
}

function start({ image, options, translation }: Comparison): Lockstep {
  return new Lockstep(image, options, translation);
}

export function compareBoot(comparison: Comparison): Result {
  const pair = start(comparison);
  if (comparison.onSerial) pair.onSerial = comparison.onSerial;
  let equal = 0;
  for (let slices = 1; ; slices++) {
    const withMemory = slices % comparison.memoryEvery === 0;
    const { end, differences } = pair.slice(comparison.slice, withMemory);
    const over = end !== undefined || pair.retired >= comparison.instructions;
    const found = over && differences.length === 0 ? pair.compare(true) : differences;
    if (over || found.length > 0) {
      const regions = pair.leader.engine.regions.counts.regions;
      return { retired: pair.retired, end, regions, differences: found, slices, equal };
    }
    if (withMemory) equal = slices;
    comparison.onProgress?.(pair.retired);
  }
}

/** Repeats the boot to a difference. @returns its description, many lines */
export function narrowDown(comparison: Comparison, { equal, slices }: Result): string[] {
  const { slice } = comparison;
  const again = (count: number): Lockstep => {
    const pair = start(comparison);
    for (let i = 0; i < count; i++) pair.slice(slice, false);
    return pair;
  };
  let pair = again(equal);
  let before = equal;
  while (before < slices && pair.slice(slice, true).differences.length === 0) before++;
  if (before === slices) return ["a repetition found no difference: something in it does not repeat"];
  const end = pair.retired;
  pair = again(before);
  while (pair.retired < end) {
    const report = tracedSlice(pair, 1);
    if (report) return report;
  }
  pair = again(before);
  const report = tracedSlice(pair, slice);
  return ["with smaller slices there is no difference", ...(report ?? ["nor with the follower stepping"])];
}

/** A slice with the follower's instructions noted. @returns what is to be said of a difference */
function tracedSlice(pair: Lockstep, instructions: number): string[] | undefined {
  const { leader, follower } = pair;
  const from = leader.place;
  const region = regionAt(pair, from.rip);
  pair.trace = new Trace(follower.ram.pool.bytes);
  const { differences } = pair.slice(instructions, true);
  if (differences.length === 0) return undefined;
  const isIn = (address: number): boolean =>
    region?.runs.some((run) => address >= run.from && address < run.to) === true;
  return [
    `from ${from.retired} instructions at ${from.rip.toString(16)} to ${leader.vcpu.retired} (translator, interpreter):`,
    ...differences.map((line) => `  ${line}`),
    "the interpreter's instructions (| in the region that the translator began with):",
    ...pair.trace.lines((address) => (isIn(address) ? "| " : "  ")),
    ...(region?.lines ?? ["the translator began with no region"]),
    describeVcpu(leader.vcpu, "the translating vCPU"),
    describeVcpu(follower.vcpu, "the interpreting vCPU"),
  ];
}

/** The region that the leader enters at an address. Its runs are in the follower's frames memory. */
function regionAt({ leader, follower }: Lockstep, rip: bigint) {
  const address = codeAddress(leader.vcpu, rip);
  const region = leader.engine.regions.at(address);
  if (region === undefined) return undefined;
  const runs = region.runs.map(({ frame, from, to }) => {
    const page = leader.ram.map.indexOf(frame);
    const base = follower.ram.map[page]! * FRAME_BYTES;
    return { page, from: base + from, to: base + to };
  });
  const physical = (page: number, at: number): string => (page * FRAME_BYTES + (at % FRAME_BYTES)).toString(16);
  const text = runs.map(({ page, from, to }) => `${physical(page, from)}+${(to - from).toString(16)}`);
  return { runs, lines: [`the region's runs (physical address+length, its seed first): ${text.join(" ")}`] };
}
