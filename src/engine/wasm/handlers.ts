/* HandlerTable: the interpreter's handlers, made when the decoder first meets an instruction's shape. A shape is all that a handler folds: row, sizes,
 * which operand is memory, address form, LOCK, REP, and the numbers of control, debug, segment and x87 registers. */
import { createDecoder, newDecoded } from "../../isa/decode.ts";
import type { Decoded, Operand } from "../../isa/decoded.ts";
import { Reg } from "../../isa/registers.ts";
import { CALLS } from "../../isa/system/calls.ts";
import { FunctionBuilder } from "../../wasm/function.ts";
import { ModuleBuilder } from "../../wasm/module.ts";
import type { ValueTypeName } from "../../wasm/opcodes.ts";
import { ENTRY, type Imports } from "./emit-memory.ts";
import { Entry, MAX_REGIONS, REGION_HANDLERS } from "./layout.ts";
import { CORE_FUNCTIONS, HOST_FUNCTIONS, importMemories, type HotHandler, type Signature } from "./core.ts";
import { AddressForm, EmitHandler, type HandlerExits } from "./emit-handler.ts";
import { BOOT_SHAPES, HOT_PAIRS, HOT_SHAPES } from "./hot-shapes.ts";

/** Table indices of the handlers that are no instruction. 0 is no handler. */
export const PSEUDO = { FALL_THROUGH: 1, LOOK_UP_AGAIN: 2, UNDEFINED: 3, TOO_LONG: 4 } as const;
const FIRST = 5;
const TABLE_SIZE = 65536; // a u16 names a handler

/** Names of imports that are calls of semantic functions begin with it. */
export const CALL_PREFIX = "call:";

/** Parameters and results of an import of generated code, by its name. */
export function signatureOf(name: string): Signature {
  if (name in HOST_FUNCTIONS) return HOST_FUNCTIONS[name as keyof typeof HOST_FUNCTIONS];
  if (name in CORE_FUNCTIONS) return CORE_FUNCTIONS[name as keyof typeof CORE_FUNCTIONS];
  const { args, result } = CALLS[name.slice(CALL_PREFIX.length)];
  return [["i32", "i32", ...Array.from({ length: args }, (): ValueTypeName => "i64")], result ? ["i64"] : []];
}

/** How the memory operand's address is made; NONE without one. */
export function addressForm(d: Decoded): number {
  let memory = false;
  for (let i = 0; i < d.operandCount; i++) if (d.operands[i].kind === "mem") memory = true;
  if (!memory) return AddressForm.NONE;
  if (d.row.operands.some((code) => code.startsWith("O"))) return AddressForm.OFFSET;
  if (d.addressSize === 4) return AddressForm.ADDRESS32;
  if (d.segment >= 4) return AddressForm.SEGMENT;
  if (d.index >= 0 || (d.ripRelative && d.disp > 0x7fff0000)) return AddressForm.INDEX;
  return AddressForm.BASE;
}

/** Byte offset in the register file of an operand that is a register. High-byte registers AH CH DH BH are operands 0–3 one byte up. */
export const registerOffset = (operand: Operand): number =>
  operand.kind === "xmm"
    ? Reg.XMM + 16 * operand.reg
    : operand.kind === "mm"
      ? Reg.ST + 16 * operand.reg
      : Reg.GPR + 8 * (operand.reg % (operand.highByte ? 4 : 16)) + (operand.highByte ? 1 : 0);

/** No row has more. */
const MAX_OPERANDS = 4;

/** A number that is the same for instructions that one handler serves. */
export function shapeKey(d: Decoded, form: number): number {
  let key = d.row.id * 4 + (d.size === 1 ? 0 : d.size === 2 ? 1 : d.size === 4 ? 2 : 3);
  key = key * 8 + form;
  key = key * 12 + (d.lock ? 6 : 0) + (d.rep === 0 ? 0 : d.rep === 0xf2 ? 2 : 4) + (d.addressSize === 4 ? 1 : 0);
  for (let i = 0; i < MAX_OPERANDS; i++) {
    key *= 128;
    if (i >= d.operandCount) continue;
    const { kind, reg, width, source } = d.operands[i];
    const folded = source !== "fixed" && (kind === "cr" || kind === "dr" || kind === "seg" || kind === "st");
    // widths that do not follow the operand size: VEX.W, REX.W
    key += (kind === "mem" ? 64 : 0) + (width === 8 ? 32 : 0) + (folded ? reg + 1 : 0);
  }
  return key;
}

interface Sample {
  key: number;
  readonly emit: (f: FunctionBuilder, imports: Imports, exits?: HandlerExits) => void;
}
/** One that is a function of the table. */
interface Handler {
  readonly index: number;
  readonly emit: (f: FunctionBuilder, imports: Imports) => void;
}
/** Reads sample encodings. */
function sampleReader(): (hex: string) => Sample {
  const decoder = createDecoder();
  return (hex) => {
    const bytes = Uint8Array.fromHex(hex);
    const d = newDecoded();
    if (decoder.decode(bytes, 0, bytes.length, d)) throw new Error(`hot-shapes.ts: ${hex} is no instruction`);
    const form = addressForm(d);
    return { key: shapeKey(d, form), emit: (f, imports, exits) => new EmitHandler(f, imports, d, form, exits).emit() };
  };
}

