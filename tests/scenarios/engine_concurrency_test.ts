/** Many at once: one process, several processes, and writes that fail. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { MatrixError } from "../../src/protocol/errors.ts";
import type { EventId, RoomId } from "../../src/protocol/ids.ts";
import type { PersistHandler } from "../../src/rooms/pending.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { openEngine, type TestEngine, testRequester } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";

const alice = testRequester("alice");
const users = Array.from({ length: 6 }, (_, index) => testRequester(`user${index}`));

type Action =
  & { readonly user: number }
  & (
    | { readonly kind: "message" | "join" | "leave" | "name" }
    | { readonly kind: "ban" | "unban"; readonly target: number }
  );

const userIndex = fc.integer({ min: 0, max: users.length - 1 });
const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.oneof(
    fc.record({ user: userIndex, kind: fc.constantFrom("message", "join", "leave", "name") }),
    fc.record({ user: userIndex, kind: fc.constantFrom("ban", "unban"), target: userIndex }),
  ) as fc.Arbitrary<Action>,
  { minLength: 5, maxLength: 40 },
);

function perform({ engine }: TestEngine, { roomId, action }: { roomId: RoomId; action: Action }): Promise<EventId> {
  const requester = users[action.user] ?? alice;
  switch (action.kind) {
    case "message":
      return engine.sendEvent(requester, {
        roomId,
        type: "m.room.message",
        stateKey: null,
        content: { n: 1 },
        txnId: null,
      });
    case "name":
      return engine.sendEvent(requester, {
        roomId,
        type: "m.room.name",
        stateKey: "",
        content: { name: requester.userId },
        txnId: null,
      });
    case "join":
      return engine.join(requester, { roomId });
    case "leave":
      return engine.leave(requester, { roomId });
    case "ban":
    case "unban":
      return engine[action.kind](alice, { roomId, userId: (users[action.target] ?? alice).userId });
  }
}

/** Every accepted event is in the timeline exactly once, in an order in which each is the next one's parent. */
function assertChained(timeline: Awaited<ReturnType<typeof readRoom>>["timeline"], accepted: readonly EventId[]): void {
  const ids = timeline.map(({ eventId }) => eventId);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of accepted) assert.ok(ids.includes(id), `${id} is in the timeline`);
  for (const [index, event] of timeline.entries()) {
    assert.deepEqual(event.prevEvents, index === 0 ? [] : [ids[index - 1]]);
  }
}

testEachDatabase("whatever many users do at once, the room is consistent and the same after a reload", async (db) => {
  const parts = await openEngine(db);
  const runs = db.dialect === "sqlite" ? 30 : 4;
  await fc.assert(
    fc.asyncProperty(actions, async (list) => {
      const roomId = await parts.engine.createRoom(alice, { preset: "public_chat" });
      const results = await Promise.allSettled(list.map((action) => perform(parts, { roomId, action })));
      const accepted = results.flatMap((result) => result.status === "fulfilled" ? [result.value] : []);
      for (const result of results) {
        if (result.status === "rejected") assert.ok(result.reason instanceof MatrixError, String(result.reason));
      }
      const live = await readRoom(parts, roomId);
      const reloaded = await readRoom(await openEngine(db), roomId);
      assert.deepEqual(reloaded.timeline.map(({ eventId }) => eventId), live.timeline.map(({ eventId }) => eventId));
      assertChained(live.timeline, accepted);
    }),
    { numRuns: runs },
  );
});

testEachDatabase("two processes write to one room without forking or losing anything", async (db, test) => {
  if (db.dialect === "sqlite") return;
  await using otherDb = await openDatabase(test.options);
  const engines = [await openEngine(db), await openEngine(otherDb)] as const;
  const roomId = await engines[0].engine.createRoom(alice, { preset: "public_chat" });
  const sends = Array.from({ length: 60 }, (_, index) => {
    const { engine } = engines[index % 2] ?? engines[0];
    const content = { body: `${index}` };
    return engine.sendEvent(alice, { roomId, type: "m.room.message", stateKey: null, content, txnId: null });
  });
  const accepted = await Promise.all(sends);
  assert.equal(new Set(accepted).size, 60);
  const { timeline } = await readRoom(await openEngine(db), roomId);
  assertChained(timeline, accepted);
});

testEachDatabase("a refusal takes into account what another process has just done", async (db, test) => {
  if (db.dialect === "sqlite") return;
  await using otherDb = await openDatabase(test.options);
  const [first, second] = [await openEngine(db), await openEngine(otherDb)];
  const roomId = await first.engine.createRoom(alice, { preset: "private_chat" });
  const bob = testRequester("bob");
  await assert.rejects(second.engine.join(bob, { roomId }), MatrixError);
  await first.engine.invite(alice, { roomId, userId: bob.userId });
  await second.engine.join(bob, { roomId });
});

testEachDatabase("a write that fails changes nothing, and the room goes on", async (db) => {
  let fails = false;
  const breakable: PersistHandler = () => fails ? Promise.reject(new Error("disk on fire")) : Promise.resolve();
  const parts = await openEngine(db, { onPersist: [breakable] });
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  const before = await readRoom(parts, roomId);
  const name = (text: string) =>
    engine.sendEvent(alice, { roomId, type: "m.room.name", stateKey: "", content: { name: text }, txnId: null });
  fails = true;
  await assert.rejects(name("lost"), /disk on fire/);
  fails = false;
  const after = await readRoom(parts, roomId);
  assert.deepEqual(after.timeline.map(({ eventId }) => eventId), before.timeline.map(({ eventId }) => eventId));
  await name("kept");
  assert.equal((await readRoom(await openEngine(db), roomId)).state.get("m.room.name|")?.content["name"], "kept");
});

testEachDatabase("those in the room are woken by what is sent, and whoever is invited or put out", async (db) => {
  const { engine, notifier } = await openEngine(db);
  const [bob, carol] = [testRequester("bob"), testRequester("carol")];
  const roomId = await engine.createRoom(alice, { preset: "private_chat" });
  using bobsEar = notifier.subscribe(bob.userId);
  using carolsEar = notifier.subscribe(carol.userId);
  await engine.invite(alice, { roomId, userId: bob.userId });
  assert.equal(await bobsEar.wait(0), true);
  await engine.join(bob, { roomId });
  assert.equal(await bobsEar.wait(0), true);
  await engine.sendEvent(alice, { roomId, type: "m.room.message", stateKey: null, content: {}, txnId: null });
  assert.equal(await bobsEar.wait(0), true);
  await engine.kick(alice, { roomId, userId: bob.userId });
  assert.equal(await bobsEar.wait(0), true);
  await engine.sendEvent(alice, { roomId, type: "m.room.message", stateKey: null, content: {}, txnId: null });
  assert.equal(await bobsEar.wait(0), false);
  assert.equal(await carolsEar.wait(0), false);
  assert.equal(notifier.position("events"), (await engine.head(roomId))?.lastPosition);
});
