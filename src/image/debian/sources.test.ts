import assert from "node:assert/strict";
import { test } from "node:test";
import { imageSources } from "./sources.ts";
import { DPKG_EXCLUSIONS, isExcluded } from "./exclusions.ts";

test("an image has the host's Debian sources that a VM can use", () => {
  const source = (
    uri: string,
    suite = "stable",
    origin = "Debian",
  ): { uri: string; suite: string; component: string; origin: string } => ({ uri, suite, component: "main", origin });
  const text = imageSources([
    source("http://user:secret@d.example/debian"),
    source("http://d.example/debian", "stable-updates"),
    source("https://s.example/security", "stable-security"),
    source("https://other.example/debian", "stable", "Somebody"),
    source("http://10.0.0.1/debian"),
    source("http://127.0.0.1:3142/debian"),
    source("http://[::1]/debian"),
    source("http://[fd00::1]/debian"),
    source("http://mirror/debian"),
    source("http://mirror.lan/debian"),
    source("file:/srv/debian"),
    source("http://x.example/debian", "a\nTrusted: yes"),
    source("no address"),
  ]);
  assert.equal(
    text,
    `Types: deb
URIs: http://d.example/debian
Suites: stable stable-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://s.example/security
Suites: stable-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
  );
  assert.equal(imageSources([source("http://192.168.1.1/debian")]), undefined);
});

test("what is left out is what dpkg in the image is told to leave out", () => {
  const cases: [string, boolean][] = [
    ["/usr/share/man/man1", false],
    ["/usr/share/man/man1/ls.1.gz", true],
    ["/usr/share/doc/a", false],
    ["/usr/share/doc/a/changelog.gz", true],
    ["/usr/share/doc/a/copyright", false],
    ["/usr/share/locale/de", true],
    ["/usr/share/locale/locale.alias", false],
    ["/usr/share/zoneinfo/UTC", false],
    ["/usr/lib/locale/C.utf8/LC_CTYPE", false],
  ];
  for (const [path, expected] of cases) assert.equal(isExcluded(path), expected, path);
  assert.match(DPKG_EXCLUSIONS, /^path-include=\/usr\/share\/doc\/\*\/copyright$/m);
});
