/** The clock of tests sleeps as the real one does. */
import assert from "node:assert/strict";
import { FakeClock } from "./fake_clock.ts";

Deno.test("FakeClock.sleep() ends at once when what it waits for is over", async () => {
  const clock = new FakeClock();
  await clock.sleep(0);
  await clock.sleep(-1);
  assert.equal(clock.monotonic(), 0);
});

Deno.test("FakeClock.sleep() ends when the clock is moved far enough, not before", async () => {
  const clock = new FakeClock();
  let isAwake = false;
  const sleep = clock.sleep(10).then(() => isAwake = true);
  clock.advance(9);
  await new Promise((resolve) => setTimeout(resolve));
  assert.equal(isAwake, false);
  clock.advance(1);
  await sleep;
});
