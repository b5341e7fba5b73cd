/** Tallies as metrics. */
import type { Metrics } from "../../lib/metrics.ts";
import type { Tally } from "../../lib/tally.ts";

/** Adds a counter of what a part tallies. */
export function addTally(
  metrics: Metrics,
  { name, help, tally }: { name: string; help: string; tally: Tally<string> },
): void {
  metrics.counted({ name, help, labels: tally.labels }, () => tally.read());
}
