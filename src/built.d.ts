/** What tools/build.ts puts in place of this name: the package's version, and a hash of the translator's sources. Not there where the sources themselves run. */
declare const BUILT: { readonly version: string; readonly translator: string } | undefined;
