/** Synapse's admin API: reading rooms that the administrator is not in. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const roomOf = (roomId: string) => path`/_synapse/admin/v1/rooms/${roomId}`;
const UNKNOWN = "!unknown:hs.test";

testEachServer("rooms are read by administrators only, and with a good request", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const parts = ["/messages", path`/context/${"$event"}`, "/timestamp_to_event?ts=1", "/hierarchy"];
  for (const part of parts) {
    await hs.anyone.fails("GET", roomOf(roomId) + part, { status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails("GET", roomOf(roomId) + part, { status: 403, errcode: "M_FORBIDDEN" });
    if (part === "/hierarchy") continue;
    await admin.fails("GET", roomOf(UNKNOWN) + part, { status: 404, errcode: "M_NOT_FOUND" });
    await admin.fails("GET", roomOf("nonsense") + part, { status: 404, errcode: "M_NOT_FOUND" });
  }
  // Nothing is known of it, as of a child that is not here.
  assert.deepEqual(await admin.get(`${roomOf(UNKNOWN)}/hierarchy`), { rooms: [] });
  const invalid = { status: 400, errcode: "M_INVALID_PARAM" };
  await admin.fails("GET", `${roomOf(roomId)}/messages?from=x`, invalid);
  await admin.fails("GET", `${roomOf(roomId)}/messages?dir=x`, invalid);
  await admin.fails("GET", `${roomOf(roomId)}/messages?limit=-1`, invalid);
  await admin.fails("GET", `${roomOf(roomId)}/timestamp_to_event?ts=x`, invalid);
  await admin.fails("GET", `${roomOf(roomId)}/timestamp_to_event`, { status: 400, errcode: "M_MISSING_PARAM" });
  await admin.fails("GET", `${roomOf(roomId)}/hierarchy?limit=0`, invalid);
  await admin.fails("GET", `${roomOf(roomId)}/context/nothing`, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("an administrator reads all of a room without being in it", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const visibility = { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "joined" } };
  const roomId = await alice.createRoom({ initial_state: [visibility] });
  const sent: string[] = [];
  for (const text of ["one", "two", "three"]) sent.push(await alice.sendText(roomId, text));
  const other = await alice.createRoom();
  const elsewhere = await alice.sendText(other, "elsewhere");
  // Whom the administrator ignores as a user does not matter.
  const ignored = { ignored_users: { [alice.userId]: {} } };
  await admin.put(path`/user/${admin.userId}/account_data/m.ignored_user_list`, ignored);
  const said = ({ chunk }: Json): string[] => chunk.flatMap(({ content }: Json) => content.body ?? []);
  const page = await admin.get(`${roomOf(roomId)}/messages`, { dir: "b", limit: 2 });
  assert.deepEqual(said(page), ["three", "two"]);
  const next = await admin.get(`${roomOf(roomId)}/messages`, { dir: "b", limit: 100, from: page.end });
  assert.deepEqual(said(next), ["one"]);
  assert.equal(next.chunk.at(-1).type, "m.room.create");
  const filter = JSON.stringify({ types: ["m.room.name"] });
  assert.deepEqual((await admin.get(`${roomOf(roomId)}/messages`, { filter })).chunk, []);

  const around = await admin.get(`${roomOf(roomId)}${path`/context/${sent[1] ?? ""}`}`, { limit: 2 });
  assert.equal(around.event.content.body, "two");
  assert.deepEqual(around.events_before.map(({ content }: Json) => content.body), ["one"]);
  assert.deepEqual(around.events_after.map(({ content }: Json) => content.body), ["three"]);
  assert.ok(around.state.length > 0 && typeof around.start === "string" && typeof around.end === "string");
  const wrong = `${roomOf(roomId)}${path`/context/${elsewhere}`}`;
  await admin.fails("GET", wrong, { status: 404, errcode: "M_NOT_FOUND" });

  const first = await admin.get(`${roomOf(roomId)}/timestamp_to_event`, { ts: 0 });
  assert.equal(first.event_id, next.chunk.at(-1).event_id);
  assert.equal(typeof first.origin_server_ts, "number");
  const last = await admin.get(`${roomOf(roomId)}/timestamp_to_event`, { ts: Date.now() + 60_000, dir: "b" });
  assert.equal(last.event_id, sent[2]);
  const later = `${roomOf(roomId)}/timestamp_to_event?ts=${Date.now() + 60_000}`;
  await admin.fails("GET", later, { status: 404, errcode: "M_NOT_FOUND" });
  // As a user the administrator sees nothing of it.
  await admin.fails("GET", path`/rooms/${roomId}/messages`, { status: 403, errcode: "M_FORBIDDEN" });
});

testEachServer("an administrator walks through a space without being in it", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const space = await alice.createRoom({ creation_content: { type: "m.space" }, name: "Space" });
  const inner = await alice.createRoom({ creation_content: { type: "m.space" }, name: "Inner" });
  const room = await alice.createRoom({ name: "Room" });
  const link = async (from: string, to: string) =>
    await alice.setState(from, { type: "m.space.child", stateKey: to, content: { via: ["hs.test"] } });
  await link(space, inner);
  await link(inner, room);
  await link(space, "!elsewhere:other.test");
  const target = `${roomOf(space)}/hierarchy`;
  const ids = ({ rooms }: Json): string[] => rooms.map(({ room_id: id }: Json) => id);
  const all = await admin.get(target);
  assert.deepEqual(ids(all), [space, inner, room]);
  assert.equal(all.next_batch, undefined);
  assert.equal(all.rooms[0].children_state.length, 2);
  assert.deepEqual(ids(await admin.get(target, { max_depth: 1 })), [space, inner]);
  const page = await admin.get(target, { limit: 2 });
  assert.deepEqual(ids(page), [space, inner]);
  assert.deepEqual(ids(await admin.get(target, { limit: 2, from: page.next_batch })), [room]);
});
