import assert from "node:assert/strict";
import { systemClock } from "./clock.ts";

Deno.test("sleep() does not end at once when it is to last longer than a timer can be set for", async () => {
  const waking = new AbortController();
  let isOver = false;
  const sleeping = systemClock.sleep(400 * 86_400_000, waking.signal).then(() => {
    isOver = true;
  });
  await systemClock.sleep(50);
  assert.equal(isOver, false);
  waking.abort();
  await sleeping;
});
