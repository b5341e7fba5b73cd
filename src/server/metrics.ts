/**
 * What is measured, under Synapse's names where it is the same thing, and from where. With `enable_metrics: false` nothing
 * is: the hooks are absent, so that nobody pays for them. What parts count by themselves is read in `gauges.ts`.
 */
import type { Config } from "../config/config.ts";
import type { AnsweredRequest, BegunRequest } from "../http/middleware/access_log.ts";
import type { Clock } from "../lib/clock.ts";
import { loadMetrics, type Metrics, NO_METRICS } from "../lib/metrics.ts";
import { VERSION } from "../lib/version.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import type { Database } from "../storage/database.ts";
import { type Measure, unmeasured, WorkMeter } from "../storage/work_meters.ts";
import { timedDatabase } from "./meters/database.ts";
import { persistMeter } from "./meters/events.ts";
import { type ExchangeMeter, exchangeMeter } from "./meters/exchange.ts";
import { RequestMeter } from "./meters/requests.ts";
import { addWorkMetrics } from "./meters/work.ts";

/** Told of what happens; a hook that is absent needs no call. */
export interface Meters {
  readonly metrics: Metrics;
  readonly hooks: MeterHooks | null;
  /** Does a part of answering somebody. */
  readonly measure: Measure;
  /** Does what the server does by itself. */
  readonly background: Measure;
}

/** Where other parts tell what they did. */
export interface MeterHooks extends ExchangeMeter {
  readonly onBegun: (begun: BegunRequest) => void;
  readonly onAnswered: (answered: AnsweredRequest) => void;
  readonly onPersist: PersistHandler;
  /** Returns the database with its transactions timed. */
  readonly timed: (db: Database) => Database;
}

/** Returns what to tell; loads what metrics take only where they are wanted. */
export async function openMeters(config: Config, clock: Clock): Promise<Meters> {
  const { serverName } = config;
  if (!config.metrics.enableMetrics) {
    return { metrics: NO_METRICS, hooks: null, measure: unmeasured, background: unmeasured };
  }
  const metrics = await loadMetrics({ server_name: serverName });
  metrics.gauge(
    {
      name: "synapse_build_info",
      help: "The version",
      isOfProcess: true,
      labels: ["pythonversion", "version", "osversion", "rustcversion"],
    },
    () => [[
      { pythonversion: "", version: `synapse-ts ${VERSION}`, osversion: Deno.osRelease(), rustcversion: "" },
      1,
    ]],
  );
  metrics.gauge({ name: "synapse_server_name_info", help: "The server's name" }, () => 1);
  const [blocks, background] = [new WorkMeter(clock), new WorkMeter(clock)];
  addWorkMetrics(metrics, { blocks, background });
  const requests = new RequestMeter(metrics);
  const hooks = {
    ...exchangeMeter(metrics, new Set(config.federation.federationMetricsDomains)),
    onBegun: requests.onBegun,
    onAnswered: requests.onAnswered,
    onPersist: persistMeter(metrics, serverName),
    timed: (db: Database) => timedDatabase(db, { metrics, clock }),
  };
  return { metrics, hooks, measure: blocks.measure, background: background.measure };
}
