import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import type { UserId } from "../protocol/ids.ts";
import { Notifier, type StreamPositions, STREAMS } from "./notifier.ts";

const WAIT_MS = 60_000;

function makeNotifier(): Notifier {
  return new Notifier(Object.fromEntries(STREAMS.map((stream) => [stream, 0])) as StreamPositions);
}

function users(count: number): UserId[] {
  return Array.from({ length: count }, (_, index) => `@u${index}:hs.test` as UserId);
}

Deno.test("many who wait for the same are let go in order, a few in each turn of the event loop", async () => {
  const notifier = makeNotifier();
  const all = users(120);
  const order: number[] = [];
  const waits = all.map((user, index) => notifier.subscribe(user).wait(WAIT_MS).then(() => order.push(index)));
  notifier.publish("events", 1, all);
  await null;
  await null;
  const first = order.length;
  strictEqual(first > 0 && first < all.length, true, `${first} in the first turn`);
  await Promise.all(waits);
  deepStrictEqual(order, all.map((_, index) => index));
});

Deno.test("one who gives up while due, and one who is notified again, disturb nobody", async () => {
  const notifier = makeNotifier();
  const all = users(120);
  const subscriptions = all.map((user) => notifier.subscribe(user));
  const leaving = new AbortController();
  const waits = subscriptions.map((each, index) => each.wait(WAIT_MS, index === 110 ? leaving.signal : undefined));
  notifier.publish("events", 1, all);
  notifier.publish("events", 2, all);
  leaving.abort();
  // Whoever was notified before the end of the wait is told so, however the wait ended.
  deepStrictEqual(new Set(await Promise.all(waits)), new Set([true]));
  await setImmediate();
  const [again] = subscriptions;
  const wait = again?.wait(WAIT_MS);
  notifier.publish("events", 3, all);
  strictEqual(await wait, true);
});

Deno.test("what is published while nobody waits is there for the next wait, once", async () => {
  const notifier = makeNotifier();
  const [user] = users(1);
  if (user === undefined) throw new Error("no user");
  using subscription = notifier.subscribe(user);
  notifier.publish("events", 1, [user]);
  strictEqual(await subscription.wait(WAIT_MS), true);
  strictEqual(await subscription.wait(0), false);
});
