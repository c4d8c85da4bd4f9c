/* Where indirect jumps and calls went: a list behind the decoded entry of each, which the interpreter's handlers fill and regions are made by. A target is its
 * distance from the page of the jump, so that all mappings of the page share it; one that is too far is not kept. Counts are for choosing: they may wrap, and where several
 * vCPUs shared an executor nobody tells them apart. Returns are not listed: where they go is known from the calls. @source docs/translator.md "Passes" */
import type { Decoded } from "../../isa/decoded.ts";
import { Reg } from "../../isa/registers.ts";
import { CALL_INDIRECT, JMP_INDIRECT } from "../../isa/sem/control.ts";
import { FunctionBuilder } from "../../wasm/function.ts";
import { STATE } from "./emit-flags.ts";
import { ENTRY, type Imports } from "./emit-memory.ts";
import { Entry, JUMP_TARGET_BYTES, JUMP_TARGETS } from "./layout.ts";

/** Farther targets are in other files, which other processes have elsewhere: a region with both would not be theirs. */
const FARTHEST = 2 ** 24;
const COUNT = 4;
/** Entries that a list takes. */
export const TARGET_ENTRIES = (JUMP_TARGETS * JUMP_TARGET_BYTES) / Entry.BYTES;
/** Makes a list without targets. @param words of the state memory  @param at its address */
export function clearTargets(words: Int32Array, at: number): void {
  words.fill(0, at >> 2, (at + JUMP_TARGETS * JUMP_TARGET_BYTES) >> 2);
}
/** Has the instruction's entry such a list behind it? */
export const hasTargets = ({ row: { semantics } }: Decoded): boolean =>
  semantics === JMP_INDIRECT || semantics === CALL_INDIRECT;

/** Writes a handler's code that counts its target. */
export function emitNoteTarget(f: FunctionBuilder, pushTarget: () => void, imports: Imports): void {
  f.get(ENTRY);
  pushTarget();
  f.get(STATE).memory("i64.load", Reg.PAGE_VA).op("i64.sub");
  f.call(imports.function("noteTarget"));
}

/** Writes a handler's code that keeps what a conditional jump does. Takes the condition (i32, 0 or 1) from the stack and leaves it there. */
export function emitNoteBranch(f: FunctionBuilder): void {
  const taken = f.local("i32");
  f.set(taken).get(ENTRY).get(ENTRY).memory("i32.load16_u", Entry.HISTORY).i32(1).op("i32.shl");
  f.get(taken).op("i32.or").memory("i32.store16", Entry.HISTORY).get(taken);
}

/** The function noteTarget (core.ts CORE_FUNCTIONS): counts the target. The last place is for all that have none. */
export function noteTarget(): FunctionBuilder {
  const f = new FunctionBuilder(["i32", "i64"], []);
  const [entry, distance] = [0, 1];
  const [at, end, target] = [f.local("i32"), f.local("i32"), f.local("i32")];
  const first = Entry.BYTES;
  f.get(entry)
    .i32(first + (JUMP_TARGETS - 1) * JUMP_TARGET_BYTES)
    .op("i32.add")
    .tee(end);
  f.get(entry).i32(first).op("i32.add");
  f.get(distance).i64(FARTHEST).op("i64.add");
  f.i64(2 * FARTHEST).op("i64.ge_u");
  f.op("select").set(at);
  f.get(distance).op("i32.wrap_i64").set(target);
  const found = f.block();
  const next = f.loop();
  f.get(at).get(end).op("i32.eq").brIf(found);
  f.get(at).memory("i32.load", COUNT).op("i32.eqz").if();
  f.get(at).get(target).memory("i32.store").br(found).end();
  f.get(at).memory("i32.load").get(target).op("i32.eq").brIf(found);
  f.get(at).i32(JUMP_TARGET_BYTES).op("i32.add").set(at).br(next).end().end();
  f.get(at).get(at).memory("i32.load", COUNT).i32(1).op("i32.add").memory("i32.store", COUNT);
  return f;
}

/** A smaller part is not worth a comparison. */
const RARE = 1 / 64;

export interface JumpTargets {
  /** From the page of the jump, the most frequent first, with their part of all. */
  readonly targets: readonly { readonly target: number; readonly share: number }[];
  /** There were more that are worth something. */
  readonly more: boolean;
}

/** What was noted behind the entries of one jump. @param words of the state memory */
export function jumpTargets(words: Int32Array, entries: readonly number[]): JumpTargets {
  const counts = new Map<number, number>();
  let others = 0;
  for (const entry of entries) {
    const first = (entry + Entry.BYTES) >> 2;
    for (let i = 0; i < JUMP_TARGETS; i++) {
      const at = first + (i * JUMP_TARGET_BYTES) / 4;
      const count = words[at + COUNT / 4] >>> 0;
      if (i === JUMP_TARGETS - 1) others += count;
      else if (count > 0) counts.set(words[at], (counts.get(words[at]) ?? 0) + count);
    }
  }
  const all = [...counts.values()].reduce((sum, count) => sum + count, others);
  const targets = [...counts].map(([target, count]) => ({ target, share: count / all }));
  return {
    targets: targets.filter(({ share }) => share >= RARE).toSorted((a, b) => b.share - a.share),
    more: others > all * RARE,
  };
}
