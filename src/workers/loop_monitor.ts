/**
 * Watches the event loop: while something computes, nobody is answered. Each time it was held up for longer than
 * `LIMIT_MS` is counted, and the longest of a minute is logged.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Spread } from "../lib/tally.ts";

/** What the monitor is built from. */
export interface LoopMonitorDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly held: Spread;
}

const EVERY_MS = 100;
const LIMIT_MS = 50;
const REPORT_EVERY_MS = 60_000;
/** A hold-up that an operator should hear of. */
const WARN_MS = 500;

/** Watches until the signal aborts. */
export async function watchEventLoop({ clock, log, held }: LoopMonitorDeps, signal: AbortSignal): Promise<void> {
  let longest = 0;
  let reportedAt = clock.monotonic();
  while (!signal.aborted) {
    const before = clock.monotonic();
    await clock.sleep(EVERY_MS, signal);
    const now = clock.monotonic();
    const late = now - before - EVERY_MS;
    if (late > LIMIT_MS && !signal.aborted) {
      held.observe(late / 1_000);
      longest = Math.max(longest, late);
    }
    if (now - reportedAt < REPORT_EVERY_MS) continue;
    if (longest > WARN_MS) log.warn("The event loop was held up", { longest_ms: Math.round(longest) });
    longest = 0;
    reportedAt = now;
  }
}
