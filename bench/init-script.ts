/* The init of the benchmark's guests: says "@init", then does what bench=NAME,NAME on the kernel's command line names, which are suites or "touch", and says
 * "@finished". scale=PERCENT, only=NAME,NAME and port=PORT are for the suites. */
import { GUEST_ADDRESS, GUEST_NETMASK, HOST_ADDRESS } from "./network.ts";
import { needsNetwork, needsScratch, SUITES, SUITE_NAMES, type SuiteName, suiteScript } from "./suite.ts";

function preparation(name: SuiteName): string {
  if (needsNetwork([name])) return "network\n";
  return SUITES[name].debian ? "disk\n" : needsScratch([name]) ? "scratch\n" : "";
}

/** @param modules to load for a disk or a network, each after those it depends on; those that the kernel refuses are left out, since it may have them built in */
export function initScript(modules: readonly string[]): string {
  return `#!/bin/sh
echo @init
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
read -r cmdline </proc/cmdline
for word in $cmdline; do
	case $word in bench=* | scale=* | only=* | port=*) export "$word" ;; esac
done
V= D=/bench B=/bin/busybox T=/tmp/text C= W=/disk/tmp M=/tmp N=${HOST_ADDRESS}
export P=/tmp
modules() {
	for module in ${modules.join(" ")}; do insmod /bench/modules/$module.ko 2>/dev/null; done
}
network() { # waits for the device, whose driver may take its time
	modules
	mount -t sysfs sys /sys
	tries=0
	while [ ! -d /sys/class/net/eth0 ] && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
	ifconfig eth0 ${GUEST_ADDRESS} netmask ${GUEST_NETMASK} up || echo "@failed network"
}
device() { # waits for the disk, whose driver may take its time
	modules
	tries=0
	while [ ! -b /dev/vda ] && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
}
scratch() {
	[ -n "$V" ] || device
	V=/dev/vda
}
disk() { # once
	[ -z "$C" ] || return
	device
	mount -t ext4 -o ro /dev/vda /disk && mount -t tmpfs tmp /disk/tmp && mount -t devtmpfs dev /disk/dev || echo "@failed disk"
	C="chroot /disk"
}
for part in $(echo "$bench" | tr , ' '); do
case $part in
${SUITE_NAMES.map((name) => `${name})\n${preparation(name)}${suiteScript(SUITES[name].entries)}\n;;`).join("\n")}
touch)
	echo @idle
	/bench/touch 100
	;;
esac
done
echo @finished
poweroff -f
`;
}
