/**
 * Synapse's metrics: each is here too, of the same type and with the same labels, or stands in docs/metrics.md with the
 * reason why not. tests/fixtures/synapse_metrics.tsv is what Synapse 1.163 has: name, type and labels.
 */
import assert from "node:assert/strict";
import { testConfiguredNetwork, type TestNetwork } from "../federation/network.ts";
import { path } from "../harness/client.ts";
import { PushGateway } from "../harness/push_gateway.ts";
import type { TestServer } from "../harness/server.ts";
import { type Family, readExposition } from "./exposition.ts";

const CONFIG = {
  ...{ enable_metrics: true, metrics_flags: { known_servers: true }, mau_stats_only: true, mau_trial_days: 0 },
};
const DEADLINE_MS = 30_000;

type Scrape = ReadonlyMap<string, Family>;

async function scrape(hs: TestServer): Promise<Scrape> {
  const response = await fetch(`${hs.base}/_synapse/metrics`);
  assert.equal(response.status, 200);
  return readExposition(await response.text());
}

/** A name, and labels that its series have among others. */
type Series = readonly [string, Readonly<Record<string, string>>?];

/** Returns the sum of the series that have these labels. */
function valueOf(scraped: Scrape, [name, labels = {}]: Series): number {
  const family = scraped.get(name) ?? scraped.get(name.replace(/_(sum|count)$/, ""));
  assert(family !== undefined, `${name} is not there`);
  return family.samples.filter((sample) => sample.name === name)
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels.get(label) === value))
    .reduce((sum, { value }) => sum + value, 0);
}

