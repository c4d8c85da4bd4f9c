/* The package's entry: `import { Host } from "mere"`. Documented in docs/sdk.md, whose examples are run as tests. */
export { packageVersion } from "./cli/version.ts";
export { Host } from "./host/host.ts";
export type { CreateOptions, CreateProgress, HostPlaces } from "./host/host.ts";
export { HostError, type HostErrorCode } from "./host/host-error.ts";
export type { HostImageOptions, HostImages, StoredImage } from "./host/images.ts";
export type { VmMetrics } from "./host/metrics.ts";
export type { OwnVm } from "./host/own-vm.ts";
export type { LogEntry, LogOptions } from "./host/output-log.ts";
export type { Command, ExecOptions, ExecResult, ProcessExit, StartOptions, VmProcess } from "./host/process.ts";
export type { Vm } from "./host/vm.ts";
export type {
  CloudInitOptions,
  DiskOptions,
  NetworkMode,
  NetworkOptions,
  PortOptions,
  VmOptions,
  VolumeOptions,
} from "./host/vm-config.ts";
export type { PortRecord, VmRecord, VmStatus } from "./host/vm-directory.ts";
export { AgentError, type AgentErrorCode } from "./agent/agent-error.ts";
export { DiskError, type DiskErrorCode } from "./disk/disk-error.ts";
export { ImageError, type ImageErrorCode } from "./image/image-error.ts";
export { KernelError } from "./image/kernel-error.ts";
export { PackageError } from "./image/package-error.ts";
export { NetworkError, type NetworkErrorCode } from "./net/network-error.ts";
export { ShareError, type ShareErrorCode } from "./share/share-error.ts";
