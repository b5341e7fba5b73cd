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
  const of = (name: string) => valueOf(text, `${name}{server_name="hs.test"}`);
  const events = of("synapse_storage_events_persisted_events_total");
  assert.ok(events !== null && events >= 9, `${events}`);
  const messages =
    'synapse_storage_events_persisted_events_sep_total{type="m.room.message",origin_type="local",server_name="hs.test"}';
  assert.equal(valueOf(text, messages), 3);
  const sends = 'synapse_http_server_requests_received_total{method="PUT",servlet="' +
    '/_matrix/client/v3/rooms/:roomId/send/:eventType/:txnId",server_name="hs.test"}';
  assert.equal(valueOf(text, sends), 3);
  assert.equal(valueOf(text, 'synapse_non_deactivated_user_count{app_service="native",server_name="hs.test"}'), 1);
  assert.equal(of("synapse_federation_known_servers"), 1);
  assert.equal(of("synapse_admin_mau_current"), 1);
  assert.equal(of("synapse_admin_mau_max"), 50);
  const position = of("synapse_event_persisted_position");
  assert.ok(position !== null && position >= 9, `${position}`);
  const writes = 'synapse_storage_transaction_time_count_total{desc="write",server_name="hs.test"}';
  assert.ok((valueOf(text, writes) ?? 0) > 5);
  assert.ok((valueOf(text, "process_resident_memory_bytes") ?? 0) > 1e6);
  const [open, max] = [valueOf(text, "process_open_fds"), valueOf(text, "process_max_fds")];
  assert.ok(open !== null && max !== null && open > 5 && open < max, `${open} of ${max}`);
  assert.match(text, /^process_cpu_user_seconds_total \d/m);
  assert.match(text, /^synapse_build_info\{.*version="synapse-ts /m);
  // A room's or a user's id would be a series of its own, and tell who is here.
  assert.ok(!text.includes(roomId) && !text.includes(alice.userId));

  // As of Synapse's, whatever the path: but there is nothing else to be had.
  for (const path of ["/metrics", "/", "/_matrix/client/versions"]) {
    const again = await fetch(`http://127.0.0.1:${metricsPort}${path}`);
    assert.equal(again.status, 200);
    assert.match(await again.text(), /^# HELP synapse_build_info /m);
  }
  const posted = await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { method: "POST", body: "{}" });
  assert.deepEqual([posted.status, posted.headers.get("allow")], [405, "GET, HEAD"]);
  await posted.body?.cancel();
  const hidden = await fetch(`http://127.0.0.1:${port}/_synapse/metrics`);
  assert.deepEqual([hidden.status, (await hidden.json()).errcode], [404, "M_UNRECOGNIZED"]);
});

testEachServer("without enable_metrics there are none", async (database) => {
  const [port, metricsPort, besidePort] = [freePort(), freePort(), freePort()];
  const listeners = [
    { port, bind_addresses: ["127.0.0.1"], resources: HTTP },
    { port: metricsPort, type: "metrics", bind_addresses: ["127.0.0.1"] },
    { port: besidePort, bind_addresses: ["127.0.0.1"], resources: [{ names: ["metrics"] }] },
  ];
  await using hs = await TestServer.start({ database, config: { listeners } });
  // Synapse does not open such a port either.
  await assert.rejects(fetch(`http://127.0.0.1:${metricsPort}/_synapse/metrics`));
  const response = await fetch(`http://127.0.0.1:${besidePort}/_synapse/metrics`);
  assert.deepEqual([response.status, (await response.json()).errcode], [404, "M_UNRECOGNIZED"]);
  await hs.restart({ enable_metrics: true });
  const served = await fetch(`http://127.0.0.1:${besidePort}/_synapse/metrics`);
  assert.equal(served.status, 200);
  assert.match(await served.text(), /^# TYPE synapse_build_info gauge$/m);
  const health = await fetch(`http://127.0.0.1:${besidePort}/health`);
  assert.deepEqual([health.status, await health.text()], [200, "OK"]);
  for (const path of ["/metrics", "/_matrix/client/versions"]) {
    const other = await fetch(`http://127.0.0.1:${besidePort}${path}`);
    assert.equal(other.status, 404);
    await other.body?.cancel();
  }
});

const PACKAGED = [
  "packaging/grafana/synapse-ts.json",
  "packaging/prometheus/synapse-ts-recording.yaml",
  "packaging/prometheus/synapse-ts-alerts.yaml",
];

/** Returns the names of metrics and of recorded rules in a text. */
function namesIn(text: string): Set<string> {
  return new Set([...text.matchAll(/\b(?:synapse|process|nodejs)_[a-z0-9_]+(?::[a-z0-9_]+)*/g)].map(([name]) => name));
}

testEachServer("the dashboard and the rules ask for nothing that is not there", async (database) => {
  const metricsPort = freePort();
  const listeners = [
    { port: freePort(), bind_addresses: ["127.0.0.1"], resources: HTTP },
    { port: metricsPort, type: "metrics", bind_addresses: ["127.0.0.1"] },
  ];
  await using _hs = await TestServer.start({ database, config: { enable_metrics: true, listeners } });
  const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  const types = [...(await response.text()).matchAll(/^# TYPE (\S+) (\S+)/gm)];
  const known = new Set(types.flatMap(([, name = "", type]) => {
    return type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
  }));
  const texts = await Promise.all(PACKAGED.map((path) => Deno.readTextFile(path)));
  for (const text of texts) {
    for (const [, recorded = ""] of text.matchAll(/^\s+- record: (\S+)$/gm)) known.add(recorded);
  }
  const wanted = texts.map(namesIn);
  assert.ok(
    wanted.every((names) => names.size > 8) && (wanted[0]?.size ?? 0) > 70,
    wanted.map(({ size }) => size).join(),
  );
  const missing = wanted.flatMap((names) => [...names].filter((name) => !known.has(name)));
  assert.deepEqual(missing, []);
});
