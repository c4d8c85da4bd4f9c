/* Regions put into wasm modules: several a module, because most of what a small module costs is its own. What crosses threads is plain data and
 * the compiled module. Runs on the translator's thread (or, in tests, on the executor's). */
import { ModuleBuilder } from "../../../wasm/module.ts";
import { CORE_FUNCTIONS, HOST_FUNCTIONS, importMemories, isWideRam, type Signature } from "../core.ts";
import { signatureOf } from "../handlers.ts";
import type { RegionCode } from "./region.ts";
import { GENERAL_FUNCTIONS, REGION_FUNCTIONS, REGION_HOST_FUNCTIONS } from "./region-core.ts";
import type { RegionOptions } from "./region-options.ts";
import { type RegionFunction, translateRegion } from "./translate.ts";

export interface RegionRequest {
  readonly id: number;
  readonly code: RegionCode;
}
export interface TranslatedRegion {
  readonly id: number;
  /** Offsets at which it can be entered, by label; none: it could not be translated. */
  readonly entries: readonly number[];
  readonly instructions: number;
}
export interface TranslatedModule {
  /** No other module of this thread has it. */
  readonly number: number;
  /** Region i is the export `r{i}`. */
  readonly regions: readonly TranslatedRegion[];
  readonly module: WebAssembly.Module | undefined;
  /** Names of the functions that it imports from "host". */
  readonly imports: readonly string[];
  readonly bytes: number;
}

const FUNCTIONS: Record<string, Signature> = {
  ...HOST_FUNCTIONS,
  ...CORE_FUNCTIONS,
  ...REGION_FUNCTIONS,
  ...REGION_HOST_FUNCTIONS,
  ...GENERAL_FUNCTIONS,
};

let modules = 0;

/** @param ramPages size of the frames memory in 64-KiB pages  @param compile how the module is made of its bytes */
export function translateModule(
  requests: readonly RegionRequest[],
  options: RegionOptions,
  ramPages: number,
  compile: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module = (bytes) => new WebAssembly.Module(bytes),
): TranslatedModule {
  const names: string[] = [];
  const imports = {
    function: (name: string): number => {
      const known = names.indexOf(name);
      return known >= 0 ? known : names.push(name) - 1;
    },
  };
  const written = requests.map(({ code }) => translateRegion(code, imports, options, isWideRam(ramPages)));
  const regions = requests.map(({ id }, i) => ({
    id,
    entries: written[i]?.entries ?? [],
    instructions: written[i]?.instructions ?? 0,
  }));
  const number = modules++;
  if (written.every((region) => region === undefined))
    return { number, regions, module: undefined, imports: [], bytes: 0 };
  const bytes = assemble(written, names, ramPages);
  return { number, regions, module: compile(bytes), imports: names, bytes: bytes.length };
}

function assemble(
  written: readonly (RegionFunction | undefined)[],
  names: readonly string[],
  ramPages: number,
): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder();
  for (const name of names) m.importFunction("host", name, ...(FUNCTIONS[name] ?? signatureOf(name)));
  importMemories(m, ramPages, true);
  written.forEach((region, i) => {
    if (region) m.export(`r${i}`, m.add(region.f));
  });
  return m.finish();
}
