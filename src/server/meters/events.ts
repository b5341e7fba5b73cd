/** Events as they are written. */
import type { Metrics } from "../../lib/metrics.ts";
import { NUMBER_RANGES, Spread, Tally } from "../../lib/tally.ts";
import { type ServerName, serverNameOf } from "../../protocol/ids.ts";
import type { PersistedBatch, PersistHandler } from "../../rooms/pending.ts";
import { addTally } from "./tallies.ts";

const SIZES = [1, 2, 5, 10, 20, 50, 100, 500];
const MAX_TYPE_LENGTH = 50;

/** Returns what is told of each batch. */
export function persistMeter(metrics: Metrics, serverName: ServerName): PersistHandler {
  const counts = { events: 0, softFailed: 0, notified: 0, stateChanges: 0 };
  const separate = new Tally("type", "origin_type");
  const spreads = { sizes: new Spread(SIZES), ends: new Spread(NUMBER_RANGES), staleEnds: new Spread(NUMBER_RANGES) };
  addMetrics(metrics, { counts, separate, spreads });

  const note = ({ events, ends }: PersistedBatch) => {
    counts.events += events.length;
    if (events.length > 0) spreads.sizes.observe(events.length);
    for (const { stored: { event, isSoftFailed, isRejected, position }, deltas } of events) {
      if (isSoftFailed) counts.softFailed++;
      if (position !== null && position > 0 && !isSoftFailed && !isRejected) counts.notified++;
      counts.stateChanges += deltas.all.length;
      const origin = serverNameOf(event.sender) === serverName ? "local" : "remote";
      separate.add([typeLabel(event.type), origin]);
    }
    spreads.ends.observe(ends.after.length);
    spreads.staleEnds.observe(ends.after.filter(({ nid }) => ends.before.some((end) => end.nid === nid)).length);
  };
  return (tx, batch) => {
    tx.afterCommit(() => note(batch));
    return Promise.resolve();
  };
}

/** Only types of the specification: anybody can make up others, and each would be a series. */
function typeLabel(type: string): string {
  return type.startsWith("m.") && type.length <= MAX_TYPE_LENGTH ? type : "*other*";
}

function addMetrics(
  metrics: Metrics,
  { counts, separate, spreads }: {
    counts: { readonly events: number; readonly softFailed: number; notified: number; stateChanges: number };
    separate: Tally<"type" | "origin_type">;
    spreads: { readonly sizes: Spread; readonly ends: Spread; readonly staleEnds: Spread };
  },
): void {
  const events = "synapse_storage_events_";
  metrics.counted({ name: `${events}persisted_events_total`, help: "Events written" }, () => counts.events);
  addTally(metrics, {
    name: `${events}persisted_events_sep_total`,
    help: "Events written, by type and by whether they are of this server's users",
    tally: separate,
  });
  metrics.counted({ name: `${events}state_delta_total`, help: "Changes of rooms' states" }, () => counts.stateChanges);
  metrics.counted(
    { name: "synapse_notifier_notified_events_total", help: "Events that users are told of" },
    () => counts.notified,
  );
  metrics.counted(
    {
      name: "synapse_federation_soft_failed_events_total",
      help: "Events that the present state of their room does not allow, and that nobody is shown",
    },
    () => counts.softFailed,
  );
  metrics.spread(
    { name: `${events}forward_extremities_persisted`, help: "Ends of a room's graph after a write" },
    () => spreads.ends,
  );
  metrics.spread(
    {
      name: `${events}stale_forward_extremities_persisted`,
      help: "Ends of a room's graph that a write left as they were",
    },
    () => spreads.staleEnds,
  );
  metrics.spread(
    { name: "synapse_ts_events_per_write", help: "Events of a room written together" },
    () => spreads.sizes,
  );
}