export interface HostBindings {
  /** Functions by name: HOST_FUNCTIONS, CORE_FUNCTIONS and CALL_PREFIX + name in CALLS. */
  resolve(name: string): unknown;
}

export class HandlerTable {
  readonly table: WebAssembly.Table;
  readonly #state: WebAssembly.Memory;
  readonly #ram: WebAssembly.Memory;
  readonly #ramPages: number;
  readonly #host: HostBindings;
  readonly #known = new Map<number, number>();
  readonly #pairs = new Map<number, number>();
  readonly #answer = { handler: 0, form: 0 };
  #next = FIRST;

  /** @param regions handlers of regions that there may be: places of a table cost a start 5 ms for 32,768 */
  constructor(
    state: WebAssembly.Memory,
    ram: WebAssembly.Memory,
    ramPages: number,
    host: HostBindings,
    regions: number = MAX_REGIONS,
  ) {
    this.table = new WebAssembly.Table({ element: "anyfunc", initial: REGION_HANDLERS + regions });
    this.#state = state;
    this.#ram = ram;
    this.#ramPages = ramPages;
    this.#host = host;
  }

  /** The handlers for the run loop: the pseudo-handlers and, where most code is interpreted, those of HOT_SHAPES. They get the first indices. */
  hot(interprets: boolean): HotHandler[] {
    const sample = sampleReader();
    const pseudo = (index: number, emit: (e: EmitHandler) => void): HotHandler => ({
      index,
      emit: (f, imports, exits) => emit(new EmitHandler(f, imports, newDecoded(), AddressForm.NONE, exits)),
    });
    const handlers = [
      pseudo(PSEUDO.FALL_THROUGH, (e) => e.emitFallThrough()),
      pseudo(PSEUDO.LOOK_UP_AGAIN, (e) => e.emitLookUpAgain()),
      pseudo(PSEUDO.UNDEFINED, (e) => e.raise("#UD")),
      pseudo(PSEUDO.TOO_LONG, (e) => e.raise("#GP")),
    ];
    if (!interprets) return handlers;
    for (const hex of HOT_SHAPES) {
      const { key, emit } = sample(hex);
      if (this.#known.has(key)) continue;
      this.#known.set(key, this.#next);
      handlers.push({ index: this.#next++, emit });
    }
    for (const pair of HOT_PAIRS) {
      const [first, second] = pair.split(" ").map(sample);
      const [a, b] = [this.#known.get(first.key), this.#known.get(second.key)];
      if (a === undefined || b === undefined) throw new Error(`hot-shapes.ts: ${pair} is no pair of hot shapes`);
      this.#pairs.set(a * TABLE_SIZE + b, this.#next);
      handlers.push({
        index: this.#next++,
        emit: (f, imports, exits) => {
          first.emit(f, imports, { ...exits, next: (g) => g.get(ENTRY).i32(Entry.BYTES).op("i32.add").set(ENTRY) });
          second.emit(f, imports, exits);
        },
      });
    }
    return handlers;
  }

  /** One handler for two instructions that follow each other, 0 if there is none. */
  pair(first: number, second: number): number {
    return this.#pairs.get(first * TABLE_SIZE + second) ?? 0;
  }

  /** Handler and address form of an instruction; the answer object is reused. */
  for(d: Decoded): { handler: number; form: number } {
    const form = addressForm(d);
    const key = shapeKey(d, form);
    let handler = this.#known.get(key);
    if (handler === undefined) {
      handler = this.#next++;
      this.#install([{ index: handler, emit: (f, imports) => new EmitHandler(f, imports, d, form).emit() }]);
      this.#known.set(key, handler);
    }
    this.#answer.handler = handler;
    this.#answer.form = form;
    return this.#answer;
  }

  /** Makes the handlers of BOOT_SHAPES. Before anything is decoded. */
  prepareBoot(): void {
    const sample = sampleReader();
    const handlers: Handler[] = [];
    for (const hex of BOOT_SHAPES) {
      const { key, emit } = sample(hex);
      if (this.#known.has(key)) continue;
      this.#known.set(key, this.#next);
      handlers.push({ index: this.#next++, emit });
    }
    this.#install(handlers);
  }

  /** In one module. */
  #install(handlers: readonly Handler[]): void {
    const m = new ModuleBuilder();
    const names: string[] = [];
    // Which functions are called is known only when the bodies are written, but imports come first: their order is that of first use.
    const imports = {
      function: (name: string): number => {
        const known = names.indexOf(name);
        return known >= 0 ? known : names.push(name) - 1;
      },
    };
    const bodies = handlers.map(({ emit }) => {
      const f = new FunctionBuilder(["i32", "i32"], ["i32"]);
      emit(f, imports);
      f.op("unreachable"); // handlers end by leaving
      return f;
    });
    for (const name of names) m.importFunction("host", name, ...signatureOf(name));
    importMemories(m, this.#ramPages);
    bodies.forEach((f, i) => m.export(`h${i}`, m.add(f)));
    const host = Object.fromEntries(names.map((name) => [name, this.#host.resolve(name)]));
    const module = new WebAssembly.Module(m.finish());
    const instance = new WebAssembly.Instance(module, { host, mere: { state: this.#state, ram: this.#ram } });
    handlers.forEach(({ index }, i) => this.table.set(index, instance.exports[`h${i}`]));
  }
}
