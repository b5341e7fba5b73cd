/** What takes too long to find out at each scrape. */
import type { Clock } from "../../lib/clock.ts";

/** Returns what reads at most once in `forMs` milliseconds, and gives what it found until then. */
export function remembered<T>(
  clock: Clock,
  { forMs, read }: { forMs: number; read: () => Promise<T> },
): () => Promise<T> {
  let last: { readonly value: Promise<T>; readonly at: number } | null = null;
  return () => {
    const now = clock.monotonic();
    if (last !== null && last.at + forMs > now) return last.value;
    const value = read();
    const reading = { value, at: now };
    last = reading;
    // What failed is tried again with the next scrape.
    value.catch(() => {
      if (last === reading) last = null;
    });
    return value;
  };
}
