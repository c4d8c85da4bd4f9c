import type { BuildRoot } from "./options.ts";
export const defaultBuildRoot: BuildRoot = async () => {
  throw new Error("not yet");
};
