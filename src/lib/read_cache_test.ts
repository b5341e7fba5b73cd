import assert from "node:assert/strict";
import { ReadCache } from "./read_cache.ts";

Deno.test("a value is read once, until it is forgotten", async () => {
  const cache = new ReadCache<string, number>({ maxEntries: 2 });
  let reads = 0;
  const read = () => Promise.resolve(++reads);
  assert.deepEqual([await cache.get("a", read), await cache.get("a", read)], [1, 1]);
  cache.forget("a");
  assert.deepEqual([await cache.get("a", read), await cache.get("a", read)], [2, 2]);
});

Deno.test("a value that changed while it was read is not kept", async () => {
  const cache = new ReadCache<string, number>({ maxEntries: 2 });
  const slow = Promise.withResolvers<number>();
  const reading = cache.get("a", () => slow.promise);
  cache.forget("a");
  slow.resolve(1);
  assert.equal(await reading, 1);
  assert.equal(await cache.get("a", () => Promise.resolve(2)), 2);
});

Deno.test("the values used least recently go first", async () => {
  const cache = new ReadCache<string, number>({ maxEntries: 1 });
  await cache.get("a", () => Promise.resolve(1));
  await cache.get("b", () => Promise.resolve(2));
  assert.equal(await cache.get("a", () => Promise.resolve(3)), 3);
});
