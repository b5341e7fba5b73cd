/** Other servers: what is asked of them and by them, and what waits. */
import type { Metrics } from "../../lib/metrics.ts";
import { countOtherServers } from "../../storage/federation_rooms.ts";
import type { Parts } from "../parts.ts";
import { remembered } from "./remembered.ts";
import { addTally } from "./tallies.ts";

/** Counting all servers takes a while. */
const SERVERS_LIFETIME_MS = 60_000;
/** Synapse has several limiters by name; this is the one that it has for requests of servers. */
const LIMITER = { rate_limiter_name: "federation_servlets" };

/** Adds the metrics. */
export function addFederationMetrics(metrics: Metrics, parts: Parts): void {
  addClient(metrics, parts);
  addSending(metrics, parts);
  addReceiving(metrics, parts);
  addLimits(metrics, parts);
  const { core: { db, clock, config } } = parts;
  if (!config.metrics.metricsFlags.knownServers) return;
  const servers = remembered(clock, { forMs: SERVERS_LIFETIME_MS, read: () => countOtherServers(db) });
  metrics.gauge(
    { name: "synapse_federation_known_servers", help: "Servers in all rooms, this one included" },
    async () => await servers() + 1,
  );
}

function addClient(metrics: Metrics, { federation: { client } }: Parts): void {
  const requests = "synapse_http_matrixfederationclient_";
  addTally(metrics, {
    name: `${requests}requests_total`,
    help: "Requests to other servers, every try",
    tally: client.requests,
  });
  addTally(metrics, { name: `${requests}responses_total`, help: "Their answers", tally: client.responses });
  addTally(metrics, {
    name: "synapse_federation_client_sent_queries_total",
    help: "Questions to other servers about users, devices and aliases",
    tally: client.queries,
  });
  metrics.spread(
    { name: "synapse_ts_federation_client_response_time_seconds", help: "Time until other servers answer" },
    () => client.times,
  );
}

function addSending(metrics: Metrics, { exchange: { sender }, rooms: { outbox } }: Parts): void {
  const destinations = "synapse_federation_client_sent_pdu_destinations";
  metrics.counted(
    { name: `${destinations}_count_total`, help: "Events for other servers" },
    () => outbox.counts.pdus,
  );
  metrics.counted(
    { name: `${destinations}_total`, help: "Events for other servers, each time for each server" },
    () => outbox.counts.destinations,
  );
  const queue = "synapse_federation_transaction_queue_pending_";
  metrics.gauge(
    { name: `${queue}destinations`, help: "Servers that are being sent to" },
    () => sender.activeServers,
  );
  metrics.gauge(
    { name: `${queue}pdus`, help: "Events that servers which are being sent to have not taken yet" },
    () => sender.pendingPdus,
  );
  metrics.gauge(
    { name: `${queue}edus`, help: "Typing, receipts and presence that have not been taken yet" },
    () => sender.pendingEdus,
  );
  metrics.gauge(
    { name: "synapse_ts_federation_waiting_destinations", help: "Servers that are owed something and left alone" },
    () => sender.waitingServers,
  );
}

function addReceiving(metrics: Metrics, { exchange: { inbox }, federationRooms: { queries } }: Parts): void {
  addTally(metrics, {
    name: "synapse_federation_server_received_queries_total",
    help: "Questions of other servers about profiles and aliases",
    tally: queries.received,
  });
  metrics.spread(
    {
      name: "synapse_federation_server_pdu_process_time",
      help: "Seconds from the coming of an event to its being stored or refused",
    },
    () => inbox.times,
  );
  metrics.gauge(
    { name: "synapse_federation_server_number_inbound_pdu_in_staging", help: "Events that have come and are not done" },
    () => inbox.staging.pdus,
  );
  metrics.gauge(
    {
      name: "synapse_federation_server_oldest_inbound_pdu_in_staging",
      help: "For how many milliseconds the oldest of them has waited",
    },
    () => inbox.staging.oldestMs,
  );
}

function addLimits(metrics: Metrics, { federation: { limits } }: Parts): void {
  const labels = Object.keys(LIMITER);
  const name = "synapse_rate_limit_";
  metrics.counted(
    { name: `${name}sleep_total`, help: "Requests of servers that were delayed", labels },
    () => [[LIMITER, limits.counts.slept]],
  );
  metrics.counted(
    { name: `${name}reject_total`, help: "Requests of servers that were refused", labels },
    () => [[LIMITER, limits.counts.rejected]],
  );
  metrics.gauge(
    { name: `${name}sleep_affected_hosts`, help: "Servers whose requests are being delayed", labels },
    () => [[LIMITER, limits.affected.slept]],
  );
  metrics.gauge(
    { name: `${name}reject_affected_hosts`, help: "Servers whose requests are being refused", labels },
    () => [[LIMITER, limits.affected.rejected]],
  );
  metrics.spread(
    { name: `${name}queue_wait_time_seconds`, help: "How long requests of servers waited for their turn", labels },
    () => [[LIMITER, limits.waits]],
  );
}
