/** Synapse's admin API: work on the whole database. */
import assert from "node:assert/strict";
import { sql } from "../../src/storage/sql.ts";
import type { Json, TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const BASE = "/_synapse/admin/v1/background_updates";
const WAIT_MS = 30_000;

async function found(client: TestClient, term: string): Promise<string[]> {
  const { results } = await client.post("/user_directory/search", { search_term: term });
  return results.map(({ user_id: userId }: Json) => userId);
}

async function tasks(admin: TestClient): Promise<Json[]> {
  const query = { action_name: "regenerate_directory" };
  return (await admin.get("/_synapse/admin/v1/scheduled_tasks", query)).scheduled_tasks;
}

testEachServer("background updates are for administrators, and asked for well", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  for (const [method, part] of [["GET", "enabled"], ["POST", "enabled"], ["GET", "status"], ["POST", "start_job"]]) {
    const target = `${BASE}/${part}`;
    const body = method === "POST" ? { body: {} } : {};
    await hs.anyone.fails(method ?? "", target, { status: 401, errcode: "M_MISSING_TOKEN", ...body });
    await alice.fails(method ?? "", target, { status: 403, errcode: "M_FORBIDDEN", ...body });
  }
  await admin.fails("POST", `${BASE}/enabled`, { status: 400, errcode: "M_UNKNOWN", body: { enabled: "no" } });
  await admin.fails("POST", `${BASE}/enabled`, { status: 400, errcode: "M_NOT_JSON", body: "{" });
  await admin.fails("POST", `${BASE}/start_job`, { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  await admin.fails("POST", `${BASE}/start_job`, { status: 400, errcode: "M_BAD_JSON", body: { job_name: 1 } });
  // Counts of rooms are not kept apart here.
  for (const name of ["anything", "populate_stats_process_rooms"]) {
    const unknown = { status: 400, errcode: "M_UNKNOWN", body: { job_name: name } };
    assert.equal((await admin.fails("POST", `${BASE}/start_job`, unknown)).error, "Invalid job_name");
  }
  assert.deepEqual(await admin.get(`${BASE}/status`), { enabled: true, current_updates: {} });
});

testEachServer("the user directory is made anew, and that can be held up", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  assert.deepEqual(await found(alice, "bob"), [bob.userId]);
  const { db } = hs.parts.core;
  await db.transaction(async (tx) => {
    for (const table of [sql`user_directory_words`, sql`user_directory`, sql`open_rooms`]) {
      await tx.run(sql`DELETE FROM ${table}`);
    }
    await tx.run(sql`INSERT INTO user_directory (user_id) VALUES ('@nobody:hs.test')`);
    await tx.run(sql`INSERT INTO user_directory_words (word, user_id) VALUES ('nobody', '@nobody:hs.test')`);
  });
  assert.deepEqual(await found(alice, "bob"), []);
  assert.deepEqual(await admin.post(`${BASE}/enabled`, { enabled: false }), { enabled: false });
  assert.deepEqual(await admin.get(`${BASE}/enabled`), { enabled: false });
  assert.deepEqual(await admin.post(`${BASE}/start_job`, { job_name: "regenerate_directory" }), {});
  const twice = { status: 400, errcode: "M_UNKNOWN", body: { job_name: "regenerate_directory" } };
  const { error } = await admin.fails("POST", `${BASE}/start_job`, twice);
  assert.equal(error, "Job regenerate_directory is already in queue of background updates.");
  const end = performance.now() + WAIT_MS;
  let status: Json = null;
  do {
    status = await admin.get(`${BASE}/status`);
    assert.ok(performance.now() < end, "the job does not begin");
  } while (status.current_updates.master === undefined);
  assert.deepEqual(status, {
    enabled: false,
    current_updates: {
      master: { name: "regenerate_directory", total_item_count: 0, total_duration_ms: 0, average_items_per_ms: null },
    },
  });
  assert.deepEqual(await found(alice, "bob"), [], "it is held up");
  assert.deepEqual(await admin.post(`${BASE}/enabled`), { enabled: true });
  while ((await tasks(admin))[0]?.status !== "complete") assert.ok(performance.now() < end, "the job does not end");
  assert.deepEqual(await found(alice, "bob"), [bob.userId]);
  assert.equal((await db.all(sql`SELECT user_id FROM user_directory WHERE user_id = '@nobody:hs.test'`)).length, 0);
  assert.equal((await db.all(sql`SELECT room_nid FROM open_rooms LIMIT 5`)).length, 1);
  assert.deepEqual(await admin.get(`${BASE}/status`), { enabled: true, current_updates: {} });
  assert.deepEqual(await admin.post(`${BASE}/start_job`, { job_name: "regenerate_directory" }), {});
});
