/* What a VM boots. The files themselves are tested in src/image; here is what chooses between them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bannerVersion } from "./guest-kernel.ts";

test("a kernel's version is read from its banner", () => {
  const kernel = (text: string): Uint8Array =>
    Buffer.concat([Buffer.alloc(4096, 0x90), Buffer.from(`${text}\0`), Buffer.alloc(64)]);
  assert.equal(
    bannerVersion(kernel("Linux version 6.1.0-13-cloud-amd64 (team@host) (gcc-12) #1 SMP")),
    "6.1.0-13-cloud-amd64",
  );
  assert.equal(bannerVersion(kernel("Linux version %s (%s)\0Linux version 6.12.3+deb13 (x)")), "6.12.3+deb13");
  assert.equal(bannerVersion(kernel("no banner")), undefined);
  assert.equal(bannerVersion(Buffer.from("Linux version 6.1")), undefined);
  assert.equal(bannerVersion(new Uint8Array(0)), undefined);
});
