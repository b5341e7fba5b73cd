/** Events of other servers: forks, late ones, refused ones. Injected, because there is no federation here. */
import assert from "node:assert/strict";
import type { RoomVersionId } from "../../src/protocol/room_versions.ts";
import { DUMMY_EVENT_TYPE } from "../../src/rooms/dummy_events.ts";
import type { Database } from "../../src/storage/database.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { openEngine, type TestEngine, testRequester, testUser } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";
import { remoteUser, RoomBuilder } from "../harness/room_builder.ts";
import type { RoomId } from "../../src/protocol/ids.ts";

const alice = testRequester("alice");
const carol = remoteUser("carol");
const dave = remoteUser("dave");

interface Scene {
  readonly parts: TestEngine;
  readonly roomId: RoomId;
  readonly builder: RoomBuilder;
}

/** A public room of alice with carol and dave of another server in it. */
async function openScene(db: Database, version: RoomVersionId = "12"): Promise<Scene> {
  const parts = await openEngine(db);
  const roomId = await parts.engine.createRoom(alice, {
    preset: "public_chat",
    roomVersion: version,
    powerLevelContentOverride: {
      users: version === "12" ? { [carol]: 50 } : { [carol]: 50, [alice.userId]: 100 },
    },
  });
  const builder = await RoomBuilder.from(parts, roomId);
  const joins = [builder.member(carol, "join"), builder.member(dave, "join")];
  const outcomes = await parts.engine.receiveEvents(roomId, joins);
  assert.deepEqual(outcomes, [{ kind: "accepted" }, { kind: "accepted" }]);
  return { parts, roomId, builder };
}

for (const version of ["1", "2", "6", "10", "12"] as const) {
  testEachDatabase(`a fork is merged by the next local event in version ${version}`, async (db) => {
    const { parts, roomId, builder } = await openScene(db, version);
    const base = builder.last;
    const left = builder.add({
      sender: carol,
      type: "m.room.name",
      stateKey: "",
      content: { name: "Left" },
      prev: [base],
    });
    const right = builder.add({
      sender: carol,
      type: "m.room.topic",
      stateKey: "",
      content: { topic: "R" },
      prev: [base],
    });
    const outcomes = await parts.engine.receiveEvents(roomId, [left, right]);
    assert.deepEqual(outcomes.map(({ kind }) => kind), ["accepted", "accepted"]);
    const forked = await readRoom(parts, roomId);
    assert.equal(forked.extremities.length, 2);
    assert.equal(forked.state.get("m.room.name|")?.content["name"], "Left");
    assert.equal(forked.state.get("m.room.topic|")?.content["topic"], "R");
    const sent = await parts.engine.sendEvent(alice, {
      ...{ roomId, type: "m.room.message", stateKey: null, txnId: null },
      content: { body: "merge" },
    });
    const { extremities, timeline } = await readRoom(await openEngine(db), roomId);
    assert.deepEqual(extremities, [sent]);
    assert.equal(timeline.at(-1)?.prevEvents.length, 2);
  });
}

testEachDatabase("a ban wins over what the banned one did on another branch, whichever comes first", async (db) => {
  for (const banFirst of [true, false]) {
    const { parts, roomId, builder } = await openScene(db);
    const base = builder.last;
    const ban = builder.member(carol, "ban", { target: dave, prev: [base] });
    const renamed = builder.add({
      sender: dave,
      type: "org.example.state",
      stateKey: "",
      content: { by: "dave" },
      prev: [base],
    });
    const profile = builder.add({
      ...{ sender: dave, type: "m.room.member", stateKey: dave, prev: [base] },
      content: { membership: "join", displayname: "Dave" },
    });
    const order = banFirst ? [ban, renamed, profile] : [renamed, profile, ban];
    const outcomes = await parts.engine.receiveEvents(roomId, order);
    const { state } = await readRoom(parts, roomId);
    assert.equal(state.get(`m.room.member|${dave}`)?.content["membership"], "ban");
    assert.equal(state.has("org.example.state|"), false, "dave has no power to set state");
    const kinds = new Map(order.map((event, index) => [event, outcomes[index]?.kind]));
    assert.equal(kinds.get(renamed), "rejected");
    assert.equal(kinds.get(ban), "accepted");
    assert.equal(kinds.get(profile), banFirst ? "soft_failed" : "accepted");
  }
});

