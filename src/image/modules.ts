/* Kernel modules: what they need (their own .modinfo says it: Debian's packages come without modules.dep) and in which order they load.
 * @source Linux include/linux/module.h (MODULE_INFO), kmod's modules.softdep(5), modules.builtin. Called when a kernel is pulled. */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { decompressXz } from "./compression/xz.ts";
import { elfSection } from "./elf.ts";

/** What Mere's machine and its guests may need. Those that a kernel has built in, or lacks, are passed over. */
export const WANTED_MODULES = [
  "virtio",
  "virtio_ring",
  "virtio_mmio",
  "virtio_pci",
  "virtio_console",
  "virtio_blk",
  "virtio_rng",
  "virtio_net",
  "virtio_balloon",
  "virtio_mem",
  "vsock",
  "vmw_vsock_virtio_transport",
  "fuse",
  "virtiofs",
  "9p",
  "9pnet_virtio",
  "ext4",
  "overlay",
  "squashfs",
  "erofs",
  "crc32c_generic",
  "crc32c_intel",
  "loop",
  "af_packet",
] as const;

/** One module of a kernel. */
export interface ModuleInfo {
  /** As the kernel says it, with underscores. */
  readonly name: string;
  /** Names of the modules that must be loaded before. */
  readonly depends: readonly string[];
}

/** "kernel/drivers/char/hw_random/virtio-rng.ko.xz" → "virtio_rng"; undefined if the path is no module's. */
export function moduleName(path: string): string | undefined {
  return /([^/]+)\.ko(\.xz|\.zst|\.gz)?$/.exec(path)?.[1]!.replaceAll("-", "_");
}

/** The module itself, decompressed by its file name's ending (Debian compresses modules from 13 on). @throws CompressionError, zlib's errors */
export function decompressModule(path: string, data: Uint8Array): Uint8Array {
  if (path.endsWith(".xz")) return decompressXz(data);
  if (path.endsWith(".zst")) return zstdDecompressSync(data);
  if (path.endsWith(".gz")) return gunzipSync(data);
  return data;
}

/** Reads .modinfo: NUL-separated "key=value". Soft dependencies ("pre:") count as dependencies: the module works worse or not without them. */
export function readModuleInfo(name: string, ko: Uint8Array): ModuleInfo {
  const fields = Buffer.from(elfSection(ko, ".modinfo") ?? [])
    .toString("latin1")
    .split("\0");
  const depends: string[] = [];
  for (const field of fields) {
    if (field.startsWith("depends=")) depends.push(...field.slice(8).split(","));
    else if (field.startsWith("softdep="))
      depends.push(...(/pre:\s*(.*?)\s*(post:|$)/.exec(field.slice(8))?.[1]?.split(/\s+/) ?? []));
  }
  return {
    name,
    depends: [...new Set(depends.filter((entry) => entry !== "").map((entry) => entry.replaceAll("-", "_")))],
  };
}

/** The modules that `wanted` needs, each after those it depends on; names without a module are left out. Cycles are cut.
 *  @param lookup a module by name, or undefined (built in, or not there) */
export function loadOrder(wanted: readonly string[], lookup: (name: string) => ModuleInfo | undefined): ModuleInfo[] {
  const seen = new Set<string>();
  const order: ModuleInfo[] = [];
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const info = lookup(name);
    if (info === undefined) return;
    info.depends.forEach(visit);
    order.push(info);
  };
  wanted.forEach(visit);
  return order;
}
