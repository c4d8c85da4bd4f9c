/* The part of the WebAssembly JavaScript interface that Mere uses, with 64-bit memories; TypeScript has it only in its browser libraries.
 * @source WebAssembly JavaScript Interface 3.0 */
declare namespace WebAssembly {
  interface MemoryDescriptor {
    initial: number | bigint;
    maximum: number | bigint;
    shared: true;
    address?: "i32" | "i64";
  }
  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: SharedArrayBuffer;
  }
  interface TableDescriptor {
    element: "anyfunc";
    initial: number;
    maximum?: number;
  }
  class Table {
    constructor(descriptor: TableDescriptor);
    readonly length: number;
    get(index: number): unknown;
    set(index: number, value: unknown): void;
    grow(by: number): number;
  }
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Record<string, unknown>;
  }
  class CompileError extends Error {}
}
