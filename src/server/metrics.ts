/**
 * What is measured, under Synapse's names where it is the same thing, and from where. With `enable_metrics: false` nothing
 * is: the hooks are absent, so that nobody pays for them.
 */
import type { AnsweredRequest } from "../http/middleware/access_log.ts";
import type { Clock } from "../lib/clock.ts";
import { loadMetrics, type Metrics, NO_METRICS } from "../lib/metrics.ts";
import { VERSION } from "../lib/version.ts";
import { type ServerName, serverNameOf } from "../protocol/ids.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import type { Database, Tx } from "../storage/database.ts";
import type { ExchangedTransaction } from "../workers/federation_sender.ts";

/** Told of what happens; a hook that is absent needs no call. */
export interface Meters {
  readonly metrics: Metrics;
  readonly hooks: MeterHooks | null;
}

/** Where other parts tell what they did. */
export interface MeterHooks {
  readonly onAnswered: (answered: AnsweredRequest) => void;
  readonly onPersist: PersistHandler;
  readonly onSent: (size: ExchangedTransaction) => void;
  readonly onReceived: (size: ExchangedTransaction) => void;
  readonly onPush: (isTaken: boolean) => void;
  /** Returns the database with its transactions timed. */
  readonly timed: (db: Database) => Database;
}

const REQUEST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const TRANSACTION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** Returns what to tell; loads what metrics take only where they are wanted. */
export async function openMeters(
  { isEnabled, serverName, clock, federationDomains }: {
    isEnabled: boolean;
    serverName: ServerName;
    clock: Clock;
    /** `federation_metrics_domains`. */
    federationDomains: readonly string[];
  },
): Promise<Meters> {
  if (!isEnabled) return { metrics: NO_METRICS, hooks: null };
  const metrics = await loadMetrics();
  metrics.gauge(
    { name: "synapse_build_info", help: "The version", labels: ["pythonversion", "version", "osversion"] },
    () => [[{ pythonversion: "", version: `synapse-ts ${VERSION}`, osversion: Deno.osRelease() }, 1]],
  );
  metrics.gauge(
    { name: "synapse_server_name_info", help: "The server's name", labels: ["server_name"] },
    () => [[{ server_name: serverName }, 1]],
  );
  const federation = federationHooks(metrics, new Set(federationDomains));
  const hooks = {
    ...federation,
    onAnswered: requestHook(metrics),
    onPersist: persistHook(metrics, serverName),
    onPush: pushHook(metrics),
    timed: databaseHook(metrics, clock),
  };
  return { metrics, hooks };
}

function requestHook(metrics: Metrics): MeterHooks["onAnswered"] {
  const labels = ["method", "servlet", "tag"];
  const received = metrics.counter({
    name: "synapse_http_server_requests_received_total",
    help: "Requests",
    labels: ["method", "servlet"],
  });
  const answered = metrics.counter({
    name: "synapse_http_server_response_count_total",
    help: "Answers",
    labels: [...labels, "code"],
  });
  const time = metrics.histogram({
    name: "synapse_http_server_response_time_seconds",
    help: "Time from request to answer, long-polls included",
    labels: [...labels, "code"],
    buckets: REQUEST_BUCKETS,
  });
  return ({ request: { method }, info, response, listener, durationMs }) => {
    // The route, not the path: a path would be a series of its own for each room.
    const servlet = info.route ?? "unknown";
    received.inc({ method, servlet });
    const detailed = { method, servlet, tag: listener, code: String(response.status) };
    answered.inc(detailed);
    time.observe(durationMs / 1_000, detailed);
  };
}

function persistHook(metrics: Metrics, serverName: ServerName): PersistHandler {
  const persisted = metrics.counter({ name: "synapse_storage_events_persisted_events_total", help: "Events written" });
  const separate = metrics.counter({
    name: "synapse_storage_events_persisted_events_sep_total",
    help: "Events written, by type and origin",
    labels: ["type", "origin_type", "origin_entity"],
  });
  const sizes = metrics.histogram({
    name: "synapse_ts_events_per_write",
    help: "Events of a room written together",
    buckets: [1, 2, 5, 10, 20, 50, 100, 500],
  });
  return (tx, batch) => {
    tx.afterCommit(() => {
      persisted.inc({}, batch.events.length);
      if (batch.events.length > 0) sizes.observe(batch.events.length);
      for (const { stored: { event } } of batch.events) {
        const isLocal = serverNameOf(event.sender) === serverName;
        // Only types of the specification: anybody can make up others, and each would be a series.
        const type = event.type.startsWith("m.") && event.type.length <= 50 ? event.type : "other";
        separate.inc({
          type,
          origin_type: isLocal ? "local" : "remote",
          origin_entity: isLocal ? "*client*" : "server",
        });
      }
    });
    return Promise.resolve();
  };
}

