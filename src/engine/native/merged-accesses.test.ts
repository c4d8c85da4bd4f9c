/* Groups of accesses: what goes together, and what must not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createDecoder, newDecoded } from "../../isa/decode.ts";
import { MergedAccesses, Role } from "./merged-accesses.ts";
import { treatment } from "./supported.ts";

/** @param block instructions in hexadecimal digits, with spaces between them  @returns roles */
function roles(block: string): { readonly roles: number[]; readonly accesses: MergedAccesses } {
  const accesses = new MergedAccesses();
  const decoder = createDecoder();
  accesses.begin();
  let next = 0;
  const instructions = block.split(" ");
  instructions.forEach((hex, i) => {
    const bytes = new Uint8Array(16);
    bytes.set(Buffer.from(hex, "hex"));
    const d = newDecoded();
    assert.equal(decoder.decode(bytes, 0, 16, d), undefined);
    next += d.length;
    accesses.add(i, d, treatment(d.row), next);
  });
  return { roles: instructions.map((_, i) => accesses.merged[i]!.role), accesses };
}
const { NONE, FIRST, COVERED } = Role;

test("accesses by a register, across what is added to it", () => {
  // mov eax, [rbx]; add rbx, 8; mov ecx, [rbx-4]
  assert.deepEqual(roles("8b03 4883c308 8b4bfc").roles, [FIRST, NONE, COVERED]);
  // mov eax, [rbx]; mov rbx, rcx; mov ecx, [rbx+4]
  assert.deepEqual(roles("8b03 4889cb 8b4b04").roles, [NONE, NONE, NONE]);
});
test("a read and a write behind it", () => {
  // mov eax, [rbx]; mov [rbx+4], eax
  const { accesses, roles: found } = roles("8b03 894304");
  assert.deepEqual(found, [FIRST, COVERED]);
  assert.equal(accesses.merged[0]!.others, true);
});
test("accesses by RIP, and by a base and an index", () => {
  // mov eax, [rip+0x100]; mov ecx, [rip+0x100]: 6 bytes further on
  const rip = roles("8b0500010000 8b0d00010000");
  assert.deepEqual(rip.roles, [FIRST, COVERED]);
  assert.deepEqual([rip.accesses.merged[0]!.low, rip.accesses.merged[0]!.bytes], [0x106, 10]);
  // mov eax, [rbx+rcx*4]; mov [rbx+rcx*4+4], eax
  assert.deepEqual(roles("8b048b 89448b04").roles, [FIRST, COVERED]);
  // … with another scale, or with add rbx, 8 between them
  assert.deepEqual(roles("8b048b 8944cb04").roles, [NONE, NONE]);
  assert.deepEqual(roles("8b048b 4883c308 89448b04").roles, [NONE, NONE, NONE]);
});
test("displacements at the end of what one can be", () => {
  // mov eax, [rbx+0x7ffffffc]; add rbx, 8; mov ecx, [rbx+0x7ffffff8]: a group would begin where it cannot be encoded
  assert.deepEqual(roles("8b83fcffff7f 4883c308 8b8bf8ffff7f").roles, [NONE, NONE, NONE]);
  // by RIP: the page's offset is added
  assert.deepEqual(roles("8b05f0ffff7f 8b0df0ffff7f").roles, [NONE, NONE]);
});
