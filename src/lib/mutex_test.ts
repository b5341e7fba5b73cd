import assert from "node:assert/strict";
import { KeyedMutex, Mutex } from "./mutex.ts";

Deno.test("Mutex runs tasks in order and survives one that throws", async () => {
  const mutex = new Mutex();
  const order: number[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const first = mutex.run(async () => {
    await gate;
    order.push(1);
    throw new Error("first");
  });
  const second = mutex.run(() => Promise.resolve(order.push(2)));
  open();
  await assert.rejects(first, /first/);
  await second;
  assert.deepEqual(order, [1, 2]);
});

Deno.test("KeyedMutex lets different keys run at once", async () => {
  const mutex = new KeyedMutex<string>();
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const order: string[] = [];
  const a = mutex.run("a", async () => {
    await gate;
    order.push("a");
  });
  await mutex.run("b", () => Promise.resolve(order.push("b")));
  open();
  await a;
  assert.deepEqual(order, ["b", "a"]);
});
