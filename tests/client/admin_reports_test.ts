/** Synapse's admin API: reports of events and of users. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const V1 = "/_synapse/admin/v1";

testEachServer("reports are for administrators, and asked for well", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  for (const kind of ["event_reports", "user_reports"]) {
    for (const [method, target] of [["GET", ""], ["GET", "/1"], ["DELETE", "/1"]] as const) {
      await hs.anyone.fails(method, `${V1}/${kind}${target}`, { status: 401, errcode: "M_MISSING_TOKEN" });
      await alice.fails(method, `${V1}/${kind}${target}`, { status: 403, errcode: "M_FORBIDDEN" });
    }
    const invalid = { status: 400, errcode: "M_INVALID_PARAM" };
    for (const id of ["-1", "one", "1.5", "1".repeat(30)]) {
      const { error } = await admin.fails("GET", `${V1}/${kind}/${id}`, invalid);
      assert.equal(error, "The report_id parameter must be a string representing a positive integer.");
      await admin.fails("DELETE", `${V1}/${kind}/${id}`, invalid);
    }
    for (const query of [{ from: -1 }, { limit: -1 }, { from: "x" }, { dir: "up" }] as Json[]) {
      await admin.fails("GET", `${V1}/${kind}`, { ...invalid, query });
    }
    await admin.fails("GET", `${V1}/${kind}/77`, { status: 404, errcode: "M_NOT_FOUND" });
    await admin.fails("DELETE", `${V1}/${kind}/77`, { status: 404, errcode: "M_NOT_FOUND" });
    assert.deepEqual(await admin.get(`${V1}/${kind}`), { [kind]: [], total: 0 });
  }
});

testEachServer("reports of events are listed, shown and removed", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Talk", room_alias_name: "talk" });
  const other = await alice.createRoom({ preset: "public_chat" });
  for (const user of [bob, carol]) for (const id of [roomId, other]) await user.join(id);
  const bad = await alice.sendText(roomId, "bad");
  const worse = await bob.sendText(other, "worse");
  await bob.post(path`/rooms/${roomId}/report/${bad}`, { reason: "rude", score: -50 });
  await carol.post(path`/rooms/${other}/report/${worse}`, {});
  await carol.post(path`/rooms/${roomId}/report/${bad}`, { reason: "again" });
  // Reports of rooms and users are not among them.
  await carol.post(path`/rooms/${roomId}/report`, { reason: "the room" });
  await carol.post(path`/users/${bob.userId}/report`, { reason: "the user" });
  const list = async (query: Json = {}) => await admin.get(`${V1}/event_reports`, query);
  const ids = async (query: Json) => (await list(query)).event_reports.map(({ id }: Json) => id);
  const all = await list();
  assert.deepEqual(Object.keys(all).sort(), ["event_reports", "total"]);
  assert.equal(all.total, 3);
  const [again, second, first] = all.event_reports;
  const { received_ts: receivedTs, ...shown } = first;
  assert.ok(Math.abs(receivedTs - Date.now()) < 600_000);
  assert.deepEqual(shown, {
    ...{ id: first.id, room_id: roomId, event_id: bad, user_id: bob.userId, score: -50, reason: "rude" },
    ...{ sender: alice.userId, canonical_alias: "#talk:hs.test", name: "Talk" },
  });
  assert.deepEqual([second.score, second.reason, second.name, second.canonical_alias], [null, null, null, null]);
  assert.deepEqual(await ids({ dir: "f" }), [first.id, second.id, again.id]);
  assert.deepEqual(await ids({ user_id: "carol" }), [again.id, second.id]);
  assert.deepEqual(await ids({ room_id: roomId }), [again.id, first.id]);
  assert.deepEqual(await ids({ event_sender_user_id: bob.userId }), [second.id]);
  assert.deepEqual(await ids({ event_sender_user_id: "bob" }), []);
  const page = await list({ limit: 2 });
  assert.deepEqual([page.event_reports.length, page.total, page.next_token], [2, 3, 2]);
  const last = await list({ limit: 2, from: page.next_token });
  assert.deepEqual([last.event_reports.length, last.total, last.next_token], [1, 3, undefined]);

  const { event_json: event, ...details } = await admin.get(`${V1}/event_reports/${first.id}`);
  assert.deepEqual(details, first);
  assert.deepEqual([event.content.body, event.sender, event.type], ["bad", alice.userId, "m.room.message"]);
  assert.ok(Array.isArray(event.auth_events), "it is the event as servers exchange it");
  assert.deepEqual(await admin.delete(`${V1}/event_reports/${first.id}`), {});
  await admin.fails("GET", `${V1}/event_reports/${first.id}`, { status: 404, errcode: "M_NOT_FOUND" });
  assert.deepEqual(await ids({}), [again.id, second.id]);
  // A user's report is not removed as an event's.
  const { user_reports: [user] } = await admin.get(`${V1}/user_reports`);
  await admin.fails("DELETE", `${V1}/event_reports/${user.id}`, { status: 404, errcode: "M_NOT_FOUND" });
  // Those of a room that is gone are hidden, as in Synapse.
  await admin.delete(path`/_synapse/admin/v1/rooms/${other}`, {});
  assert.deepEqual(await ids({}), [again.id]);
  await admin.fails("GET", `${V1}/event_reports/${second.id}`, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("reports of users are listed, shown and removed", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  await alice.post(path`/users/${bob.userId}/report`, { reason: "one" });
  await carol.post(path`/users/${bob.userId}/report`, { reason: "two" });
  await alice.post(path`/users/${carol.userId}/report`, { reason: "three" });
  const list = async (query: Json = {}) => await admin.get(`${V1}/user_reports`, query);
  const reasons = async (query: Json) => (await list(query)).user_reports.map(({ reason }: Json) => reason);
  assert.deepEqual(await reasons({}), ["three", "two", "one"]);
  assert.deepEqual(await reasons({ dir: "f" }), ["one", "two", "three"]);
  assert.deepEqual(await reasons({ user_id: "@alice" }), ["three", "one"]);
  assert.deepEqual(await reasons({ target_user_id: bob.userId }), ["two", "one"]);
  const page = await list({ limit: 1, from: 1 });
  assert.deepEqual([page.total, page.next_token, page.user_reports.length], [3, 2, 1]);
  const [report] = page.user_reports;
  const { received_ts: receivedTs, ...shown } = report;
  assert.equal(typeof receivedTs, "number");
  assert.deepEqual(shown, { id: report.id, target_user_id: bob.userId, user_id: carol.userId, reason: "two" });
  assert.deepEqual(await admin.get(`${V1}/user_reports/${report.id}`), report);
  assert.deepEqual(await admin.delete(`${V1}/user_reports/${report.id}`), {});
  await admin.fails("DELETE", `${V1}/user_reports/${report.id}`, { status: 404, errcode: "M_NOT_FOUND" });
  assert.deepEqual(await reasons({}), ["three", "one"]);
});
