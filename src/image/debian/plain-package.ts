/* A Debian package written anew with archives that are not compressed: what dpkg in a VM unpacks without the emulated processor decompressing anything. Its files and
 * control files stay byte for byte. @source deb(5), "ar" common format. dpkg-deb takes the archive apart, as in package-archive.ts. */
import { type FileHandle, open } from "node:fs/promises";
import { dpkgDeb } from "./package-archive.ts";

/** Of an ar archive:
 *    0   16  name, with spaces behind it      40   8  mode, octal
 *   16   12  time, decimal                    48  10  size in bytes, decimal
 *   28    6  owner    34   6  group           58   2  "`\n" */
const HEADER_BYTES = 60;
const SIZE_OFFSET = 48;
const MAGIC = "!<arch>\n";

/** Writes `deb` to a new file `output`. @throws PackageError */
export async function writePlainPackage(deb: string, output: string, signal?: AbortSignal): Promise<void> {
  const file = await open(output, "wx");
  try {
    await file.writeFile(`${MAGIC}${header("debian-binary", 4)}2.0\n`);
    await appendMember(file, "control.tar", dpkgDeb("--ctrl-tarfile", deb, signal));
    await appendMember(file, "data.tar", dpkgDeb("--fsys-tarfile", deb, signal));
  } finally {
    await file.close();
  }
}

async function appendMember(file: FileHandle, name: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const { size: start } = await file.stat();
  await file.writeFile(header(name, 0));
  let sizeBytes = 0;
  for await (const chunk of content) {
    sizeBytes += chunk.length;
    await file.writeFile(chunk);
  }
  await file.write(String(sizeBytes).padEnd(10), start + SIZE_OFFSET, "latin1");
  // The next header is at an even offset.
  if (sizeBytes % 2 === 1) await file.writeFile("\n");
}

function header(name: string, sizeBytes: number): string {
  const fields = [name.padEnd(16), "0".padEnd(12), "0".padEnd(6), "0".padEnd(6), "100644".padEnd(8)];
  const text = `${fields.join("")}${String(sizeBytes).padEnd(10)}\`\n`;
  if (text.length !== HEADER_BYTES) throw new RangeError(`${name} has no place in the header`);
  return text;
}
