/* What the agent makes of the guest, from a VM's configuration. */
import type { AgentConfig, AgentMount } from "../agent/initramfs.ts";
import { shareTag } from "./share-tag.ts";
import type { VmConfig } from "./vm-config.ts";
import type { InterfaceConfig } from "./vm-network.ts";

/** The root is the first disk. */
const FIRST_DISK = "a".charCodeAt(0);
/** cloud-init takes a new instance for a new machine. */
const META_DATA = (id: string, hostname: string): string => `instance-id: ${id}\nlocal-hostname: ${hostname}\n`;

/** @param network undefined: the guest has none, or looks for an address itself */
export function agentConfig(
  { config, id, name }: { readonly config: VmConfig; readonly id: string; readonly name: string },
  network: InterfaceConfig | undefined,
): AgentConfig {
  const hostname = config.hostname ?? name;
  const { timezone, sshKeys, cloudInit, init } = config;
  return {
    root: { device: "/dev/vda" },
    hostname,
    ...(network?.address !== undefined && { network: { address: network.address, gateway: network.gateway } }),
    ...(network !== undefined && network.dns.length > 0 && { dns: { servers: network.dns } }),
    ...(timezone !== null && { timezone }),
    ...(sshKeys.length > 0 && { sshKeys: { keys: sshKeys } }),
    ...(cloudInit !== null && {
      cloudInit: {
        userData: cloudInit.userData,
        metaData: cloudInit.metaData ?? META_DATA(id, hostname),
        networkConfig: cloudInit.networkConfig,
      },
    }),
    mounts: mountsOf(config),
    shares: config.volumes.map(({ guest, readOnly }, index) => ({ tag: shareTag(index), path: guest, readOnly })),
    init,
  };
}

function mountsOf({ disks }: VmConfig): AgentMount[] {
  return disks.flatMap(({ guest, readOnly }, index) =>
    guest === null ? [] : [{ device: `/dev/vd${String.fromCharCode(FIRST_DISK + 1 + index)}`, path: guest, readOnly }],
  );
}
