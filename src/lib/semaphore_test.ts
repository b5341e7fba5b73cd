import assert from "node:assert/strict";
import { Semaphore } from "./semaphore.ts";

Deno.test("Semaphore runs no more at once than allowed, in order, also after failures", async () => {
  const semaphore = new Semaphore(2);
  const started: number[] = [];
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const runs = gates.map((gate, index) =>
    semaphore.run(async () => {
      started.push(index);
      await gate.promise;
    }).catch(() => {})
  );
  assert.deepEqual([started, semaphore.waiting], [[0, 1], 3]);
  gates[1]?.reject(new Error("failed"));
  await runs[1];
  assert.deepEqual(started, [0, 1, 2]);
  for (const gate of gates) gate.resolve();
  await Promise.all(runs);
  assert.deepEqual([started, semaphore.waiting], [[0, 1, 2, 3, 4], 0]);
});
