/** Synapse's admin API: other servers. */
import assert from "node:assert/strict";
import { sql } from "../../src/storage/sql.ts";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";
import { testNetwork } from "./network.ts";

const BASE = "/_synapse/admin/v1/federation/destinations";
const of = (name: string) => path`/_synapse/admin/v1/federation/destinations/${name}`;

testEachServer("other servers are listed for administrators, who ask well", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const operations: readonly (readonly [string, string])[] = [
    ["GET", BASE],
    ["GET", of("other.test")],
    ["GET", `${of("other.test")}/rooms`],
    ["POST", `${of("other.test")}/reset_connection`],
  ];
  for (const [method, target] of operations) {
    await hs.anyone.fails(method, target, { status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails(method, target, { status: 403, errcode: "M_FORBIDDEN" });
    if (target !== BASE) await admin.fails(method, target, { status: 404, errcode: "M_NOT_FOUND" });
  }
  for (const query of [{ order_by: "age" }, { dir: "x" }, { from: -1 }, { limit: "x" }] as Json[]) {
    await admin.fails("GET", BASE, { query, status: 400, errcode: "M_INVALID_PARAM" });
  }
  assert.deepEqual(await admin.get(BASE), { destinations: [], total: 0 });
  const { db } = hs.parts.core;
  for (const [name, failing, last, interval] of [["a.test", 5, 30, 7], ["B.test", null, 0, 0], ["c.test", 9, 20, 8]]) {
    await db.transaction((tx) =>
      tx.run(sql`
        INSERT INTO destinations (destination, failing_since_ts, last_failure_ts, retry_interval_ms)
        VALUES (${name ?? ""}, ${failing ?? null}, ${last ?? 0}, ${interval ?? 0})`)
    );
  }
  const names = async (query: Json) =>
    (await admin.get(BASE, query)).destinations.map(({ destination }: Json) => destination);
  assert.deepEqual(await names({ order_by: "failure_ts" }), ["B.test", "a.test", "c.test"]);
  assert.deepEqual(await names({ order_by: "retry_last_ts", dir: "b" }), ["a.test", "c.test", "B.test"]);
  assert.deepEqual(await names({ order_by: "retry_interval" }), ["B.test", "a.test", "c.test"]);
  assert.deepEqual((await names({})).length, 3);
  assert.deepEqual(await names({ destination: "b.TEST" }), ["B.test"]);
  const page = await admin.get(BASE, { limit: 1, from: 1 });
  assert.deepEqual([page.total, page.destinations.length, page.next_token], [3, 1, "2"]);
  const working = { destination: "B.test", retry_last_ts: 0, retry_interval: 0, failure_ts: null };
  assert.deepEqual(await admin.get(of("B.test")), { ...working, last_successful_stream_ordering: null });
  const { error } = await admin.fails("POST", `${of("B.test")}/reset_connection`, {
    status: 400,
    errcode: "M_UNKNOWN",
  });
  assert.equal(error, "The retry timing does not need to be reset for this destination.");
  assert.deepEqual(await admin.get(of("a.test")), {
    ...{ destination: "a.test", retry_last_ts: 30, retry_interval: 7, failure_ts: 5 },
    last_successful_stream_ordering: null,
  });
  assert.deepEqual(await admin.post(`${of("a.test")}/reset_connection`), {});
  assert.equal((await admin.get(of("a.test"))).failure_ts, null);
  assert.deepEqual(await admin.get(`${of("a.test")}/rooms`), { rooms: [], total: 0 });
});

testNetwork("another server is shown with the rooms it is in", async ({ servers: [one, two] }) => {
  const admin = await one.hs.registerAdmin("admin");
  const [alice] = await one.hs.register("alice");
  const [bob] = await two.hs.register("bob");
  const rooms = [await alice.createRoom({ preset: "public_chat" }), await alice.createRoom({ preset: "public_chat" })];
  for (const roomId of rooms) await bob.ok("POST", path`/join/${roomId}`, { body: {}, query: { via: one.name } });
  rooms.sort();
  const found = await admin.get(of(two.name));
  assert.deepEqual([found.destination, found.failure_ts], [two.name, null]);
  assert.equal(typeof found.last_successful_stream_ordering, "number");
  const list = await admin.get(`${of(two.name)}/rooms`);
  assert.deepEqual(list.rooms.map(({ room_id: id }: Json) => id), rooms);
  assert.ok(list.rooms.every(({ stream_ordering: position }: Json) => position > 0));
  assert.equal(list.total, 2);
  const page = await admin.get(`${of(two.name)}/rooms`, { limit: 1, dir: "b" });
  assert.deepEqual([page.rooms[0].room_id, page.total, page.next_token], [rooms[1], 2, "1"]);
});
