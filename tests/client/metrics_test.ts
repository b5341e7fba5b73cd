/** What Prometheus collects. Names: Synapse's, where it is the same thing. */
import assert from "node:assert/strict";
import { freePort } from "../harness/ports.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const HTTP = [{ names: ["client", "federation"] }];

/** Returns the value of a series, written as Prometheus writes it. */
function valueOf(text: string, series: string): number | null {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? null : Number(line.slice(series.length + 1));
}

testEachServer("metrics tell of requests, events, transactions and the process", async (database) => {
  const [port, metricsPort] = [freePort(), freePort()];
  const listeners = [
    { port, bind_addresses: ["127.0.0.1"], resources: HTTP },
    { port: metricsPort, type: "metrics", bind_addresses: ["127.0.0.1"] },
  ];
  await using hs = await TestServer.start({
    database,
    config: {
      ...{ enable_metrics: true, metrics_flags: { known_servers: true }, listeners },
      ...{ limit_usage_by_mau: true, max_mau_value: 50, mau_trial_days: 0 },
    },
  });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  for (const body of ["one", "two", "three"]) await alice.sendText(roomId, body);

  const response = await fetch(`http://127.0.0.1:${metricsPort}/_synapse/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  const events = valueOf(text, "synapse_storage_events_persisted_events_total");
  assert.ok(events !== null && events >= 9, `${events}`);
  const messages =
    'synapse_storage_events_persisted_events_sep_total{type="m.room.message",origin_type="local",origin_entity="*client*"}';
  assert.equal(valueOf(text, messages), 3);
  const sends = 'synapse_http_server_requests_received_total{method="PUT",servlet="' +
    '/_matrix/client/v3/rooms/:roomId/send/:eventType/:txnId"}';
  assert.equal(valueOf(text, sends), 3);
  assert.equal(valueOf(text, 'synapse_non_deactivated_user_count{app_service="native"}'), 1);
  assert.equal(valueOf(text, "synapse_federation_known_servers"), 1);
  assert.equal(valueOf(text, "synapse_admin_mau_current"), 1);
  assert.equal(valueOf(text, "synapse_admin_mau_max"), 50);
  const position = valueOf(text, 'synapse_event_persisted_position{instance_name="master"}');
  assert.ok(position !== null && position >= 9, `${position}`);
  assert.ok((valueOf(text, 'synapse_storage_transaction_time_count{desc="write"}') ?? 0) > 5);
  assert.ok((valueOf(text, "process_resident_memory_bytes") ?? 0) > 1e6);
  const [open, max] = [valueOf(text, "process_open_fds"), valueOf(text, "process_max_fds")];
  assert.ok(open !== null && max !== null && open > 5 && open < max, `${open} of ${max}`);
  assert.match(text, /^process_cpu_user_seconds_total \d/m);
  assert.match(text, /^synapse_build_info\{.*version="synapse-ts /m);
  // A room's or a user's id would be a series of its own, and tell who is here.
  assert.ok(!text.includes(roomId) && !text.includes(alice.userId));

  const again = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  assert.equal(again.status, 200);
  await again.body?.cancel();
  const other = await fetch(`http://127.0.0.1:${metricsPort}/_matrix/client/versions`);
  assert.equal(other.status, 404);
  await other.body?.cancel();
  const hidden = await fetch(`http://127.0.0.1:${port}/_synapse/metrics`);
  assert.deepEqual([hidden.status, (await hidden.json()).errcode], [404, "M_UNRECOGNIZED"]);
});

testEachServer("without enable_metrics there are none", async (database) => {
  const [port, metricsPort] = [freePort(), freePort()];
  const listeners = [
    { port, bind_addresses: ["127.0.0.1"], resources: HTTP },
    { port: metricsPort, type: "metrics", bind_addresses: ["127.0.0.1"] },
  ];
  await using _hs = await TestServer.start({ database, config: { listeners } });
  const response = await fetch(`http://127.0.0.1:${metricsPort}/_synapse/metrics`);
  assert.deepEqual([response.status, (await response.json()).errcode], [404, "M_UNRECOGNIZED"]);
});

testEachServer("the dashboard asks for nothing that is not there", async (database) => {
  const metricsPort = freePort();
  const listeners = [
    { port: freePort(), bind_addresses: ["127.0.0.1"], resources: HTTP },
    { port: metricsPort, type: "metrics", bind_addresses: ["127.0.0.1"] },
  ];
  await using _hs = await TestServer.start({ database, config: { enable_metrics: true, listeners } });
  const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  const known = new Set([...(await response.text()).matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name ?? ""));
  const dashboard = await Deno.readTextFile("packaging/grafana/synapse-ts.json");
  const wanted = new Set([...dashboard.matchAll(/\b(?:synapse|process|nodejs)_[a-z0-9_]+/g)].map(([name]) => name));
  assert.ok(wanted.size > 20);
  const missing = [...wanted].filter((name) =>
    !known.has(name) && !known.has(name.replace(/_(bucket|sum|count)$/, ""))
  );
  assert.deepEqual(missing, []);
});
