/* `mere version`: the package's version and the Node it runs on. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";

/** Version of this package, from its manifest. */
export function packageVersion(): string {
  if (typeof BUILT !== "undefined") return BUILT.version;
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version;
}

/** Gives `mere version` its action. */
export function define(command: Command): void {
  command.action(() => {
    process.stdout.write(`mere ${packageVersion()} (node ${process.versions.node})\n`);
  });
}