function federationHooks(
  metrics: Metrics,
  domains: ReadonlySet<string>,
): Pick<MeterHooks, "onSent" | "onReceived"> {
  const counter = (name: string, help: string) => metrics.counter({ name, help });
  const sent = {
    transactions: counter("synapse_federation_client_sent_transactions_total", "Transactions sent to other servers"),
    pdus: counter("synapse_federation_client_sent_pdu_destinations_total", "Events sent, each time to each server"),
    edus: counter("synapse_federation_client_sent_edus_total", "EDUs sent to other servers"),
  };
  const received = {
    transactions: counter("synapse_ts_federation_received_transactions_total", "Transactions of other servers"),
    pdus: counter("synapse_federation_server_received_pdus_total", "Events received from other servers"),
    edus: counter("synapse_federation_server_received_edus_total", "EDUs received from other servers"),
  };
  const last = lastPduTimes(metrics, domains);
  const add = (kind: "sent" | "received", { server, pdus, edus, lastTs }: ExchangedTransaction) => {
    const counters = kind === "sent" ? sent : received;
    counters.transactions.inc();
    counters.pdus.inc({}, pdus);
    counters.edus.inc({}, edus);
    if (lastTs !== null && domains.has(server)) last[kind].set(server, lastTs / 1_000);
  };
  return { onSent: (done) => add("sent", done), onReceived: (done) => add("received", done) };
}

/** When the last event sent to, or received from, each of the servers in `federation_metrics_domains` was made. */
function lastPduTimes(
  metrics: Metrics,
  domains: ReadonlySet<string>,
): { readonly sent: Map<ServerName, number>; readonly received: Map<ServerName, number> } {
  const last = { sent: new Map<ServerName, number>(), received: new Map<ServerName, number>() };
  if (domains.size === 0) return last;
  const gauge = (
    { name, help, label }: { name: string; help: string; label: string },
    times: Map<ServerName, number>,
  ) =>
    metrics.gauge(
      { name, help, labels: [label] },
      () => [...times].map(([server, time]) => [{ [label]: server }, time]),
    );
  const sent = "The time of the last event sent to a server of federation_metrics_domains";
  gauge({ name: "synapse_federation_last_sent_pdu_time", help: sent, label: "destination_server_name" }, last.sent);
  const received = "The time of the last event received from a server of federation_metrics_domains";
  gauge(
    { name: "synapse_federation_last_received_pdu_time", help: received, label: "origin_server_name" },
    last.received,
  );
  return last;
}

function pushHook(metrics: Metrics): MeterHooks["onPush"] {
  const taken = metrics.counter({ name: "synapse_http_httppusher_http_pushes_processed_total", help: "Pushes taken" });
  const failed = metrics.counter({ name: "synapse_http_httppusher_http_pushes_failed_total", help: "Pushes refused" });
  return (isTaken) => (isTaken ? taken : failed).inc();
}

function databaseHook(metrics: Metrics, clock: Clock): MeterHooks["timed"] {
  const time = metrics.histogram({
    name: "synapse_storage_transaction_time",
    help: "Time of write transactions, from the call to the durable commit",
    labels: ["desc"],
    buckets: TRANSACTION_BUCKETS,
  });
  const failures = metrics.counter({
    name: "synapse_ts_storage_failed_transactions_total",
    help: "Failed transactions",
  });
  return (db) => ({
    dialect: db.dialect,
    all: (query) => db.all(query),
    get: (query) => db.get(query),
    async transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
      const started = clock.monotonic();
      try {
        return await db.transaction(work);
      } catch (error) {
        failures.inc();
        throw error;
      } finally {
        time.observe((clock.monotonic() - started) / 1_000, { desc: "write" });
      }
    },
    [Symbol.asyncDispose]: () => db[Symbol.asyncDispose](),
  });
}
