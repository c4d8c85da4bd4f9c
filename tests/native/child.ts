/* The process that runs cases on the processor: batches come on standard input, outcomes go to standard output, each as u32 length and
 * bytes (codec.ts). A case that kills it costs its batch only: native-runner.ts starts another.
 */
import { readSync, writeSync } from "node:fs";
import { Reader, readCase, Writer, writeOutcome } from "../instructions/codec.ts";
import { Processor } from "./processor.ts";

const STDIN = 0;
const STDOUT = 1;

/** undefined at the end of input. */
function read(length: number): Buffer | undefined {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length;) {
    const got = readSync(STDIN, bytes, at, length - at, null);
    if (got === 0) return undefined;
    at += got;
  }
  return bytes;
}

function write(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(STDOUT, bytes, at);
}

const processor = new Processor();
for (let head = read(4); head; head = read(4)) {
  const batch = read(head.readUInt32LE(0));
  if (!batch) break;
  const cases = new Reader(batch);
  const outcomes = new Writer();
  outcomes.u32(0); // room for the length
  while (!cases.atEnd) writeOutcome(outcomes, processor.run(readCase(cases)));
  const bytes = outcomes.done();
  new DataView(bytes.buffer).setUint32(0, bytes.length - 4, true);
  write(bytes);
}
