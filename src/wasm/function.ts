/* FunctionBuilder: writes one function body. Locals are allocated by type; labels are absolute nesting levels, so that a branch names its target
 * wherever it stands. Knows nothing of x86. @source WebAssembly Core Specification §5.4 */
import { ByteWriter } from "./bytes.ts";
import { OPCODES, ValueType, type ValueTypeName } from "./opcodes.ts";

const NOP = 0x01;

export type Local = number;
export type Label = number;

/** Memories of a module that loads and stores may name. 64-bit memories take i64 addresses. */
export type MemoryIndex = 0 | 1 | 2;

export class FunctionBuilder {
  readonly code = new ByteWriter();
  readonly parameters: readonly ValueTypeName[];
  readonly results: readonly ValueTypeName[];
  #locals: ValueTypeName[] = [];
  /** Locals given back by reuseLocals, by type. */
  #free = new Map<ValueTypeName, Local[]>();
  #scope: { type: ValueTypeName; local: Local }[] | undefined;
  #depth = 0;
  /** Branch hints: position in the code of an `if` or `br_if`, and whether its condition is likely to hold. */
  #hints: { at: number; likely: boolean }[] = [];
  /** Positions of ramAddress(). */
  #ramAddresses: number[] = [];

  /** Memories 0 and 1 change places in the module: engines address memory 0 with fewer instructions. */
  readonly #swapped: boolean;

  constructor(parameters: readonly ValueTypeName[], results: readonly ValueTypeName[], swapped = false) {
    this.#swapped = swapped;
    this.parameters = parameters;
    this.results = results;
  }

  local(type: ValueTypeName): Local {
    const local = this.#free.get(type)?.pop() ?? this.parameters.length + this.#locals.push(type) - 1;
    this.#scope?.push({ type, local });
    return local;
  }
  /** A local that reuseLocals does not take back. */
  lasting(type: ValueTypeName): Local {
    return this.parameters.length + this.#locals.push(type) - 1;
  }
  /** Runs `write`; the locals it took are free for others afterwards. */
  reuseLocals(write: () => void): void {
    this.#scope = [];
    write();
    for (const { type, local } of this.#scope) {
      const free = this.#free.get(type);
      if (free) free.push(local);
      else this.#free.set(type, [local]);
    }
    this.#scope = undefined;
  }

  /** The address on the stack (i64) becomes one of memory 1: finish() says how wide those are. @source docs/design.md "Memories" */
  ramAddress(): this {
    this.#ramAddresses.push(this.code.length);
    return this.op("i32.wrap_i64");
  }
  /** Tells the compiler about the condition of the `if` or `br_if` that is written next. @source WebAssembly branch hinting proposal */
  likely(likely: boolean): this {
    this.#hints.push({ at: this.code.length, likely });
    return this;
  }
  /** Writes code in front of all that was written so far. It must leave no label open. */
  prepend(write: () => void): void {
    const body = this.code.view().slice();
    const hints = this.#hints;
    const ramAddresses = this.#ramAddresses;
    this.code.length = 0;
    this.#hints = [];
    this.#ramAddresses = [];
    write();
    const shift = this.code.length;
    this.code.raw(body);
    this.#hints.push(...hints.map(({ at, likely }) => ({ at: at + shift, likely })));
    this.#ramAddresses.push(...ramAddresses.map((at) => at + shift));
  }
  /** Any instruction without immediates, by its text name. */
  op(name: string): this {
    const code = OPCODES.get(name);
    if (code === undefined) throw new Error(`no wasm instruction ${name}`);
    if (code >= 0x1000) {
      this.code.u8(code >> 12);
      this.code.u(code & 0xfff);
    } else this.code.u8(code);
    return this;
  }
  /** A lane instruction (extract_lane, replace_lane). */
  laneOp(name: string, lane: number): this {
    this.op(name);
    this.code.u8(lane);
    return this;
  }
  get(local: Local): this {
    this.code.u8(0x20);
    this.code.u(local);
    return this;
  }
  set(local: Local): this {
    this.code.u8(0x21);
    this.code.u(local);
    return this;
  }
  tee(local: Local): this {
    this.code.u8(0x22);
    this.code.u(local);
    return this;
  }
  i32(v: number): this {
    this.code.u8(0x41);
    this.code.s32(v);
    return this;
  }
  i64(v: bigint | number): this {
    this.code.u8(0x42);
    this.code.s64(BigInt.asIntN(64, BigInt(v)));
    return this;
  }
  f64(v: number): this {
    this.code.u8(0x44);
    this.code.f64(v);
    return this;
  }
  v128(lo: bigint, hi: bigint): this {
    this.op("v128.const");
    this.code.u64(lo);
    this.code.u64(hi);
    return this;
  }
  shuffle(lanes: readonly number[]): this {
    this.op("i8x16.shuffle");
    for (const lane of lanes) this.code.u8(lane);
    return this;
  }
  /** Load or store by text name. Alignment hint is 1 byte except for atomics, which need their natural one. */
  memory(name: string, offset = 0, memory: MemoryIndex = 0, alignLog2 = 0): this {
    this.op(name);
    const index = this.#swapped && memory < 2 ? 1 - memory : memory;
    this.code.u(index === 0 ? alignLog2 : alignLog2 | 0x40);
    if (index !== 0) this.code.u(index);
    this.code.u(offset);
    return this;
  }
  memoryFill(memory: MemoryIndex): this {
    this.code.u8(0xfc);
    this.code.u(11);
    this.code.u(memory);
    return this;
  }
  memoryCopy(to: MemoryIndex, from: MemoryIndex): this {
    this.code.u8(0xfc);
    this.code.u(10);
    this.code.u(to);
    this.code.u(from);
    return this;
  }
  fence(): this {
    this.op("atomic.fence");
    this.code.u8(0);
    return this;
  }

