/** Waiting for several pieces of work. */

/** Waits for all, so that nothing of them is under way any more; throws what the first in order that failed threw. */
export async function waitForAll(work: Iterable<unknown>): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === "rejected") throw result.reason;
  }
}
