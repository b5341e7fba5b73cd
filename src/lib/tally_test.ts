import assert from "node:assert/strict";
import { Spread, Tally } from "./tally.ts";

Deno.test("a tally counts by the values of its labels", () => {
  const tally = new Tally("from", "to");
  tally.add(["online", "offline"]);
  tally.add(["online", "offline"], 2);
  tally.add(["offline", "online"]);
  assert.deepEqual(tally.read(), [
    [{ from: "online", to: "offline" }, 3],
    [{ from: "offline", to: "online" }, 1],
  ]);
});

Deno.test("a tally keeps a bounded number of values, whatever it is told", () => {
  const tally = new Tally("type");
  for (let i = 0; i < 10_000; i++) tally.add([`m.made.up.${i}`]);
  const counts = tally.read();
  assert.ok(counts.length <= 201, `${counts.length}`);
  assert.equal(counts.reduce((sum, [, count]) => sum + count, 0), 10_000);
  assert.deepEqual(counts.at(-1), [{ type: "other" }, 9_800]);
});

Deno.test("a spread puts a value on a bound into that bound's range, as Prometheus does", () => {
  const spread = new Spread([1, 5]);
  for (const value of [0, 1, 1.5, 5, 6, 100]) spread.observe(value);
  assert.deepEqual([spread.counts, spread.sum, spread.count], [[2, 2, 2], 113.5, 6]);
});
