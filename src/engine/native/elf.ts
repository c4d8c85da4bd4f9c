/* The smallest shared object that a dynamic loader takes: one function, which goes to the address that stands where its first argument says. It is how machine code is
 * called through an interface that calls functions of libraries by name. @source System V ABI, ch. 4 and 5; SDM vol. 2 "MOV", "JMP" */

const PAGE = 4096;
const Type = { LOAD: 1, DYNAMIC: 2 } as const;
const Tag = { NULL: 0, HASH: 4, STRTAB: 5, SYMTAB: 6, STRSZ: 10, SYMENT: 11 } as const;
const [READ_EXECUTE, READ_WRITE] = [5, 6];

/** @param name of the function: (address, below 4 GiB, of an address, …)  @returns the file */
export function sharedObject(name: string): Uint8Array {
  const file = new Uint8Array(PAGE + 16);
  const view = new DataView(file.buffer);
  const u16 = (at: number, v: number): void => view.setUint16(at, v, true);
  const u32 = (at: number, v: number): void => view.setUint32(at, v, true);
  const u64 = (at: number, v: number): void => view.setBigUint64(at, BigInt(v), true);

  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  u16(16, 3); // ET_DYN
  u16(18, 62); // EM_X86_64
  u32(20, 1);
  u64(32, 64); // program headers
  u16(52, 64);
  u16(54, 56);
  u16(56, 3);

  const [strings, symbols, hash, dynamic] = [0x200, 0x240, 0x280, 0x300];
  const header = (n: number, type: number, flags: number, at: number, size: number): void => {
    const h = 64 + 56 * n;
    u32(h, type);
    u32(h + 4, flags);
    for (const field of [8, 16, 24]) u64(h + field, at);
    for (const field of [32, 40]) u64(h + field, size);
    u64(h + 48, type === Type.LOAD ? PAGE : 8);
  };
  header(0, Type.LOAD, READ_WRITE, 0, PAGE);
  header(1, Type.LOAD, READ_EXECUTE, PAGE, 16);
  header(2, Type.DYNAMIC, READ_WRITE, dynamic, 96);

  for (let i = 0; i < name.length; i++) file[strings + 1 + i] = name.charCodeAt(i);
  const symbol = symbols + 24;
  u32(symbol, 1);
  file[symbol + 4] = 0x12; // global function
  u16(symbol + 6, 1); // in any section that is defined
  u64(symbol + 8, PAGE);
  u64(symbol + 16, 16);
  // one bucket, which leads to symbol 1
  [1, 2, 1, 0, 0].forEach((word, i) => u32(hash + 4 * i, word));
  [
    [Tag.HASH, hash],
    [Tag.STRTAB, strings],
    [Tag.SYMTAB, symbols],
    [Tag.STRSZ, name.length + 2],
    [Tag.SYMENT, 24],
    [Tag.NULL, 0],
  ].forEach(([tag, value], i) => {
    u64(dynamic + 16 * i, tag);
    u64(dynamic + 16 * i + 8, value);
  });

  file.set([0x89, 0xff, 0xff, 0x27], PAGE); // mov edi, edi; jmp [rdi]
  return file;
}
