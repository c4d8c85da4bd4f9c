/* The configuration of an image, checked: how its programs start, and the digests of its layers uncompressed.
 * @source OCI image specification 1.1 "Image Configuration". Leaves out history, volumes and health checks, which say nothing of how a VM starts. */
import { ImageError } from "../image-error.ts";
import type { ImageConfig } from "../store/stored-image.ts";
import { parseJson, wrongPlatform } from "./manifest.ts";
import { isRecord } from "./registry-settings.ts";

export interface ImageDocument {
  readonly config: ImageConfig;
  /** "sha256:…" of each layer uncompressed, from the lowest to the highest. */
  readonly diffIds: readonly string[];
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Reads a configuration. @param name of the image, for messages @throws ImageError "damaged-image", "wrong-platform" */
export function parseImageConfig(bytes: Uint8Array, name: string): ImageDocument {
  const { architecture, os, rootfs, config } = parseJson(bytes, `The configuration of ${name}`);
  if (architecture !== "amd64" || os !== "linux") throw wrongPlatform(name, [`${String(os)}/${String(architecture)}`]);
  const diffIds = isRecord(rootfs) ? rootfs["diff_ids"] : undefined;
  if (!isTexts(diffIds) || !diffIds.every((id) => DIGEST.test(id)))
    throw damaged(name, "has no list of layers (rootfs.diff_ids)");
  return { config: parseConfig(config ?? {}, name), diffIds };
}

function parseConfig(value: unknown, name: string): ImageConfig {
  if (!isRecord(value)) throw damaged(name, 'has a "config" that is no object');
  const texts = (key: string): readonly string[] => {
    const list = value[key] ?? [];
    if (!isTexts(list) || list.some((text) => text.includes("\0")))
      throw damaged(name, `has a ${key} that is no list of words`);
    return list;
  };
  const text = (key: string): string => {
    const found = value[key] ?? "";
    if (typeof found !== "string" || found.includes("\0")) throw damaged(name, `has a ${key} that is no word`);
    return found;
  };
  const directory = text("WorkingDir");
  const labels = value["Labels"] ?? {};
  const ports = value["ExposedPorts"] ?? {};
  if (!isRecord(labels) || !isTexts(Object.values(labels))) throw damaged(name, "has Labels that are no words");
  if (!isRecord(ports)) throw damaged(name, "has ExposedPorts that are no object");
  return {
    entrypoint: texts("Entrypoint"),
    cmd: texts("Cmd"),
    // A word without "=" is no setting.
    env: texts("Env").filter((entry) => entry.indexOf("=") > 0),
    workingDir: directory.startsWith("/") ? directory : `/${directory}`,
    user: text("User"),
    exposedPorts: Object.keys(ports).filter((port) => /^\d{1,5}(?:\/(?:tcp|udp|sctp))?$/.test(port)),
    stopSignal: text("StopSignal"),
    labels: labels as Record<string, string>,
  };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === "string");
}

function damaged(name: string, why: string): ImageError {
  return new ImageError("damaged-image", `The configuration of ${name} ${why}; get the image again, or use another.`);
}
