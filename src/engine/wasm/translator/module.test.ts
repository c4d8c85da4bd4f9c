import assert from "node:assert/strict";
import { test } from "node:test";
import { code } from "../../../../tests/guests/listing.ts";
import { createStateMemory } from "../layout.ts";
import { type RegionRequest, translateModule } from "./module.ts";
import { ALL_PASSES } from "./region-options.ts";

const OPTIONS = { passes: ALL_PASSES, parallel: false };
const RAM_PAGES = 16;

function request(id: number, text: string): RegionRequest {
  const { bytes } = code(text);
  return { id, code: { seed: 0x10, runs: Int32Array.of(0x10, bytes.length), bytes, sites: [] } };
}
const LOOP = `
  83 c0 01                        add eax, 1
  75 fb                           jne −5
  eb 7f                           jmp 127
`;
const LOAD = `
  8b 03                           mov eax, [rbx]
  c3                              ret
`;
const HLT = `
  f4                              hlt
`;

test("regions that can be translated are exported by position; the others have no entries", () => {
  const { regions, module, bytes, imports } = translateModule(
    [request(7, LOOP), request(5, HLT), request(9, LOAD)],
    OPTIONS,
    RAM_PAGES,
  );
  assert.deepEqual(regions, [
    { id: 7, entries: [0x10], instructions: 3 },
    { id: 5, entries: [], instructions: 0 },
    { id: 9, entries: [0x10], instructions: 2 },
  ]);
  assert.ok(module && bytes > 0);
  const ram = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
  const nothing = (): number => 0;
  const { exports } = new WebAssembly.Instance(module, {
    host: Object.fromEntries(imports.map((name) => [name, nothing])),
    mere: { state: createStateMemory(), ram },
  });
  assert.deepEqual(Object.keys(exports), ["r0", "r2"]);
});

test("a module imports what its regions call, each once", () => {
  const { imports } = translateModule([request(1, LOOP), request(2, LOOP)], OPTIONS, RAM_PAGES);
  assert.deepEqual(imports.toSorted(), ["interpret", "leave"]);
  assert.ok(translateModule([request(1, LOAD)], OPTIONS, RAM_PAGES).imports.includes("refill"));
});

test("where nothing can be translated there is no module", () => {
  const regions = [{ id: 3, entries: [], instructions: 0 }];
  const { number, ...made } = translateModule([request(3, HLT)], OPTIONS, RAM_PAGES);
  assert.notEqual(number, translateModule([request(3, HLT)], OPTIONS, RAM_PAGES).number);
  assert.deepEqual(made, {
    regions,
    module: undefined,
    imports: [],
    bytes: 0,
  });
});

test("the entries of a loop in the middle and of the address after a call", () => {
  const { regions } = translateModule(
    [
      request(
        1,
        `
        31 c0                           xor eax, eax
        again:
        ff c0                           inc eax
        75 fc                           jne again
        ff d3                           call rbx
        c3                              ret
        `,
      ),
    ],
    OPTIONS,
    RAM_PAGES,
  );
  assert.deepEqual(
    regions[0].entries.toSorted((a, b) => a - b),
    [0x10, 0x12, 0x18],
  );
});
