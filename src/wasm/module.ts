/* ModuleBuilder: puts functions, imports and exports together into a binary module. Only what Mere's generated code needs: functions,
 * imported memories (32- and 64-bit, shared), one imported table, exports, element segments. @source WebAssembly Core Specification §5.5 */
import { ByteWriter } from "./bytes.ts";
import type { FunctionBuilder } from "./function.ts";
import { ValueType, type ValueTypeName } from "./opcodes.ts";

interface MemoryImport {
  module: string;
  name: string;
  minimumPages: number;
  maximumPages: number;
  is64: boolean;
}

export class ModuleBuilder {
  #types: string[] = [];
  #typeBytes: ByteWriter[] = [];
  #functionImports: { module: string; name: string; type: number }[] = [];
  #memories: MemoryImport[] = [];
  #table: { module: string; name: string; minimum: number } | undefined;
  #functions: { type: number; builder: FunctionBuilder }[] = [];
  #exports: { name: string; index: number }[] = [];

  /** Index of a function type, added if new. */
  type(parameters: readonly ValueTypeName[], results: readonly ValueTypeName[]): number {
    const key = `${parameters.join()}>${results.join()}`;
    const known = this.#types.indexOf(key);
    if (known >= 0) return known;
    const out = new ByteWriter(16);
    out.u8(0x60);
    for (const list of [parameters, results]) {
      out.u(list.length);
      for (const t of list) out.u8(ValueType[t]);
    }
    this.#typeBytes.push(out);
    return this.#types.push(key) - 1;
  }

  /** Must come before the first function. @returns function index */
  importFunction(
    module: string,
    name: string,
    parameters: readonly ValueTypeName[],
    results: readonly ValueTypeName[],
  ): number {
    if (this.#functions.length > 0) throw new Error("function imports come before functions");
    return this.#functionImports.push({ module, name, type: this.type(parameters, results) }) - 1;
  }

  /** All memories are shared. Sizes in 64-KiB pages. */
  importMemory(module: string, name: string, minimumPages: number, maximumPages: number, is64: boolean): void {
    this.#memories.push({ module, name, minimumPages, maximumPages, is64 });
  }

  importTable(module: string, name: string, minimum: number): void {
    this.#table = { module, name, minimum };
  }

  /** @returns function index */
  add(builder: FunctionBuilder): number {
    const type = this.type(builder.parameters, builder.results);
    return this.#functionImports.length + this.#functions.push({ type, builder }) - 1;
  }

  export(name: string, functionIndex: number): void {
    this.#exports.push({ name, index: functionIndex });
  }

  #imports(): ByteWriter {
    const out = new ByteWriter();
    out.u(this.#functionImports.length + this.#memories.length + (this.#table ? 1 : 0));
    for (const f of this.#functionImports) {
      out.name(f.module);
      out.name(f.name);
      out.u8(0);
      out.u(f.type);
    }
    for (const m of this.#memories) {
      out.name(m.module);
      out.name(m.name);
      out.u8(2);
      out.u8(m.is64 ? 7 : 3); // has maximum, shared, 64-bit index
      out.u(m.minimumPages);
      out.u(m.maximumPages);
    }
    if (this.#table) {
      out.name(this.#table.module);
      out.name(this.#table.name);
      out.u8(1);
      out.u8(ValueType.funcref);
      out.u8(0);
      out.u(this.#table.minimum);
    }
    return out;
  }

  /** The custom section of branch hints; undefined without hints. @source WebAssembly branch hinting proposal */
  #hintSection(hints: readonly (readonly { at: number; likely: boolean }[])[]): ByteWriter | undefined {
    const count = hints.filter((list) => list.length > 0).length;
    if (count === 0) return undefined;
    const out = new ByteWriter(1024);
    out.name("metadata.code.branch_hint");
    out.u(count);
    hints.forEach((list, i) => {
      if (list.length === 0) return;
      out.u(this.#functionImports.length + i);
      out.u(list.length);
      for (const { at, likely } of list.toSorted((a, b) => a.at - b.at)) {
        out.u(at);
        out.u(1);
        out.u8(likely ? 1 : 0);
      }
    });
    return out;
  }

  finish(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter(4096);
    out.raw(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
    const section = (id: number, body: ByteWriter): void => {
      out.u8(id);
      out.sized(body);
    };
    const types = new ByteWriter();
    types.u(this.#typeBytes.length);
    for (const t of this.#typeBytes) types.raw(t.view());
    section(1, types);
    section(2, this.#imports());
    const functions = new ByteWriter();
    functions.u(this.#functions.length);
    for (const f of this.#functions) functions.u(f.type);
    section(3, functions);
    const exports = new ByteWriter();
    exports.u(this.#exports.length);
    for (const e of this.#exports) {
      exports.name(e.name);
      exports.u8(0);
      exports.u(e.index);
    }
    section(7, exports);
    const code = new ByteWriter(4096);
    const finished = this.#functions.map((f) => f.builder.finish(this.#memories.some((memory) => memory.is64)));
    const hints = this.#hintSection(finished.map((f) => f.hints));
    if (hints) section(0, hints);
    code.u(this.#functions.length);
    for (const { body } of finished) code.sized(body);
    section(10, code);
    return out.view().slice() as Uint8Array<ArrayBuffer>;
  }
}
