/* The CPU model's features as the instruction tables name them. A row whose feature is not here decodes as if it did
 * not exist (#UD, or the older instruction with the same bytes: LZCNT → BSR). CPUID tells the same list. */

export const CPU_FEATURES: ReadonlySet<string> = new Set([
  "cmov", "cx8", "cx16", "mmx", "sse", "sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "lahf", "bmi1", "bmi2", "lzcnt", "movbe",
  "adx", "fsgsbase", "pcid", "invpcid", "rdrand", "rdseed", "xsave", "fxsr", "clflush", "clflushopt", "rdtscp", "smap", "syscall",
]);
