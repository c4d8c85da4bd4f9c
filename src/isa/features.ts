/* The CPU model's features as the instruction tables name them. A row whose feature is not here decodes as if it did
 * not exist (#UD, or the older instruction with the same bytes: LZCNT → BSR). CPUID tells the same list, but for CRYPTO_FEATURES where they are not quick. */

export const CPU_FEATURES: ReadonlySet<string> = new Set([
  "cmov",
  "cx8",
  "cx16",
  "mmx",
  "sse",
  "sse2",
  "sse3",
  "ssse3",
  "sse4.1",
  "sse4.2",
  "popcnt",
  "lahf",
  "bmi1",
  "bmi2",
  "lzcnt",
  "movbe",
  "adx",
  "fsgsbase",
  "pcid",
  "invpcid",
  "rdrand",
  "rdseed",
  "xsave",
  "fxsr",
  "clflush",
  "clflushopt",
  "rdtscp",
  "smap",
  "erms",
  "fsrm",
  "syscall",
  "aes",
  "sha",
  "pclmulqdq",
]);

/** Of these, what libraries use instead of code of their own as soon as CPUID tells it: told only where it becomes the host's own instructions, since the interpreter's are
 *  slower than that code. With their names in /proc/cpuinfo. */
export const CRYPTO_FEATURES: ReadonlyMap<string, string> = new Map([
  ["aes", "aes"],
  ["sha", "sha_ni"],
  ["pclmulqdq", "pclmulqdq"],
]);
/** What is told on every host. */
export const PLAIN_FEATURES: ReadonlySet<string> = new Set(
  [...CPU_FEATURES].filter((name) => !CRYPTO_FEATURES.has(name)),
);
