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
  // Synapse's third job changes events that were signed: not here.
  for (const name of ["anything", "event_resign"]) {
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

testEachServer("a job that is asked for many times at once is begun once", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  await admin.post(`${BASE}/enabled`, { enabled: false });
  const names = ["regenerate_directory", "populate_stats_process_rooms"];
  const asked = [...names, ...names, ...names].map((job_name) =>
    admin.request("POST", `${BASE}/start_job`, { body: { job_name } })
  );
  const statuses = (await Promise.all(asked)).map(({ status }) => status);
  assert.deepEqual(statuses.toSorted(), [200, 200, 400, 400, 400, 400]);
  const listed = (await admin.get("/_synapse/admin/v1/scheduled_tasks")).scheduled_tasks;
  assert.deepEqual(listed.map(({ action }: Json) => action).toSorted(), names.toSorted());
});

testEachServer("the members of rooms are counted anew", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const rooms: string[] = [];
  while (rooms.length < 60) rooms.push(await alice.createRoom({ preset: "public_chat" }));
  const last = rooms.at(-1) ?? "";
  await bob.join(last);
  const { db } = hs.parts.core;
  await db.transaction((tx) => tx.run(sql`UPDATE rooms SET joined_members = 77, invited_members = -3`));
  assert.deepEqual(await admin.post(`${BASE}/start_job`, { job_name: "populate_stats_process_rooms" }), {});
  const query = { action_name: "populate_stats_process_rooms" };
  const [{ id }] = (await admin.get("/_synapse/admin/v1/scheduled_tasks", query)).scheduled_tasks;
  const end = performance.now() + WAIT_MS;
  for (let status = ""; status !== "complete";) {
    const listed: Json[] = (await admin.get("/_synapse/admin/v1/scheduled_tasks", query)).scheduled_tasks;
    status = listed.find((task) => task.id === id)?.status;
    assert.ok(performance.now() < end, "the job does not end");
  }
  const counts = await db.all<{ room_id: string; joined_members: number; invited_members: number }>(sql`
    SELECT room_id, joined_members, invited_members FROM rooms LIMIT 100`);
  assert.deepEqual(
    Object.fromEntries(counts.map((row) => [row.room_id, [row.joined_members, row.invited_members]])),
    Object.fromEntries(rooms.map((roomId) => [roomId, [roomId === last ? 2 : 1, 0]])),
  );
});
