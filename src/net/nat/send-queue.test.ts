import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SendQueue } from "./send-queue.ts";

test("bytes come out as they went in, wherever copies begin and whatever was dropped", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("push" as const), length: fc.integer({ min: 0, max: 50 }) }),
    fc.record({ kind: fc.constant("drop" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({
      kind: fc.constant("copy" as const),
      from: fc.double({ min: 0, max: 1, noNaN: true }),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const queue = new SendQueue();
      let model: number[] = [];
      let next = 0;
      for (const each of steps) {
        if (each.kind === "push") {
          const chunk = Uint8Array.from({ length: each.length }, () => next++);
          queue.push(chunk);
          model.push(...chunk);
        } else if (each.kind === "drop") {
          const bytes = Math.floor(each.share * model.length);
          queue.drop(bytes);
          model = model.slice(bytes);
        } else if (model.length > 0) {
          const offset = Math.min(Math.floor(each.from * model.length), model.length - 1);
          const length = Math.max(Math.floor(each.share * (model.length - offset)), 1);
          const target = new Uint8Array(length + 3);
          queue.copy(offset, length, target, 2);
          assert.deepEqual([...target], [0, 0, ...model.slice(offset, offset + length), 0]);
        }
        assert.equal(queue.lengthBytes, model.length);
      }
    }),
    { numRuns: 300 },
  );
});