testEachDatabase("a rejected or soft-failed event does not become an end, and is not shown", async (db) => {
  const { parts, roomId, builder } = await openScene(db);
  const base = builder.last;
  const ban = builder.member(carol, "ban", { target: dave, prev: [base] });
  await parts.engine.receiveEvents(roomId, [ban]);
  const late = builder.message(dave, "I was here before", [base]);
  const [outcome] = await parts.engine.receiveEvents(roomId, [late]);
  assert.equal(outcome?.kind, "soft_failed");
  const stranger = builder.message(remoteUser("stranger"), "hello", [ban]);
  const [second] = await parts.engine.receiveEvents(roomId, [stranger]);
  assert.equal(second?.kind, "rejected");
  const { extremities } = await readRoom(parts, roomId);
  assert.deepEqual(extremities, [ban.event.eventId]);
  const after = builder.message(carol, "goes on", [ban, late]);
  assert.deepEqual(await parts.engine.receiveEvents(roomId, [after]), [{ kind: "accepted" }]);
  assert.deepEqual((await readRoom(parts, roomId)).extremities, [after.event.eventId]);
});

testEachDatabase("an event whose parents are missing is not kept, and a known one is a duplicate", async (db) => {
  const { parts, roomId, builder } = await openScene(db);
  const first = builder.message(carol, "first");
  const second = builder.message(carol, "second");
  const [missing] = await parts.engine.receiveEvents(roomId, [second]);
  assert.deepEqual(missing, { kind: "missing", parents: [first.event.eventId], authEvents: [] });
  const outcomes = await parts.engine.receiveEvents(roomId, [first, second, first]);
  assert.deepEqual(outcomes.map(({ kind }) => kind), ["accepted", "accepted", "duplicate"]);
  assert.deepEqual((await readRoom(parts, roomId)).extremities, [second.event.eventId]);
});

testEachDatabase("a redaction applies to its target, also when it comes first", async (db) => {
  const { parts, roomId, builder } = await openScene(db);
  const target = builder.message(dave, "secret");
  const base = builder.last;
  const redaction = builder.add({
    sender: carol,
    type: "m.room.redaction",
    content: { redacts: target.event.eventId },
  });
  await parts.engine.receiveEvents(roomId, [target, redaction]);
  const late = builder.message(dave, "late secret", [base]);
  const early = builder.add({
    ...{ sender: carol, type: "m.room.redaction", prev: [base] },
    content: { redacts: late.event.eventId },
  });
  await parts.engine.receiveEvents(roomId, [early, late]);
  const restarted = await openEngine(db);
  for (const { event: { eventId } } of [target, late]) {
    assert.notEqual((await parts.events.getById(eventId))?.redactedByNid, null);
    assert.notEqual((await restarted.events.getById(eventId))?.redactedByNid, null);
  }
});

testEachDatabase("too many ends are merged by a dummy event", async (db) => {
  const { parts, roomId, builder } = await openScene(db);
  const base = builder.last;
  const forks = Array.from({ length: 25 }, (_, index) =>
    builder.add({
      ...{ sender: carol, type: "org.example.fork", stateKey: `${index}`, prev: [base] },
      content: { index },
    }));
  await parts.engine.receiveEvents(roomId, forks);
  const { extremities, timeline, state } = await readRoom(parts, roomId);
  assert.ok(extremities.length <= 10, `${extremities.length} ends are left`);
  assert.equal(timeline.at(-1)?.type, DUMMY_EVENT_TYPE);
  for (const { event } of forks) assert.ok(state.has(`org.example.fork|${event.stateKey}`));
  assert.equal(state.get(`m.room.member|${testUser("alice")}`)?.content["membership"], "join");
});

testEachDatabase("all ends are merged where an administrator asks for it", async (db) => {
  const { parts, roomId, builder } = await openScene(db);
  const base = builder.last;
  const forks = Array.from({ length: 4 }, (_, index) =>
    builder.add({
      ...{ sender: carol, type: "org.example.fork", stateKey: `${index}`, prev: [base] },
      content: { index },
    }));
  await parts.engine.receiveEvents(roomId, forks);
  assert.equal((await parts.engine.extremities(roomId)).length, 4);
  assert.equal(await parts.engine.mergeExtremities(roomId), 3);
  const [end, ...others] = await parts.engine.extremities(roomId);
  assert.deepEqual([end?.event.type, others], [DUMMY_EVENT_TYPE, []]);
  const { state } = await readRoom(parts, roomId);
  for (const { event } of forks) assert.ok(state.has(`org.example.fork|${event.stateKey}`), "no state is lost");
  assert.equal(await parts.engine.mergeExtremities(roomId), 0);
});
