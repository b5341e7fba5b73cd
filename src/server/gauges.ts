/** Measurements that are read from the parts of the server at each scrape, and the watch over the event loop. */
import { getLogger } from "../lib/log.ts";
import { Spread } from "../lib/tally.ts";
import { watchEventLoop } from "../workers/loop_monitor.ts";
import { addFederationMetrics } from "./meters/federation.ts";
import { addRoomMetrics } from "./meters/rooms.ts";
import { addUserMetrics } from "./meters/users.ts";
import type { Parts } from "./parts.ts";

const HELD_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Adds the gauges and starts the watch, which ends with the server. */
export function startGauges(parts: Parts): void {
  const { core: { clock, meters: { metrics } }, stopping } = parts;
  addRoomMetrics(metrics, parts);
  addUserMetrics(metrics, parts);
  addFederationMetrics(metrics, parts);
  const held = new Spread(HELD_SECONDS);
  metrics.spread(
    { name: "synapse_ts_event_loop_held_seconds", help: "Times the event loop was held up" },
    () => held,
  );
  void watchEventLoop({ clock, log: getLogger("synapse.metrics"), held }, stopping.signal);
}
