/** Presets and options of new rooms; replacing rooms; redactions. */
import assert from "node:assert/strict";
import { type Errcode, MatrixError } from "../../src/protocol/errors.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { CreateRoomOptions } from "../../src/rooms/create_options.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { openEngine, TEST_SERVER, testRequester, testUser } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";
import { selectAlias } from "../../src/storage/directory.ts";
import { sql } from "../../src/storage/sql.ts";
import { selectRoomById } from "../../src/storage/rooms.ts";
import type { RoomAlias } from "../../src/protocol/ids.ts";

const alice = testRequester("alice");
const bob = testRequester("bob");

async function refused(
  work: Promise<unknown>,
  { status, errcode }: { status: number; errcode: Errcode },
): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof MatrixError, String(error));
    assert.deepEqual({ status: error.status, errcode: error.errcode }, { status, errcode });
    return true;
  });
}

testEachDatabase("a new room has what its preset and options say", async (db) => {
  const parts = await openEngine(db, { options: { encryptionDefault: "invite" } });
  const { engine } = parts;
  const read = async (options: CreateRoomOptions) =>
    (await readRoom(parts, await engine.createRoom(alice, options))).state;
  const content = (state: Awaited<ReturnType<typeof read>>, type: string) => state.get(`${type}|`)?.content;
  const open = await read({ visibility: "public", creationContent: { type: "m.space", room_version: "bogus" } });
  assert.equal(content(open, "m.room.join_rules")?.["join_rule"], "public");
  assert.equal(content(open, "m.room.guest_access"), undefined, "without the event guests are shut out");
  assert.equal(content(open, "m.room.create")?.["type"], "m.space");
  assert.equal(content(open, "m.room.create")?.["room_version"], "12");
  assert.equal(open.has("m.room.encryption|"), false);
  const closed = await read({ roomVersion: "10", powerLevelContentOverride: { events_default: 7 } });
  assert.equal(content(closed, "m.room.join_rules")?.["join_rule"], "invite");
  assert.equal(content(closed, "m.room.encryption")?.["algorithm"], "m.megolm.v1.aes-sha2");
  assert.equal(content(closed, "m.room.create")?.["creator"], alice.userId);
  const levels = content(closed, "m.room.power_levels");
  assert.deepEqual(levels?.["users"], { [alice.userId]: 100 });
  assert.equal(levels?.["events_default"], 7);
  const trusted = { preset: "trusted_private_chat", invite: [bob.userId] };
  const old = await read({ ...trusted, roomVersion: "11" });
  assert.deepEqual(content(old, "m.room.power_levels")?.["users"], { [alice.userId]: 100, [bob.userId]: 100 });
  const current = await read(trusted);
  assert.deepEqual(content(current, "m.room.power_levels")?.["users"], {});
  assert.deepEqual(content(current, "m.room.create")?.["additional_creators"], [bob.userId]);
});

testEachDatabase("a room that cannot be made is refused as a whole", async (db) => {
  const { engine } = await openEngine(db);
  const badJson = { status: 400, errcode: "M_BAD_JSON" } as const;
  const invalid = { status: 400, errcode: "M_INVALID_PARAM" } as const;
  await refused(engine.createRoom(alice, { roomVersion: "x" }), { status: 400, errcode: "M_UNSUPPORTED_ROOM_VERSION" });
  await refused(engine.createRoom(alice, { preset: "x" }), badJson);
  await refused(engine.createRoom(alice, { invite: ["x"] }), invalid);
  await refused(engine.createRoom(alice, { creationContent: { additional_creators: ["x"] } }), invalid);
  await refused(engine.createRoom(alice, { powerLevelContentOverride: { users: { [alice.userId]: 100 } } }), invalid);
  await refused(engine.createRoom(alice, { initialState: [{ type: "x".repeat(300), content: {} }] }), {
    ...{ status: 413, errcode: "M_TOO_LARGE" } as const,
  });
  await engine.createRoom(alice, { roomAliasName: "taken" });
  await refused(engine.createRoom(bob, { roomAliasName: "taken" }), { status: 400, errcode: "M_ROOM_IN_USE" });
  const rooms = await db.all<{ room_nid: number }>(sql`
    SELECT room_nid FROM rooms LIMIT 100`);
  assert.equal(rooms.length, 1);
});

