import assert from "node:assert/strict";
import { LruCache } from "./lru.ts";

Deno.test("LruCache drops the entry used least recently", () => {
  const cache = new LruCache<string, number>({ maxEntries: 2 });
  cache.set("a", 1);
  cache.set("b", 2);
  assert.equal(cache.get("a"), 1);
  cache.set("c", 3);
  assert.equal(cache.get("b"), undefined);
  assert.deepEqual([...cache.keys()], ["a", "c"]);
});

Deno.test("LruCache counts bytes and forgets the size of replaced entries", () => {
  const cache = new LruCache<string, string>({ maxBytes: 10, sizeOf: (value) => value.length });
  cache.set("a", "12345");
  cache.set("a", "1");
  cache.set("b", "123456789");
  assert.equal(cache.size, 10);
  cache.set("c", "12");
  assert.deepEqual([...cache.keys()], ["c"]);
  assert.equal(cache.size, 2);
});

Deno.test("LruCache keeps one entry that is larger than the bound until the next comes", () => {
  const cache = new LruCache<string, string>({ maxBytes: 3, sizeOf: (value) => value.length });
  cache.set("big", "12345");
  assert.equal(cache.get("big"), "12345");
  cache.set("small", "1");
  assert.equal(cache.get("big"), undefined);
});

Deno.test("LruCache keeps its order and size through replacing and deleting", () => {
  const cache = new LruCache<string, number>({ maxEntries: 3 });
  for (const key of ["a", "b", "c"]) cache.set(key, 1);
  cache.set("a", 2);
  assert.deepEqual([...cache.keys()], ["b", "c", "a"]);
  assert.equal(cache.delete("c"), true);
  assert.equal(cache.delete("c"), false);
  assert.deepEqual([...cache.keys()], ["b", "a"]);
  assert.equal(cache.peek("b"), 1);
  cache.set("d", 1);
  cache.set("e", 1);
  assert.deepEqual([...cache.keys()], ["a", "d", "e"]);
  assert.equal(cache.size, 3);
  cache.clear();
  assert.equal(cache.count, 0);
  cache.set("f", 1);
  assert.deepEqual([...cache.keys()], ["f"]);
});
