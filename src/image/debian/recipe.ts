/* What an image of Debian packages is made of, as apt resolves it: the packages, and how they get into it. */
import type { Apt, ResolvedPackage } from "../apt.ts";
import type { DebianReference } from "../oci/reference.ts";
import { PackageError } from "../package-error.ts";
import { digestOf } from "../store/commit.ts";
import { imageSources } from "./sources.ts";

/** Changes when the making does, so that images made before are not taken. */
export const RECIPE = 2;
/** Every image has these: what Debian calls essential and required, and what people expect of an image. */
const BASE_PACKAGES = ["?essential", "?priority(required)", "apt", "ca-certificates", "python3"];
/** Says that /usr is merged, in place of a package that merges it with perl. Newer Debians need neither. */
const USR_IS_MERGED = "usr-is-merged";
/** The image that has no more than every image has. */
const BASE_NAME = "debian";
/** What a user may do where packages cannot be had. */
export const OTHERWISE = "use an image of a registry";

export interface Recipe {
  /** The image's. */
  readonly name: string;
  /** For apt in the image. */
  readonly sources: string | undefined;
  /** In apt's order, with those that they depend on. */
  readonly packages: readonly ResolvedPackage[];
  /** Has some of the packages, in the same versions; undefined: everything is made at once. */
  readonly base: Recipe | undefined;
}

/** Asks apt which packages the image has. @throws PackageError */
export async function resolveRecipe(apt: Apt, { name, packages }: DebianReference): Promise<Recipe> {
  const everywhere = [...BASE_PACKAGES, ...((await apt.has(USR_IS_MERGED)) ? [USR_IS_MERGED] : [])];
  const sources = imageSources(await apt.sources());
  const recipe = async (of: string, more: readonly string[]): Promise<Recipe> => {
    const resolved = await apt.resolve([...everywhere, ...more]);
    if (resolved.length === 0)
      throw new PackageError("failed", `apt names no packages for ${of}; see whether "apt-get update" works.`);
    return { name: of, sources, packages: resolved, base: undefined };
  };
  const whole = await recipe(name, packages);
  if (packages.length === 0) return whole;
  const base = await recipe(BASE_NAME, []);
  const has = new Set(whole.packages.map(nameAndVersion));
  const isBase = has.size > base.packages.length && base.packages.every((entry) => has.has(nameAndVersion(entry)));
  return { ...whole, base: isBase ? base : undefined };
}

/** The same packages from the same sources are the same image, however they were asked for and put together. */
export function recipeId({ sources, packages }: Recipe): string {
  return digestOf({ recipe: RECIPE, sources: sources ?? "", packages: packages.map(nameAndVersion).sort() });
}

/** What the base does not have. */
export function furtherPackages({ packages, base }: Recipe): readonly ResolvedPackage[] {
  const has = new Set(base?.packages.map(nameAndVersion));
  return packages.filter((entry) => !has.has(nameAndVersion(entry)));
}

export function nameAndVersion({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name}=${version}`;
}