for (const [from, to] of [["10", "11"], ["11", "12"], ["12", "12"], ["12", "11"], ["1", "12"]] as const) {
  testEachDatabase(`an upgrade from ${from} to ${to} carries the room over`, async (db) => {
    const parts = await openEngine(db);
    const { engine } = parts;
    const oldId = await engine.createRoom(alice, {
      preset: "public_chat",
      visibility: "public",
      roomVersion: from,
      roomAliasName: "room",
      name: "Name",
      topic: "Topic",
      creationContent: { type: "m.space" },
      powerLevelContentOverride: {
        users: from === "12" ? { [bob.userId]: 50 } : { [alice.userId]: 100, [bob.userId]: 50 },
      },
    });
    await engine.ban(alice, { roomId: oldId, userId: testUser("mallory"), details: { reason: "spam" } });
    await engine.join(bob, { roomId: oldId });
    await refused(engine.upgrade(bob, { roomId: oldId, newVersion: to }), { status: 403, errcode: "M_FORBIDDEN" });
    const newId = await engine.upgrade(alice, { roomId: oldId, newVersion: to });
    const [before, after] = [await readRoom(parts, oldId), await readRoom(parts, newId)];
    const content = (room: typeof after, key: string) => room.state.get(key)?.content as JsonObject | undefined;
    assert.equal(content(before, "m.room.tombstone|")?.["replacement_room"], newId);
    assert.equal(content(before, "m.room.power_levels|")?.["events_default"], 50);
    assert.equal(content(after, "m.room.create|")?.["room_version"], to);
    assert.equal(content(after, "m.room.create|")?.["type"], "m.space");
    assert.equal((content(after, "m.room.create|")?.["predecessor"] as JsonObject)["room_id"], oldId);
    assert.equal(content(after, "m.room.name|")?.["name"], "Name");
    assert.equal(content(after, "m.room.join_rules|")?.["join_rule"], "public");
    assert.equal(content(after, `m.room.member|${testUser("mallory")}`)?.["membership"], "ban");
    const users = (content(after, "m.room.power_levels|")?.["users"] ?? {}) as JsonObject;
    assert.deepEqual(users, to === "12" ? { [bob.userId]: 50 } : { [alice.userId]: 100, [bob.userId]: 50 });
    assert.equal((await selectAlias(db, `#room:${TEST_SERVER}` as RoomAlias))?.roomId, newId);
    assert.equal((await selectRoomById(db, newId))?.isPublic, true);
    const say = { type: "m.room.message", stateKey: null, content: { body: "hi" }, txnId: null };
    await engine.join(bob, { roomId: newId });
    await engine.sendEvent(bob, { roomId: newId, ...say });
    const carol = testRequester("carol");
    await engine.join(carol, { roomId: oldId });
    await refused(engine.sendEvent(carol, { roomId: oldId, ...say }), { status: 403, errcode: "M_FORBIDDEN" });
  });
}

for (const version of ["1", "6", "11", "12"] as const) {
  testEachDatabase(`one redacts one's own events, and others' with the power to, in version ${version}`, async (db) => {
    const parts = await openEngine(db);
    const { engine } = parts;
    const roomId = await engine.createRoom(alice, { preset: "public_chat", roomVersion: version });
    await engine.join(bob, { roomId });
    const say = (from: typeof alice, extra: JsonObject = {}) =>
      engine.sendEvent(from, {
        roomId,
        type: "m.room.message",
        stateKey: null,
        content: { body: "x", ...extra },
        txnId: null,
      });
    const byAlice = await say(alice);
    const byBob = await say(bob, { "m.relates_to": { rel_type: "m.thread", event_id: byAlice } });
    const redact = (from: typeof alice, eventId: typeof byAlice, txnId: string | null = null) =>
      engine.redact(from, { roomId, eventId, reason: "because", txnId });
    await refused(redact(bob, byAlice), { status: 403, errcode: "M_FORBIDDEN" });
    const redaction = await redact(alice, byBob, "t1");
    assert.equal(await redact(alice, byBob, "t1"), redaction);
    const own = await say(bob);
    await redact(bob, own);
    const { events } = await openEngine(db);
    for (const [eventId, isRedacted] of [[byAlice, false], [byBob, true], [own, true]] as const) {
      assert.equal((await parts.events.getById(eventId))?.redactedByNid !== null, isRedacted);
      assert.equal((await events.getById(eventId))?.redactedByNid !== null, isRedacted);
    }
    const stored = await events.getById(redaction);
    assert.equal(stored?.event.redacts, byBob);
    assert.equal(stored?.event.content["reason"], "because");
    const relations = await db.all(sql`SELECT 1 AS one FROM event_relations LIMIT 5`);
    assert.equal(relations.length, 0);
  });
}

testEachDatabase("content that an event cannot have is refused", async (db) => {
  const { engine } = await openEngine(db);
  const roomId = await engine.createRoom(alice, {});
  const before = await engine.head(roomId);
  const send = (content: JsonObject) =>
    engine.sendEvent(alice, { roomId, type: "m.room.message", stateKey: null, content, txnId: null });
  await refused(send({ number: 1.5 }), { status: 400, errcode: "M_BAD_JSON" });
  await refused(send({ body: "x".repeat(70_000) }), { status: 413, errcode: "M_TOO_LARGE" });
  assert.deepEqual(await engine.head(roomId), before);
});

testEachDatabase("a canonical alias must lead to the room", async (db) => {
  const { engine } = await openEngine(db);
  const roomId = await engine.createRoom(alice, { roomAliasName: "here" });
  await engine.createRoom(alice, { roomAliasName: "elsewhere" });
  const set = (content: JsonObject) =>
    engine.sendEvent(alice, { roomId, type: "m.room.canonical_alias", stateKey: "", content, txnId: null });
  const [here, elsewhere] = [`#here:${TEST_SERVER}`, `#elsewhere:${TEST_SERVER}`];
  const bad = { status: 400, errcode: "M_BAD_ALIAS" } as const;
  await refused(set({ alias: elsewhere }), bad);
  await refused(set({ alias: `#none:${TEST_SERVER}` }), bad);
  await refused(set({ alias: here, alt_aliases: [elsewhere] }), bad);
  await refused(set({ alias: "%invalid_aliases:server" }), { status: 400, errcode: "M_INVALID_PARAM" });
  await set({ alias: here, alt_aliases: [here] });
  await set({});
});