  #open(opcode: number, result: ValueTypeName | undefined): Label {
    this.code.u8(opcode);
    this.code.u8(result === undefined ? 0x40 : ValueType[result]);
    return ++this.#depth;
  }
  block(result?: ValueTypeName): Label {
    return this.#open(0x02, result);
  }
  loop(result?: ValueTypeName): Label {
    return this.#open(0x03, result);
  }
  if(result?: ValueTypeName): Label {
    return this.#open(0x04, result);
  }
  else(): this {
    this.code.u8(0x05);
    return this;
  }
  end(): this {
    this.#depth--;
    this.code.u8(0x0b);
    return this;
  }
  br(label: Label): this {
    this.code.u8(0x0c);
    this.code.u(this.#depth - label);
    return this;
  }
  brIf(label: Label): this {
    this.code.u8(0x0d);
    this.code.u(this.#depth - label);
    return this;
  }
  brTable(labels: readonly Label[], otherwise: Label): this {
    this.code.u8(0x0e);
    this.code.u(labels.length);
    for (const label of labels) this.code.u(this.#depth - label);
    this.code.u(this.#depth - otherwise);
    return this;
  }
  call(index: number): this {
    this.code.u8(0x10);
    this.code.u(index);
    return this;
  }
  callIndirect(type: number, table = 0): this {
    this.code.u8(0x11);
    this.code.u(type);
    this.code.u(table);
    return this;
  }

  returnCall(index: number): this {
    this.code.u8(0x12);
    this.code.u(index);
    return this;
  }
  returnCallIndirect(type: number, table = 0): this {
    this.code.u8(0x13);
    this.code.u(type);
    this.code.u(table);
    return this;
  }

  /** The code section's entry (locals, body, end), and the branch hints by offset in it. @param wideRam memory 1 takes 64-bit addresses */
  finish(wideRam = true): { body: ByteWriter; hints: readonly { at: number; likely: boolean }[] } {
    const out = this.#localDeclarations();
    const start = out.length;
    if (wideRam) for (const at of this.#ramAddresses) this.code.bytes[at] = NOP;
    out.raw(this.code.view());
    out.u8(0x0b);
    return { body: out, hints: this.#hints.map(({ at, likely }) => ({ at: at + start, likely })) };
  }
  #localDeclarations(): ByteWriter {
    const out = new ByteWriter(this.code.length + 32);
    const runs: [number, ValueTypeName][] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last && last[1] === type) last[0]++;
      else runs.push([1, type]);
    }
    out.u(runs.length);
    for (const [count, type] of runs) {
      out.u(count);
      out.u8(ValueType[type]);
    }
    return out;
  }
}
