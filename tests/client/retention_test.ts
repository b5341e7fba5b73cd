/** `retention` and `m.room.retention` (MSC1763). */
import assert from "node:assert/strict";
import { getLogger } from "../../src/lib/log.ts";
import { raw, sql } from "../../src/storage/sql.ts";
import { runPurgeJob } from "../../src/workers/retention.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const HOUR_MS = 3_600_000;
const CONFIG = "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration";

function enabled(retention: Record<string, unknown> = {}): Record<string, unknown> {
  // The test decides when the work is done.
  return { retention: { enabled: true, purge_jobs: [{ interval: "10y" }], ...retention } };
}

async function bodies(client: TestClient, roomId: string): Promise<string[]> {
  const { chunk } = await client.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 100 });
  return chunk.flatMap(({ type, content }: Json) => type === "m.room.message" ? [content.body] : []).reverse();
}

async function isStored(hs: TestServer, eventId: string): Promise<boolean> {
  return await hs.parts.core.db.get(sql`SELECT event_nid FROM events WHERE event_id = ${eventId}`) !== null;
}

/** Does the work that is due, at the time it is. */
async function purge(hs: TestServer): Promise<void> {
  const { core: { db, clock }, rooms, users } = hs.parts;
  const deps = { db, clock, log: getLogger("test"), policies: rooms.retention, purge: users.purgeHistory };
  const job = { shortestMaxLifetime: null, longestMaxLifetime: null };
  await runPurgeJob(deps, { job, signal: new AbortController().signal });
}

/** Counts rows that point at events that are not there. */
async function dangling(hs: TestServer): Promise<Record<string, number>> {
  const { db } = hs.parts.core;
  const columns = [
    ["current_state", "event_nid"],
    ["event_auth", "auth_nid"],
    ["event_auth", "event_nid"],
    ["event_json", "event_nid"],
    ["event_prev", "event_nid"],
    ["event_prev", "prev_nid"],
    ["event_prev_missing", "event_nid"],
    ["event_relations", "event_nid"],
    ["federation_outbox", "event_nid"],
    ["forward_extremities", "event_nid"],
    ["redactions", "redaction_nid"],
    ["search_documents", "event_nid"],
    ["sticky_events", "event_nid"],
  ] as const;
  const found: Record<string, number> = {};
  for (const [table, column] of columns) {
    const row = await db.get<{ n: number }>(sql`
      SELECT COUNT(*) AS n FROM ${raw(table)} AS t
      WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.event_nid = t.${raw(column)})`);
    if (Number(row?.n) > 0) found[`${table}.${column}`] = Number(row?.n);
  }
  return found;
}

testEachServer("messages that are older than their room keeps them are hidden, then deleted", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock, config: enabled() });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Short memory" });
  const forever = await alice.createRoom();
  await alice.sendText(forever, "kept for ever");
  await bob.join(roomId);
  await alice.setState(roomId, { type: "m.room.retention", content: { max_lifetime: 10 * HOUR_MS } });
  const root = await alice.sendText(roomId, "needle one");
  const thread = { "m.relates_to": { rel_type: "m.thread", event_id: root } };
  await bob.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body: "needle two", ...thread } });
  const redacted = await alice.sendText(roomId, "needle three");
  await alice.put(path`/rooms/${roomId}/redact/${redacted}/r1`, {});
  const topic = await alice.setState(roomId, { type: "m.room.topic", content: { topic: "a secret topic" } });
  await alice.put(path`/rooms/${roomId}/redact/${topic}/r2`, {});
  await bob.post(path`/rooms/${roomId}/receipt/m.read/${root}`, {});
  await alice.post("/search", { search_categories: { room_events: { search_term: "needle" } } });
  clock.advance(6 * HOUR_MS);
  const young = await alice.sendText(roomId, "needle four");
  clock.advance(5 * HOUR_MS);
  assert.deepEqual(await bodies(alice, roomId), ["needle four"]);
  await alice.fails("GET", path`/rooms/${roomId}/event/${root}`, { status: 404, errcode: "M_NOT_FOUND" });
  await purge(hs);
  assert.deepEqual([await isStored(hs, root), await isStored(hs, redacted)], [false, false]);
  assert.ok(await isStored(hs, young));
  assert.deepEqual(await dangling(hs), {});

  // The room goes on, for those who are in it and for those who come.
  await hs.restart();
  const [again, other] = [hs.again(alice), hs.again(bob)];
  assert.deepEqual(await bodies(again, roomId), ["needle four"]);
  assert.deepEqual(await bodies(again, forever), ["kept for ever"]);
  assert.deepEqual(await again.state(roomId, { type: "m.room.topic" }), {});
  const { name } = await other.state(roomId, { type: "m.room.name" });
  assert.equal(name, "Short memory");
  await again.sendText(roomId, "needle five");
  const [carol] = await hs.register("carol");
  await carol.join(roomId);
  assert.deepEqual(await bodies(carol, roomId), ["needle four", "needle five"]);
  const { rooms } = await other.sync();
  const shown = rooms.join[roomId].timeline.events.map(({ content }: Json) => content.body);
  assert.ok(shown.includes("needle five") && !shown.includes("needle one"));
  const terms = { search_categories: { room_events: { search_term: "needle" } } };
  const { search_categories: { room_events: results } } = await again.post("/search", terms);
  assert.equal(results.count, 2);
});

