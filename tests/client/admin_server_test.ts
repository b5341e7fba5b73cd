/** Synapse's admin API: events, tasks, and redacting all that a user said. */
import assert from "node:assert/strict";
import { endOfTask } from "../harness/admin_tasks.ts";
import { insertScheduledTask } from "../../src/storage/scheduled_tasks.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const V1 = "/_synapse/admin/v1";
const event = (id: string) => path`/_synapse/admin/v1/fetch_event/${id}`;
const redact = (userId: string) => path`/_synapse/admin/v1/user/${userId}/redact`;

async function redacted(client: TestClient, target: { roomId: string; eventId: string }): Promise<boolean> {
  const { content } = await client.get(path`/rooms/${target.roomId}/event/${target.eventId}`);
  return content.body === undefined;
}

testEachServer("events, tasks and redactions are for administrators, and asked for well", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const operations: readonly (readonly [string, string])[] = [
    ["GET", event("$event")],
    ["GET", `${V1}/scheduled_tasks`],
    ["POST", redact(alice.userId)],
    ["GET", `${V1}/user/redact_status/x`],
  ];
  for (const [method, target] of operations) {
    const body = method === "POST" ? { body: { rooms: [] } } : {};
    await hs.anyone.fails(method, target, { status: 401, errcode: "M_MISSING_TOKEN", ...body });
    await alice.fails(method, target, { status: 403, errcode: "M_FORBIDDEN", ...body });
  }
  await admin.fails("GET", event("$event"), { status: 404, errcode: "M_NOT_FOUND" });
  await admin.fails("GET", event("event"), { status: 404, errcode: "M_NOT_FOUND" });
  await admin.fails("GET", `${V1}/user/redact_status/x`, { status: 404, errcode: "M_NOT_FOUND" });
  await admin.fails("GET", `${V1}/scheduled_tasks?status=odd`, { status: 400, errcode: "M_INVALID_PARAM" });
  await admin.fails("GET", `${V1}/scheduled_tasks?max_timestamp=x`, { status: 400, errcode: "M_INVALID_PARAM" });
  const target = redact(alice.userId);
  await admin.fails("POST", redact("alice"), { status: 400, errcode: "M_INVALID_PARAM", body: { rooms: [] } });
  await admin.fails("POST", target, { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  await admin.fails("POST", target, { status: 400, errcode: "M_INVALID_PARAM", body: { rooms: ["x"] } });
  for (const wrong of [{ rooms: "x" }, { reason: 1 }, { limit: "1" }, { use_admin: 1 }, { before_ts: "x" }] as Json[]) {
    await admin.fails("POST", target, { status: 400, errcode: "M_BAD_JSON", body: { rooms: [], ...wrong } });
  }
  await admin.fails("POST", target, { status: 400, errcode: "M_UNKNOWN", body: { rooms: [], limit: -1 } });
  assert.deepEqual(await admin.get(`${V1}/scheduled_tasks`), { scheduled_tasks: [] });
  assert.equal(typeof (await hs.anyone.get(`${V1}/server_version`)).server_version, "string");
});

testEachServer("an event is shown as servers exchange it, with what was redacted", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const eventId = await alice.sendText(roomId, "secret");
  await alice.put(path`/rooms/${roomId}/redact/${eventId}/r1`, {});
  const { event: raw } = await admin.get(event(eventId));
  assert.deepEqual([raw.event_id, raw.room_id, raw.content.body], [eventId, roomId, "secret"]);
  assert.ok(Array.isArray(raw.prev_events) && raw.signatures["hs.test"] !== undefined);
  assert.equal(typeof raw.unsigned.age, "number");
});

