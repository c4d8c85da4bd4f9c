/* A vmlinux that stays in its file until it is loaded: then it is read piece by piece into one buffer. (A buffer for all of it is new memory, and for each page of that
 * the host takes as long as for reading it; several times as long where it is itself a VM.) On the thread that builds the machine. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { type ElfKernel, type ElfSegment, parseElfKernel } from "./elf.ts";
import { KernelError } from "./kernel-error.ts";

/** The program headers are in the first page of every vmlinux. */
const HEAD_BYTES = 4096;
const PIECE_BYTES = 1 << 20;

export class VmlinuxFile {
  readonly path: string;
  readonly elf: ElfKernel;

  /** Reads the headers. @throws KernelError, and the errors of node:fs */
  constructor(path: string) {
    this.path = path;
    const head = new Uint8Array(HEAD_BYTES);
    this.elf = this.#withFile((fd) => parseElfKernel(head.subarray(0, readSync(fd, head)), fstatSync(fd).size));
  }
  /** The segment's bytes in order, each piece in the same buffer. @throws KernelError "truncated"; the errors of node:fs */
  eachPiece(segment: ElfSegment, visit: (piece: Uint8Array) => void): void {
    const buffer = new Uint8Array(Math.min(PIECE_BYTES, segment.fileSize));
    this.#withFile((fd) => {
      for (let at = 0; at < segment.fileSize;) {
        const length = readSync(fd, buffer, 0, Math.min(buffer.length, segment.fileSize - at), segment.offset + at);
        if (length === 0)
          throw new KernelError("truncated", `The kernel ${this.path} is cut off; copy or download it again.`);
        visit(buffer.subarray(0, length));
        at += length;
      }
    });
  }
  #withFile<T>(use: (fd: number) => T): T {
    const fd = openSync(this.path, "r");
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  }
}