testEachServer("the server's policy holds where a room has none, within what is allowed", async (database) => {
  const clock = new FakeClock();
  const config = enabled({
    default_policy: { max_lifetime: "4h" },
    allowed_lifetime_min: "2h",
    allowed_lifetime_max: "8h",
  });
  await using hs = await TestServer.start({ database, clock, config });
  const [alice] = await hs.register("alice");
  const plain = await alice.createRoom();
  const long = await alice.createRoom();
  const short = await alice.createRoom();
  await alice.setState(long, { type: "m.room.retention", content: { max_lifetime: 100 * HOUR_MS } });
  await alice.setState(short, { type: "m.room.retention", content: { max_lifetime: 1 } });
  const rooms = [plain, long, short];
  const first = new Map<string, string>();
  for (const room of rooms) first.set(room, await alice.sendText(room, "first"));
  // The last event of a room always stays.
  for (const room of rooms) await alice.sendText(room, "last");
  const left = async () => {
    const kept: string[] = [];
    for (const room of rooms) if (await isStored(hs, first.get(room) ?? "")) kept.push(room);
    return kept;
  };
  clock.advance(1_000);
  assert.deepEqual(await bodies(alice, short), []);
  await purge(hs);
  assert.deepEqual(await left(), [plain, long, short]);
  for (const kept of [[plain, long], [long], []]) {
    clock.advance(3 * HOUR_MS);
    await purge(hs);
    assert.deepEqual(await left(), kept);
  }
  for (const room of rooms) await alice.sendText(room, "goes on");
  assert.deepEqual(await bodies(alice, plain), ["goes on"]);
});

testEachServer("the jobs run by themselves, each for the rooms it is for", async (database) => {
  const clock = new FakeClock();
  const jobs = [{ interval: "1h", longest_max_lifetime: "1d" }, { interval: "10y", shortest_max_lifetime: "1d" }];
  await using hs = await TestServer.start({ database, clock, config: enabled({ purge_jobs: jobs }) });
  const [alice] = await hs.register("alice");
  const [short, long] = [await alice.createRoom(), await alice.createRoom()];
  await alice.setState(short, { type: "m.room.retention", content: { max_lifetime: 2 * HOUR_MS } });
  await alice.setState(long, { type: "m.room.retention", content: { max_lifetime: 25 * HOUR_MS } });
  const [gone, kept] = [await alice.sendText(short, "first"), await alice.sendText(long, "first")];
  for (const room of [short, long]) await alice.sendText(room, "last");
  clock.advance(26 * HOUR_MS);
  const end = performance.now() + 20_000;
  while (await isStored(hs, gone)) {
    assert.ok(performance.now() < end, "Nothing was deleted");
    clock.advance(HOUR_MS);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.ok(await isStored(hs, kept));
});

testEachServer("nothing is hidden or deleted while retention is off", async (database) => {
  const clock = new FakeClock();
  await using hs = await TestServer.start({ database, clock });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  await alice.setState(roomId, { type: "m.room.retention", content: { max_lifetime: 1 } });
  await alice.sendText(roomId, "old");
  clock.advance(HOUR_MS);
  assert.deepEqual(await bodies(alice, roomId), ["old"]);
  await alice.fails("GET", CONFIG, { status: 404, errcode: "M_UNRECOGNIZED" });
});

testEachServer("policies are shown, and wrong ones refused", async (database) => {
  const config = enabled({ default_policy: { min_lifetime: "1d", max_lifetime: "1y" }, allowed_lifetime_max: "2y" });
  await using hs = await TestServer.start({
    database,
    config: { ...config, experimental_features: { msc1763_enabled: true } },
  });
  const [alice, bob] = await hs.register("alice", "bob");
  const year = 365 * 24 * HOUR_MS;
  assert.deepEqual(await alice.get(CONFIG), {
    policies: { "*": { min_lifetime: 24 * HOUR_MS, max_lifetime: year } },
    limits: { max_lifetime: { max: 2 * year } },
  });
  await hs.anyone.fails("GET", CONFIG, { status: 401, errcode: "M_MISSING_TOKEN" });
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const target = path`/rooms/${roomId}/state/m.room.retention/`;
  for (const body of [{ max_lifetime: "1d" }, { max_lifetime: -1 }, { min_lifetime: 2, max_lifetime: 1 }]) {
    await alice.fails("PUT", target, { body, status: 400, errcode: "M_BAD_JSON" });
  }
  await alice.fails("PUT", path`/rooms/${roomId}/send/m.room.retention/1`, {
    ...{ body: { max_lifetime: 1 }, status: 400, errcode: "M_UNKNOWN" },
  });
  await bob.join(roomId);
  await bob.fails("PUT", target, { body: { max_lifetime: 1 }, status: 403, errcode: "M_FORBIDDEN" });
});