testEachServer("all that a user said is redacted", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const [one, two] = [
    await alice.createRoom({ preset: "public_chat" }),
    await alice.createRoom({ preset: "public_chat" }),
  ];
  for (const roomId of [one, two]) await bob.join(roomId);
  const said = [await bob.sendText(one, "a"), await bob.sendText(one, "b"), await bob.sendText(two, "c")];
  const kept = await alice.sendText(one, "by alice");
  const status = (id: string) => `${V1}/user/redact_status/${id}`;
  const begun = await admin.post(redact(bob.userId), { rooms: [one], reason: "spam", limit: 1 });
  assert.deepEqual(await endOfTask(admin, status(begun.redact_id)), { status: "complete", failed_redactions: {} });
  const [a = "", b = "", c = ""] = said;
  const of = (roomId: string, eventId: string) => redacted(alice, { roomId, eventId });
  assert.deepEqual([await of(one, a), await of(one, b), await of(two, c)], [false, true, false]);
  const { unsigned } = await alice.get(path`/rooms/${one}/event/${b}`);
  assert.deepEqual([unsigned.redacted_because.sender, unsigned.redacted_because.content.reason], [bob.userId, "spam"]);
  // Later and earlier than all that was said.
  for (const times of [{ after_ts: Date.now() + 60_000 }, { before_ts: 1 }]) {
    const { redact_id: id } = await admin.post(redact(bob.userId), { rooms: [], ...times });
    assert.equal((await endOfTask(admin, status(id))).status, "complete");
  }
  assert.deepEqual([await of(one, a), await of(two, c)], [false, false]);
  // Who was put out of a room cannot send there any more.
  await alice.post(path`/rooms/${two}/ban`, { user_id: bob.userId });
  const all = await admin.post(redact(bob.userId), { rooms: [] });
  const end = await endOfTask(admin, status(all.redact_id));
  assert.equal(end.status, "complete");
  assert.deepEqual(Object.keys(end.failed_redactions).includes(c), true, "nobody could redact it");
  assert.deepEqual([await of(one, a), await of(two, c), await of(one, kept)], [true, false, false]);
  await admin.post(path`/_synapse/admin/v1/rooms/${two}/make_room_admin`);
  await admin.join(two);
  const again = await admin.post(redact(bob.userId), { rooms: [two], use_admin: true });
  assert.deepEqual(await endOfTask(admin, status(again.redact_id)), { status: "complete", failed_redactions: {} });
  assert.equal(await of(two, c), true);

  const { scheduled_tasks: tasks } = await admin.get(`${V1}/scheduled_tasks`, { action_name: "redact_all_events" });
  assert.equal(tasks.length, 5);
  const { timestamp_ms: ts, ...task } = tasks.at(-1);
  assert.equal(typeof ts, "number");
  assert.deepEqual(task, {
    ...{ id: again.redact_id, action: "redact_all_events", status: "complete", resource_id: bob.userId },
    ...{ result: { failed_redactions: {} }, error: null },
  });
  const count = async (query: Json) => (await admin.get(`${V1}/scheduled_tasks`, query)).scheduled_tasks.length;
  assert.equal(await count({ status: "complete" }), 5);
  assert.equal(await count({ job_status: "failed" }), 0);
  assert.equal(await count({ resource_id: alice.userId }), 0);
  assert.equal(await count({ max_timestamp: 1 }), 0);
  assert.equal(await count({ action_name: "purge_history" }), 0);
});

testEachServer("a user is redacted once at a time", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  await alice.createRoom();
  const { db } = hs.parts.core;
  // Due in a year, so that it does not end.
  const task = { id: "later", action: "redact_all_events", changedTs: Date.now() + 31_536_000_000, params: {} };
  await db.transaction(async (tx) => {
    await insertScheduledTask(tx, { ...task, resourceId: alice.userId, isExclusive: true });
  });
  const refused = { status: 400, errcode: "M_UNKNOWN", body: { rooms: [] } };
  const { error } = await admin.fails("POST", redact(alice.userId), refused);
  assert.equal(error, `Redact already in progress for user ${alice.userId}`);
  assert.ok((await admin.post(redact(bob.userId), { rooms: [] })).redact_id);
});
