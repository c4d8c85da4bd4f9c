/* Images of real Debian packages, configured by a real VM: the base, and one made on it. The packages' own scripts have run, triggers too, and what is installed works. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { runCommand } from "../src/image/command.ts";
import type { StoredImage } from "../src/image/images.ts";
import { DEBIAN_IMAGE, debianImage } from "./support/debian-image.ts";
import { type Ended, runMere, summary } from "./support/mere.ts";

const MINUTES = 60_000;
/** Each line tells one thing of the guest; none of them needs a network. */
const SCRIPT = `
python3 -c 'import json, ssl; print(6 * 7)'
dpkg --audit
dpkg-query -W -f '\${db:Status-Abbrev}\\n' | sort -u
dpkg --verify nginx nginx-common | grep -v /usr/share/
readlink /etc/systemd/system/multi-user.target.wants/nginx.service
nginx -t 2>&1 | grep -c 'test is successful'
id -un 33
ldconfig -p | grep -c 'libc\\.so\\.6 '
[ -s /etc/ssl/certs/ca-certificates.crt ] && openssl verify -CApath /etc/ssl/certs /etc/ssl/certs/ISRG_Root_X1.pem
[ -e /usr/sbin/policy-rc.d ] || echo no policy
[ -e /usr/share/man/man1/ls.1.gz ] || echo no manuals
echo "$(awk 'BEGIN { print "alternatives" }') $(readlink /bin)"
debconf-show base-passwd >/dev/null && echo debconf
apt-get -qq check && echo apt
`;
const EXPECTED = [
  "42",
  "ii ",
  "/lib/systemd/system/nginx.service",
  "1",
  "www-data",
  "1",
  "/etc/ssl/certs/ISRG_Root_X1.pem: OK",
  "no policy",
  "no manuals",
  "alternatives usr/bin",
  "debconf",
  "apt",
];

const hasApt = await runCommand("apt-get", ["--version"]).then(
  () => true,
  () => false,
);

describe("an image of Debian packages", { skip: hasApt ? false : "no apt here", timeout: 40 * MINUTES }, () => {
  let data = "";
  const mere = (...words: string[]): Promise<Ended> => runMere(words, { env: { XDG_DATA_HOME: data } });

  before(async () => void ({ XDG_DATA_HOME: data } = await debianImage()), { timeout: 30 * MINUTES });

  test("is made on its base, which stays, and their disks are whole", async () => {
    const listed = await mere("image", "list", "--json");
    const images = JSON.parse(listed.stdout.toString()) as StoredImage[];
    assert.deepEqual(
      images.map(({ names }) => names),
      [[DEBIAN_IMAGE], ["debian"]],
    );
    for (const { rootDisk } of images) {
      const path = `PATH=${process.env["PATH"] ?? ""}:/usr/sbin`;
      const check = await runCommand("env", [path, "e2fsck", "-fn", rootDisk]);
      assert.equal(check.status, 0, check.stdout);
    }
    assert.deepEqual(readdirSync(join(data, "mere/images")).sort(), ["by-id", "names"]);
  });

  test("is an installed system whose programs run", { timeout: 10 * MINUTES }, async () => {
    const ended = await mere("run", "--pull", "never", "--memory", "1G", DEBIAN_IMAGE, "--", "sh", "-c", SCRIPT);
    assert.equal(ended.status, 0, summary(ended));
    assert.deepEqual(ended.stdout.toString().trimEnd().split("\n"), EXPECTED);
  });

  test("is found again as long as Debian has nothing newer", { timeout: 10 * MINUTES }, async () => {
    const again = await mere("image", "pull", DEBIAN_IMAGE);
    const [{ id }] = JSON.parse((await mere("image", "list", "--json")).stdout.toString()) as [StoredImage];
    assert.equal(again.stdout.toString().trim(), id, summary(again));
    assert.doesNotMatch(again.stderr, /Configuring/);
  });
});
