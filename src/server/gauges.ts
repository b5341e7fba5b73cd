/** Measurements that are read from the parts of the server at each scrape, and the watch over the event loop. */
import { getLogger } from "../lib/log.ts";
import { countActiveUsers } from "../storage/users.ts";
import { countOtherServers } from "../storage/federation_rooms.ts";
import { countPushers } from "../storage/pushers.ts";
import { watchEventLoop } from "../workers/loop_monitor.ts";
import type { Core } from "./core.ts";
import type { Parts } from "./parts.ts";

const HELD_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Counting all servers takes a while, so that a scrape gets what was counted within this time. */
const SERVERS_LIFETIME_MS = 60_000;

/** Adds the gauges and starts the watch, which ends with the server. */
export function startGauges({ core, accounts, exchange, stopping }: Parts): void {
  const { notifier, clock, db, meters: { metrics } } = core;
  metrics.gauge(
    { name: "synapse_event_persisted_position", help: "Position of the last event", labels: ["instance_name"] },
    () => [[{ instance_name: "master" }, notifier.position("events")]],
  );
  metrics.gauge({ name: "synapse_notifier_listeners", help: "Requests that wait for news" }, () => notifier.waiting);
  metrics.gauge(
    { name: "synapse_federation_transaction_queue_pending_destinations", help: "Servers that are being sent to" },
    () => exchange.sender.activeServers,
  );
  metrics.gauge(
    { name: "synapse_ts_federation_waiting_destinations", help: "Servers that are owed something and left alone" },
    () => exchange.sender.waitingServers,
  );
  metrics.gauge(
    { name: "synapse_pushers", help: "Pushers", labels: ["kind"] },
    async () => (await countPushers(db)).map(({ kind, count }) => [{ kind }, count] as const),
  );
  metrics.gauge(
    { name: "synapse_non_deactivated_user_count", help: "Accounts", labels: ["app_service"] },
    async () =>
      (await countActiveUsers(db)).map(({ appserviceId, count }) => {
        return [{ app_service: appserviceId ?? "native" }, count] as const;
      }),
  );
  const { limitUsageByMau, maxMauValue } = core.config.blocking;
  metrics.gauge(
    { name: "synapse_admin_mau_current", help: "Monthly active users" },
    () => accounts.activeUsers.count(),
  );
  metrics.gauge(
    { name: "synapse_admin_mau_max", help: "The most monthly active users; 0 without a limit" },
    () => limitUsageByMau ? maxMauValue : 0,
  );
  if (core.config.metrics.metricsFlags.knownServers) countServers(core);
  const held = metrics.histogram({
    name: "synapse_ts_event_loop_held_seconds",
    help: "Times the event loop was held up",
    buckets: HELD_BUCKETS,
  });
  void watchEventLoop({ clock, log: getLogger("synapse.metrics"), held }, stopping.signal);
}

function countServers({ db, clock, meters: { metrics } }: Core): void {
  let counted: { readonly count: Promise<number>; readonly ts: number } | null = null;
  metrics.gauge(
    { name: "synapse_federation_known_servers", help: "Servers in all rooms, this one included" },
    async () => {
      const now = clock.monotonic();
      if (counted === null || counted.ts + SERVERS_LIFETIME_MS <= now) {
        counted = { count: countOtherServers(db), ts: now };
      }
      return await counted.count + 1;
    },
  );
}
