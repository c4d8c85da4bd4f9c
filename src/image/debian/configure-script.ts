/* What runs in the VM: the packages' scripts, in the order that dpkg would call them. @source Debian Policy 6.5 "Summary of ways maintainer scripts are called",
 * dpkg(1) "ENVIRONMENT: Internal environment". Scripts are called "preinst install", as on a system that never had the package. */
import type { ControlFiles } from "./package-archive.ts";

export const IMAGE_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Their scripts make what all others take for granted: /etc/passwd, /etc/group, root's files. */
const FIRST = ["base-passwd", "base-files"];
/** Packages that configuration may need configured before the others, as debootstrap does: passwd's numbers, alternatives (awk), debconf. */
const CONFIGURED_FIRST = ["base-passwd", "base-files", "libc6", "mawk", "debconf", "perl-base"];

/** What a program in a chroot answers that is asked whether services may start. @source invoke-rc.d's policy-rc.d-spec */
export const POLICY_RC_D = { path: "./usr/sbin/policy-rc.d", content: "#!/bin/sh\nexit 101\n" } as const;

/** Where the VM that installs further packages sees them, in one directory a batch. */
export const PACKAGES_DIRECTORY = "/run/packages";

/** How every script begins. */
const BEGIN = `set -e
export ${IMAGE_PATH} HOME=/root LC_ALL=C TERM=dumb
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true DEBCONF_NOWARNINGS=yes
umask 022
cd /
`;
/** Certificates are collected twice by ca-certificates' own scripts, each time by a thousand processes; here once, at the end. */
const CERTIFICATES = "update-ca-certificates";
/** What was needed on the way goes; nothing is left that is not installed. */
const END = `rm -f ${POLICY_RC_D.path.slice(1)} /var/lib/dpkg/*-old /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache
rm -rf /var/cache/apt/archives/* /var/lib/apt/lists/* /tmp/* /run/*
find /var/log -type f -exec truncate -s 0 {} +
left=$(dpkg-query -W -f '\${db:Status-Abbrev} \${binary:Package}\\n' | grep -v '^ii' || true)
[ -z "$left" ] || { echo "Not installed: $left"; exit 1; }
sync
`;

/** A script for /bin/sh. @param packages in an order in which they can be unpacked  @returns status 0: all are installed */
export function configureScript(packages: readonly ControlFiles[]): string {
  const rank = ({ name }: ControlFiles): number => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const inOrder = [...packages].sort((a, b) => rank(a) - rank(b));
  const preinst = inOrder.filter(({ files }) => files.has("preinst"));
  const first = CONFIGURED_FIRST.filter((name) => packages.some((entry) => entry.name === name));
  return `${BEGIN}preinst() {
	echo "Preparing $1"
	DPKG_MAINTSCRIPT_PACKAGE=$2 DPKG_MAINTSCRIPT_ARCH=$3 DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \\
	DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_RUNNING_VERSION="$version" "/var/lib/dpkg/info/$1.preinst" install </dev/null
}
version=$(dpkg-query -W -f '\${Version}' dpkg)
mkdir /run/stubs
printf '#!/bin/sh\\n' >/run/stubs/${CERTIFICATES}
chmod 755 /run/stubs/${CERTIFICATES}
${preinst.map(({ databaseName, name, architecture }) => `preinst ${databaseName} ${name} ${architecture}\n`).join("")}
dpkg --force-depends --no-triggers --configure ${first.join(" ")}
PATH=/run/stubs:$PATH dpkg --configure -a
[ ! -x /usr/sbin/${CERTIFICATES} ] || /usr/sbin/${CERTIFICATES}
${END}`;
}

/** The same for packages onto a system that is installed: in PACKAGES_DIRECTORY they are in directories named 0, 1, …, one a batch. A configuration file that is
 *  there already is the image's own and stays. */
export function installScript(
  batches: readonly { readonly configure: readonly { readonly control: ControlFiles }[] }[],
): string {
  const dpkg = "dpkg --force-unsafe-io --force-confdef --force-confold";
  const install = batches.map(({ configure }, index) => {
    const names = configure.map(({ control }) => control.databaseName).join(" ");
    return `${dpkg} --unpack ${PACKAGES_DIRECTORY}/${index}/*.deb
${names === "" ? "" : `${dpkg} --configure ${names} </dev/null\n`}`;
  });
  return `${BEGIN}printf '%s' '${POLICY_RC_D.content}' >${POLICY_RC_D.path.slice(1)}
chmod 755 ${POLICY_RC_D.path.slice(1)}
${install.join("")}dpkg --configure -a </dev/null
umount ${PACKAGES_DIRECTORY}
${END}`;
}

/** How far a configuration is, from the lines that it writes. */
export class ConfigureProgress {
  readonly #total: number;
  readonly #onProgress: (done: number, total: number) => void;
  #line = "";
  #done = 0;

  /** @param total packages */
  constructor(total: number, onProgress: (done: number, total: number) => void) {
    this.#total = total;
    this.#onProgress = onProgress;
    onProgress(0, total);
  }

  push(text: string): void {
    const lines = `${this.#line}${text}`.split("\n");
    // A program may write without ever ending a line.
    this.#line = lines.pop()!.slice(-1024);
    for (const line of lines)
      if (line.startsWith("Setting up ")) this.#onProgress(Math.min(this.#total, ++this.#done), this.#total);
  }
}
