/** Waiting for the long work of administrators. */
import assert from "node:assert/strict";
import type { Json, TestClient } from "./client.ts";

const WAIT_MS = 60_000;
const RUNNING: ReadonlySet<string> = new Set(["scheduled", "active"]);

/** Waits until the work whose status is at `target` has ended; returns the last answer. */
export async function endOfTask(admin: TestClient, target: string): Promise<Json> {
  const deadline = performance.now() + WAIT_MS;
  while (true) {
    const answer = await admin.get(target);
    if (!RUNNING.has(answer.status)) return answer;
    assert.ok(performance.now() < deadline, `The work does not end: ${JSON.stringify(answer)}`);
  }
}
