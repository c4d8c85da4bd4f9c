/* Files of packages that an image does without: documentation and translations, as in Debian's slim container images. The same patterns leave files out
 * here and, in the image, in later installs. @source dpkg(1) --path-exclude, --path-include: the last pattern that matches decides, * matches / too */

const PATTERNS: readonly (readonly ["exclude" | "include", string])[] = [
  // Directories of manuals stay: alternatives are put into them.
  ["exclude", "/usr/share/man/*/*"],
  ["exclude", "/usr/share/doc/*/*"],
  ["include", "/usr/share/doc/*/copyright"],
  ["exclude", "/usr/share/locale/*"],
  ["include", "/usr/share/locale/locale.alias"],
  ["exclude", "/usr/share/info/*"],
  ["exclude", "/usr/share/lintian/*"],
  ["exclude", "/usr/share/bug/*"],
];

const COMPILED = PATTERNS.map(([what, pattern]) => ({
  isExcluded: what === "exclude",
  pattern: new RegExp(`^${pattern.replace(/[.]/g, "\\.").replaceAll("*", ".*")}$`, "s"),
}));

/** @param path absolute, as dpkg sees it */
export function isExcluded(path: string): boolean {
  if (!path.startsWith("/usr/share/")) return false;
  return COMPILED.findLast(({ pattern }) => pattern.test(path))?.isExcluded ?? false;
}

/** For /etc/dpkg/dpkg.cfg.d in the image. */
export const DPKG_EXCLUSIONS = `# Documentation and translations are left out of this image; remove this file to have them with packages installed from then on.
${PATTERNS.map(([what, pattern]) => `path-${what}=${pattern}\n`).join("")}`;