/** Scrapes until nothing is left of what is to come. */
async function scrapeUntil(hs: TestServer, leftOf: (scraped: Scrape) => readonly unknown[]): Promise<Scrape> {
  const deadline = performance.now() + DEADLINE_MS;
  while (true) {
    const scraped = await scrape(hs);
    const left = leftOf(scraped);
    if (left.length === 0) return scraped;
    assert(performance.now() < deadline, `What was to move did not: ${JSON.stringify(left)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What people do: two servers, a room, messages both ways, sync, presence, a push, wrong passwords. */
async function makeTraffic({ servers: [one, two] }: TestNetwork): Promise<{ roomId: string; userIds: string[] }> {
  await using gateway = new PushGateway();
  const [alice, anna] = await one.hs.register("alice", "anna");
  const [bob] = await two.hs.register("bob");
  await one.hs.logIn("alice");
  const pusher = { kind: "http", app_id: "org.example.app", pushkey: "key", lang: "en" };
  const names = { app_display_name: "App", device_display_name: "Phone" };
  await anna.post("/pushers/set", { ...pusher, ...names, data: { url: gateway.url } });
  const roomId = await alice.createRoom({ preset: "public_chat", invite: [bob.userId] });
  await anna.join(roomId);
  await bob.post(`/join/${encodeURIComponent(roomId)}?server_name=${one.name}`);
  await alice.put(path`/presence/${alice.userId}/status`, { presence: "online", status_msg: "here" });
  await alice.sendText(roomId, "hello anna");
  await gateway.find(() => true);
  const { next_batch: since } = await anna.sync() as { next_batch: string };
  const waiting = anna.sync({ since, timeout: 20_000 });
  await bob.sendText(roomId, "hello from elsewhere");
  await waiting;
  await alice.syncUntil((body) => JSON.stringify(body).includes("hello from elsewhere"));
  await bob.syncUntil((body) => JSON.stringify(body).includes("hello anna"));
  await alice.post("/keys/claim", { one_time_keys: { [bob.userId]: { PHONE: "signed_curve25519" } } });
  await bob.get(path`/profile/${alice.userId}`);
  const list = { ranges: [[0, 9]], timeline_limit: 1, required_state: [] };
  await alice.ok("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", {
    body: { lists: { all: list } },
  });
  return { roomId, userIds: [alice.userId, anna.userId, bob.userId] };
}

/** Values that must have moved, each with its labels. */
const MOVED: readonly Series[] = [
  ["synapse_http_server_requests_received_total", { method: "POST", servlet: "/_matrix/client/v3/createRoom" }],
  ["synapse_http_server_response_count_total", { servlet: "/_matrix/client/v3/createRoom" }],
  ["synapse_http_server_responses_total", { method: "PUT", code: "200" }],
  ["synapse_http_server_response_time_seconds_count", { servlet: "/_matrix/client/v3/createRoom", code: "200" }],
  ["synapse_http_server_response_db_txn_count_total", { servlet: "/_matrix/client/v3/createRoom" }],
  ["synapse_http_server_response_db_txn_duration_seconds_total", { servlet: "/_matrix/client/v3/createRoom" }],
  ["synapse_http_server_in_flight_requests_count", { servlet: "/_synapse/metrics" }],
  ["synapse_http_matrixfederationclient_requests_total", { method: "PUT" }],
  ["synapse_http_matrixfederationclient_responses_total", { method: "PUT", code: "200" }],
  ["synapse_http_client_requests_total", { method: "POST" }],
  ["synapse_http_client_responses_total", { method: "POST", code: "200" }],
  ["synapse_http_httppusher_http_pushes_processed_total"],
  ["synapse_pushers", { kind: "HttpPusher", app_id: "org.example.app" }],
  ["synapse_storage_events_persisted_events_total"],
  ["synapse_storage_events_persisted_events_sep_total", { type: "m.room.message", origin_type: "local" }],
  ["synapse_storage_events_persisted_events_sep_total", { type: "m.room.message", origin_type: "remote" }],
  ["synapse_storage_events_state_delta_total"],
  ["synapse_storage_events_forward_extremities_persisted_count"],
  ["synapse_forward_extremities_gcount"],
  ["synapse_event_persisted_position"],
  ["synapse_event_processing_positions", { name: "pusher_pool" }],
  ["synapse_storage_transaction_time_count_total", { desc: "write" }],
  ["synapse_storage_transaction_time_sum_total", { desc: "read_users" }],
  ["synapse_storage_schedule_time_count"],
  ["synapse_storage_stream_current_position", { stream_name: "events" }],
  ["synapse_util_caches_cache", { name: "events" }],
  ["synapse_util_caches_cache_hits", { name: "events" }],
  ["synapse_util_caches_cache_size", { name: "events" }],
  ["synapse_util_caches_cache_max_size", { name: "events" }],
  ["synapse_util_metrics_block_count_total", { block_name: "sync" }],
  ["synapse_util_metrics_block_db_txn_count_total", { block_name: "sync" }],
  ["synapse_util_metrics_block_time_seconds_total", { block_name: "action_for_event_by_user" }],
  ["synapse_background_process_start_count_total", { name: "federation_transmission" }],
  ["synapse_background_process_db_txn_count_total", { name: "federation_transmission" }],
  ["synapse_federation_client_sent_transactions_total"],
  ["synapse_federation_client_sent_edus_total"],
  ["synapse_federation_client_sent_edus_by_type_total", { type: "m.presence" }],
  ["synapse_federation_client_sent_pdu_destinations_count_total"],
  ["synapse_federation_client_sent_pdu_destinations_total"],
  ["synapse_federation_client_sent_queries_total", { type: "client_one_time_keys" }],
  ["synapse_federation_server_received_pdus_total"],
  ["synapse_federation_server_received_queries_total", { type: "profile" }],
  ["synapse_federation_server_pdu_process_time_count"],
  ["synapse_federation_known_servers"],
  ["synapse_rate_limit_queue_wait_time_seconds_count", { rate_limiter_name: "federation_servlets" }],
  ["synapse_handler_presence_presence_updates_total"],
  ["synapse_handler_presence_notified_presence_total"],
  ["synapse_handler_presence_federation_presence_out_total"],
  ["synapse_handler_presence_get_updates_total", { type: "full" }],
  ["synapse_handler_presence_notify_reason_total", { locality: "local", reason: "state_change" }],
  ["synapse_handler_presence_state_transition_total", { locality: "local", from: "offline", to: "online" }],
  ["synapse_handlers_presence_user_to_current_state_size"],
  ["synapse_handlers_sync_nonempty_total", { type: "sync_v2:initial_sync", lazy_loaded: "false" }],
  ["synapse_sliding_sync_processing_time_count", { initial: "True" }],
  ["synapse_notifier_notified_events_total"],
  ["synapse_notifier_users_woken_by_stream_total", { stream: "events" }],
  ["synapse_non_deactivated_user_count", { app_service: "native" }],
  ["synapse_user_registrations_total", { guest: "False", shadow_banned: "False" }],
  ["synapse_user_logins_total", { guest: "False" }],
  ["synapse_admin_mau_current"],
  ["synapse_admin_mau_current_mau_by_service", { app_service: "native" }],
  ["synapse_background_update_status", { database_name: "master" }],
  ["process_resident_memory_bytes"],
  ["process_cpu_user_seconds_total"],
  ["process_open_fds"],
];

const QUEUES = [
  "synapse_federation_transaction_queue_pending_pdus",
  "synapse_federation_transaction_queue_pending_destinations",
  "synapse_federation_server_number_inbound_pdu_in_staging",
  "synapse_ts_storage_waiting_transactions",
  "synapse_ts_room_queue_waiting",
];

/** Names that a sample must not hold: each would be a series of its own, and tell who is here. */
function assertNobodyNamed(scraped: Scrape, names: readonly string[]): void {
  for (const { samples } of scraped.values()) {
    for (const { name, labels } of samples) {
      for (const [label, value] of labels) {
        if (label === "server_name") continue;
        for (const secret of names) assert(!value.includes(secret), `${name} has ${label}="${value}"`);
      }
    }
  }
}

interface SynapseMetric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
}

function readSynapseMetrics(): SynapseMetric[] {
  return Deno.readTextFileSync("tests/fixtures/synapse_metrics.tsv").trimEnd().split("\n").map((line) => {
    const [name = "", type = "", labels = ""] = line.split("\t");
    return { name, type, labels: labels === "" ? [] : labels.split(",") };
  });
}

/** Returns the rows of a section's table in the documentation. */
function readTable(title: string): string[][] {
  const text = Deno.readTextFileSync("docs/metrics.md");
  const section = text.split(/^## /m).find((part) => part.startsWith(title));
  assert(section !== undefined, `There is no section "${title}"`);
  return section.split("\n").filter((line) => line.startsWith("| ")).slice(2)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

const namesIn = (cell: string) => [...cell.matchAll(/`([a-zA-Z_:0-9]+)`/g)].map(([, name]) => name ?? "");

/** Those whose type differs from Synapse's, which calls what only grows a gauge. */
const OTHER_TYPE: ReadonlySet<string> = new Set(["process_cpu_user_seconds_total", "process_cpu_system_seconds_total"]);

function assertLikeSynapse(scraped: Scrape): void {
  const absent = readTable("What Synapse has and this server does not");
  for (const [names, reason] of absent) assert(namesIn(names ?? "").length > 0 && (reason ?? "").length > 10, names);
  const explained = absent.flatMap(([names = ""]) => namesIn(names));
  assert.equal(new Set(explained).size, explained.length, "A name is explained twice");
  const known = readSynapseMetrics();
  assert(known.length > 200);
  const missing = known.filter(({ name }) => !scraped.has(name) && !explained.includes(name));
  assert.deepEqual(missing, [], "neither measured nor explained");
  assert.deepEqual(explained.filter((name) => scraped.has(name)), [], "explained, but measured");
  const ofSynapse = new Set(known.map(({ name }) => name));
  assert.deepEqual(explained.filter((name) => !ofSynapse.has(name)), [], "explained, but unknown to Synapse");
  for (const { name, type, labels } of known) {
    const family = scraped.get(name);
    if (family === undefined) continue;
    if (!OTHER_TYPE.has(name)) assert.equal(family.type, type, name);
    for (const sample of family.samples) {
      const own = [...sample.labels.keys()].filter((label) => label !== "le").sort();
      assert.deepEqual(own, [...labels].sort(), name);
    }
  }
}

function assertDocumented(scraped: Scrape): void {
  const documented = readTable("What is measured").map(([name = "", type = "", help = ""]) => {
    return [namesIn(name)[0] ?? "", type, help].join(" | ");
  });
  const found = [...scraped.values()].filter(({ name }) => !name.startsWith("nodejs_"))
    .map(({ name, type, help }) => [name, type, help].join(" | ")).sort();
  assert.deepEqual(documented, found);
}

testConfiguredNetwork({ name: "Synapse's metrics are here, and move", config: CONFIG }, async (network) => {
  const { servers: [one] } = network;
  const { roomId, userIds } = await makeTraffic(network);
  const after = await scrapeUntil(
    one.hs,
    (scraped) => MOVED.filter((series) => valueOf(scraped, series) <= 0),
  );
  assertLikeSynapse(after);
  assertDocumented(after);
  assertNobodyNamed(after, [roomId, ...userIds, ...network.servers.map(({ name }) => name), "alice", "anna"]);
  assert.equal(valueOf(after, ["synapse_user_registrations_total"]), 2);
  assert.equal(valueOf(after, ["synapse_user_logins_total"]), 3);
  assert.equal(valueOf(after, ["synapse_non_deactivated_user_count"]), 2);
  assert.equal(valueOf(after, ["synapse_federation_known_servers"]), 2);
  // Nothing is left waiting once all has come.
  const quiet = await scrapeUntil(one.hs, (scraped) => QUEUES.filter((name) => valueOf(scraped, [name]) > 0));
  assert.equal(valueOf(quiet, ["synapse_http_server_in_flight_requests_count", { method: "PUT" }]), 0);
});
