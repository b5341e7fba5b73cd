/** What readers keep in memory of rooms must be what the database holds, whatever was read and written before. */
import assert from "node:assert/strict";
import type { RoomId } from "../../src/protocol/ids.ts";
import { LocalMemberships } from "../../src/rooms/local_memberships.ts";
import type { PersistHandler } from "../../src/rooms/pending.ts";
import { RoomTimelines } from "../../src/rooms/room_timelines.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { openEngine, testRequester, testUser } from "../harness/engine.ts";

/** A generator of the same numbers each time, so that a failure comes back. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

testEachDatabase("RoomTimelines answers from memory as the database would", async (db) => {
  const handlers: PersistHandler[] = [];
  const { engine, notifier, events } = await openEngine(db, {
    onPersist: [async (tx, batch) => {
      for (const handler of handlers) await handler(tx, batch);
    }],
  });
  const kept = new RoomTimelines({ db, position: notifier.position("events") });
  handlers.push(kept.onPersist);
  const alice = testRequester("alice");
  const rooms = new Map<number, RoomId>();
  for (let index = 0; index < 3; index++) {
    const roomId = await engine.createRoom(alice, { preset: "public_chat" });
    const room = await events.roomById(roomId);
    rooms.set(room?.roomNid ?? 0, roomId);
  }
  const nids = [...rooms.keys()];
  const random = makeRandom(7);
  for (let step = 0; step < 400; step++) {
    const roomNid = nids[random(nids.length)] ?? 0;
    const roomId = rooms.get(roomNid) as RoomId;
    const isState = random(4) === 0;
    const content = { body: `${step}`, topic: `${step}` };
    if (random(2) === 0) {
      const type = isState ? "m.room.topic" : "m.room.message";
      await engine.sendEvent(alice, { roomId, type, stateKey: isState ? "" : null, content, txnId: null });
    }
    const fresh = new RoomTimelines({ db, position: 0 });
    const now = notifier.position("events");
    const upTo = now - random(5);
    const range = { roomNid, after: Math.max(0, upTo - random(200)), upTo };
    const limit = 1 + random(60);
    assert.deepEqual(await kept.tail(range, limit), await fresh.tail(range, limit), `step ${step}`);
    assert.deepEqual(await kept.deltas(range), await fresh.deltas(range), `step ${step}`);
    const changed = kept.changedAfter(range.after, rooms).sort();
    const expected = [];
    for (const nid of nids) {
      const [last] = await fresh.tail({ roomNid: nid, after: range.after, upTo: now }, 1);
      if (last !== undefined) expected.push(nid);
    }
    assert.deepEqual(changed, expected.sort(), `step ${step}`);
  }
});

testEachDatabase("LocalMemberships follows what is written and what was read before", async (db) => {
  const handlers: PersistHandler[] = [];
  const { engine } = await openEngine(db, {
    onPersist: [async (tx, batch) => {
      for (const handler of handlers) await handler(tx, batch);
    }],
  });
  const open = () => new LocalMemberships({ db, onRoom: () => {} });
  const kept = open();
  handlers.push(kept.onPersist);
  const [alice, bob] = [testRequester("alice"), testRequester("bob")];
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  const userId = testUser("bob");
  const steps = [
    () => engine.invite(alice, { roomId, userId }),
    () => engine.join(bob, { roomId }),
    () => engine.kick(alice, { roomId, userId }),
    () => engine.ban(alice, { roomId, userId }),
    () => engine.unban(alice, { roomId, userId }),
    // A load that a write overtakes must not leave the old state behind.
    async () => {
      kept.drop(userId);
      await Promise.all([kept.forUser(userId), engine.join(bob, { roomId })]);
    },
    () => engine.leave(bob, { roomId }),
  ];
  await kept.forUser(userId);
  for (const [index, step] of steps.entries()) {
    await step();
    const known = await kept.forUser(userId);
    const stored = await open().forUser(userId);
    assert.deepEqual([...known.all.values()], [...stored.all.values()], `step ${index}`);
    assert.deepEqual([...known.joined], [...stored.joined], `step ${index}`);
    assert.equal(known.lastChange, stored.lastChange, `step ${index}`);
  }
});
