/** Parts of answering, and what the server does by itself. */
import type { Metrics } from "../../lib/metrics.ts";
import type { WorkFigures, WorkMeter } from "../../storage/work_meters.ts";

/** Adds the metrics of both. */
export function addWorkMetrics(
  metrics: Metrics,
  { blocks, background }: { blocks: WorkMeter; background: WorkMeter },
): void {
  const add = (meter: WorkMeter, { prefix, label }: { prefix: string; label: string }) => {
    const counted = (name: string, help: string, read: (figures: WorkFigures) => number) =>
      metrics.counted(
        { name: `${prefix}${name}_total`, help, labels: [label] },
        () => meter.read().map((figures) => [{ [label]: figures.name }, read(figures)]),
      );
    const inFlight = (name: string) =>
      metrics.gauge(
        { name: `${prefix}${name}`, help: "How much of it is under way", labels: [label] },
        () => meter.read().map((figures) => [{ [label]: figures.name }, figures.inFlight]),
      );
    counted("db_txn_count", "Reads and transactions that it took", ({ dbCount }) => dbCount);
    counted("db_txn_duration_seconds", "Time in the database that it took", ({ dbMs }) => dbMs / 1_000);
    return { counted, inFlight };
  };
  const block = add(blocks, { prefix: "synapse_util_metrics_block_", label: "block_name" });
  block.counted("count", "How often a part of the work was done", ({ started, inFlight }) => started - inFlight);
  block.counted("time_seconds", "How long it took, waiting included", ({ ms }) => ms / 1_000);
  block.inFlight("in_flight_total");
  const process = add(background, { prefix: "synapse_background_process_", label: "name" });
  process.counted("start_count", "How often background work was begun", ({ started }) => started);
  process.inFlight("in_flight_count");
  metrics.counted(
    {
      name: "synapse_ts_background_process_time_seconds_total",
      help: "How long it took, waiting included",
      labels: ["name"],
    },
    () => background.read().map(({ name, ms }) => [{ name }, ms / 1_000]),
  );
}
