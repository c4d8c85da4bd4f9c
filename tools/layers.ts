/* The layer rule: a folder of src imports only from itself and from folders before it in LAYERS; the folders in WITHOUT_NODE import nothing of Node;
 * shipped code imports only declared dependencies, and never what only tests may use.
 * Imports are found in the text (type imports, dynamic imports and worker URLs included): TypeScript 7 has no programmatic API.
 * @source docs/design.md "Layers". Called by tests/layers.test.ts. */
import { readFileSync, readdirSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";

/** Folders of src from the lowest to the highest; an entry src/index.ts stands above all. */
export const LAYERS = [
  "layout",
  "wasm",
  "isa",
  "memory",
  "engine",
  "device",
  "disk",
  "net",
  "image",
  "share",
  "agent",
  "vm",
  "pool",
  "host",
  "api",
  "cli",
] as const;

/** Folders that know nothing of Node: the processor also runs in a web page. */
const WITHOUT_NODE = ["layout", "wasm", "isa", "memory", "engine/wasm"];
/** Pairs that the order alone would allow: the instruction set knows nothing of WebAssembly. */
const FORBIDDEN_PAIRS = new Set(["isa>wasm"]);
/** Folders that only tests may import. */
const TEST_ONLY = ["engine/oracle"];

export interface ImportEdge {
  /** Path of the importing file, relative to src, with forward slashes. */
  readonly file: string;
  /** The specifier as written. */
  readonly specifier: string;
}

const IMPORT =
  /(?:^|[;}\n])\s*(?:import|export)\s+(?:[^"';]*?\sfrom\s+)?"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)|new URL\(\s*"(\.[^"]+)"\s*,\s*import\.meta\.url/g;

/** Every import of a source text, in order. @returns specifiers as written */
export function importsOf(text: string): string[] {
  const withoutComments = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return [...withoutComments.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

/** All imports of the .ts files under a src folder. */
export function importEdges(src: string): ImportEdge[] {
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  return files.flatMap((name) => {
    const file = name.split(sep).join("/");
    return importsOf(readFileSync(join(src, name), "utf8")).map((specifier) => ({ file, specifier }));
  });
}

/** Checks one import. @param dependencies names in package.json's "dependencies"
 *  @returns the sentence that says what is wrong and what to do, or undefined */
export function violation(edge: ImportEdge, dependencies: readonly string[]): string | undefined {
  const { file, specifier } = edge;
  if (file.endsWith(".test.ts")) return undefined;
  const from = layerOf(file);
  if (from !== undefined && !isLayer(from)) {
    return `${file}: the folder ${from} is in no layer; add it to LAYERS in tools/layers.ts and to docs/design.md`;
  }
  if (!specifier.startsWith(".")) return packageViolation(file, specifier, dependencies);
  const target = relative("/src", resolve("/src", dirname(file), specifier))
    .split(sep)
    .join("/");
  // The manifest is beside src and beside dist alike.
  if (target === "../package.json") return undefined;
  if (target.startsWith("..")) return `${file} imports ${specifier}: shipped code may import only files under src`;
  const testOnly = TEST_ONLY.find((folder) => target.startsWith(`${folder}/`) && !file.startsWith(`${folder}/`));
  if (testOnly !== undefined) return `${file} imports ${specifier}: src/${testOnly} is for tests only`;
  const to = layerOf(target);
  if (from === undefined) return undefined;
  if (to === undefined)
    return `${file} imports ${specifier}: src/index.ts stands above all layers; import the file itself`;
  if (FORBIDDEN_PAIRS.has(`${from}>${to}`)) return `${file} imports ${specifier}: ${from} knows nothing of ${to}`;
  if (!isLayer(to) || LAYERS.indexOf(to) > LAYERS.indexOf(from)) {
    return `${file} imports ${specifier}: ${from} is below ${to}; move the shared part down or turn the call around`;
  }
  return undefined;
}

function packageViolation(file: string, specifier: string, dependencies: readonly string[]): string | undefined {
  if (specifier.startsWith("node:")) {
    const folder = WITHOUT_NODE.find((name) => file.startsWith(`${name}/`));
    if (folder === undefined) return undefined;
    return `${file} imports ${specifier}: ${folder} knows nothing of Node; pass what it needs in from src/vm or above`;
  }
  if (builtinModules.includes(specifier)) return `${file} imports ${specifier}: write node:${specifier}`;
  const name = specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
  if (dependencies.includes(name)) return undefined;
  return `${file} imports ${specifier}: ${name} is no dependency of the package, so an installed Mere would not find it`;
}

function layerOf(file: string): string | undefined {
  const slash = file.indexOf("/");
  return slash < 0 ? undefined : file.slice(0, slash);
}

function isLayer(name: string): name is (typeof LAYERS)[number] {
  return (LAYERS as readonly string[]).includes(name);
}
