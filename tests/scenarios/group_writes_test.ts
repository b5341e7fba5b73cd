/** Many rooms that are written at the same time share transactions on PostgreSQL; each keeps what is its own. */
import assert from "node:assert/strict";
import type { EventId, RoomId } from "../../src/protocol/ids.ts";
import type { PersistHandler } from "../../src/rooms/pending.ts";
import type { Database } from "../../src/storage/database.ts";
import { lockRoom } from "../../src/storage/rooms.ts";
import { sql } from "../../src/storage/sql.ts";
import { nextTurn } from "../../src/lib/turn.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { openEngine, type TestEngine, testRequester } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";

const alice = testRequester("alice");
const ROOMS = 6;

/** Holds up the transaction that writes to one room. */
class Gate {
  readonly #opened = Promise.withResolvers<void>();
  readonly #reached = Promise.withResolvers<void>();
  /** Resolves when a transaction waits. */
  readonly reached = this.#reached.promise;
  roomId: RoomId | null = null;

  readonly onPersist: PersistHandler = async (_tx, { room }) => {
    if (room.roomId !== this.roomId) return;
    this.#reached.resolve();
    await this.#opened.promise;
  };

  open(): void {
    this.#opened.resolve();
  }
}

async function createRooms({ engine }: TestEngine): Promise<RoomId[]> {
  const rooms: RoomId[] = [];
  while (rooms.length < ROOMS) rooms.push(await engine.createRoom(alice, { preset: "public_chat" }));
  return rooms;
}

/** Sends a message; the promise inside resolves once it is written, the outer one once it is built. */
async function buildMessage({ engine }: TestEngine, roomId: RoomId): Promise<{ written: Promise<EventId> }> {
  const { promise: built, resolve } = Promise.withResolvers<void>();
  const written = engine.withDeps((deps) =>
    deps.queues.run(roomId, async (batch) => {
      const template = { type: "m.room.message", stateKey: null, sender: alice.userId, content: { body: roomId } };
      const { event } = await batch.append(template);
      resolve();
      return event.eventId;
    })
  );
  written.catch(() => {});
  await built;
  // What is built reaches the writer before anything else happens.
  await nextTurn();
  return { written };
}

/** Has a message in each of the other rooms waiting while one to the first room is written, then lets that end. */
async function writeBehind(
  parts: TestEngine,
  { gate, rooms }: { gate: Gate; rooms: readonly RoomId[] },
): Promise<PromiseSettledResult<EventId>[]> {
  const [first, ...others] = rooms;
  assert.ok(first);
  gate.roomId = first;
  const holding = await buildMessage(parts, first);
  await gate.reached;
  const waiting: Promise<EventId>[] = [];
  for (const roomId of others) waiting.push((await buildMessage(parts, roomId)).written);
  gate.open();
  return await Promise.allSettled([holding.written, ...waiting]);
}

/** Returns which transaction of PostgreSQL wrote each of the events. */
async function transactionsOf(db: Database, eventIds: readonly EventId[]): Promise<string[]> {
  const found: string[] = [];
  for (const id of eventIds) {
    const row = await db.get<{ tx: string }>(sql`SELECT CAST(xmin AS TEXT) AS tx FROM events WHERE event_id = ${id}`);
    found.push(row?.tx ?? "none");
  }
  return found;
}

async function assertNoGaps(db: Database): Promise<void> {
  const rows = await db.all<{ position: number }>(sql`SELECT position FROM events ORDER BY position LIMIT 10000`);
  assert.deepEqual(rows.map(({ position }) => position), rows.map((_, index) => index + 1));
}

testEachDatabase("messages to several rooms that wait for a writer are written in one transaction", async (db) => {
  const gate = new Gate();
  const published: number[] = [];
  const parts = await openEngine(db, {
    onPersist: [gate.onPersist, (tx, { position }) => {
      tx.afterCommit(() => published.push(position));
      return Promise.resolve();
    }],
  });
  const rooms = await createRooms(parts);
  published.length = 0;
  const results = await writeBehind(parts, { gate, rooms });
  const ids = results.flatMap((result) => result.status === "fulfilled" ? [result.value] : []);
  assert.equal(ids.length, ROOMS);
  if (db.dialect === "postgres") {
    const [first, ...others] = await transactionsOf(db, ids);
    assert.equal(new Set(others).size, 1);
    assert.notEqual(first, others[0]);
  }
  assert.deepEqual(published, [...published].sort((a, b) => a - b), "told in the order of the positions");
  await assertNoGaps(db);
  for (const [index, roomId] of rooms.entries()) {
    const { timeline } = await readRoom(parts, roomId);
    assert.equal(timeline.at(-1)?.eventId, ids[index]);
    assert.deepEqual((await readRoom(await openEngine(db), roomId)).timeline, timeline);
  }
});

testEachDatabase("a room that cannot be written spoils no other room", async (db) => {
  const gate = new Gate();
  let broken: RoomId | null = null;
  const breakable: PersistHandler = (_tx, { room }) =>
    room.roomId === broken ? Promise.reject(new Error("disk on fire")) : Promise.resolve();
  const parts = await openEngine(db, { onPersist: [gate.onPersist, breakable] });
  const rooms = await createRooms(parts);
  const before = await Promise.all(rooms.map((roomId) => readRoom(parts, roomId)));
  broken = rooms[3] ?? null;
  const results = await writeBehind(parts, { gate, rooms });
  assert.deepEqual(results.map(({ status }) => status === "fulfilled"), rooms.map((_, index) => index !== 3));
  await assertNoGaps(db);
  for (const [index, roomId] of rooms.entries()) {
    const { timeline } = await readRoom(parts, roomId);
    assert.equal(timeline.length, (before[index]?.timeline.length ?? 0) + (index === 3 ? 0 : 1));
  }
  broken = null;
  await (await buildMessage(parts, rooms[3] as RoomId)).written;
});

testEachDatabase("a text that the database cannot keep fails its own message only", async (db) => {
  const parts = await openEngine(db);
  const rooms = await createRooms(parts);
  const sends = rooms.flatMap((roomId, index) =>
    [0, 1, 2].map((n) =>
      parts.engine.withDeps((deps) =>
        deps.queues.run(roomId, async (batch) => {
          const template = { type: "m.room.message", stateKey: null, sender: alice.userId, content: { body: `${n}` } };
          const txnId = index === 2 && n === 1 ? "\0" : `t${n}`;
          await batch.append(template, { type: template.type, userId: alice.userId, deviceId: "DEVICE", txnId });
        })
      )
    )
  );
  const results = await Promise.allSettled(sends);
  assert.deepEqual(
    results.flatMap((result, index) => result.status === "rejected" ? [[index, result.reason.kind]] : []),
    [[7, "text"]],
  );
  await assertNoGaps(db);
  for (const roomId of rooms) await readRoom(parts, roomId);
});

testEachDatabase("a room that somebody else has locked holds up no other room", async (db) => {
  // SQLite has one writer at a time.
  if (db.dialect === "sqlite") return;
  const parts = await openEngine(db);
  const rooms = await createRooms(parts);
  const [locked, ...others] = rooms;
  assert.ok(locked);
  const roomNid = (await parts.engine.head(locked))?.roomNid;
  assert.ok(roomNid !== undefined);
  let waiting: Promise<EventId> | null = null;
  await db.transaction(async (tx) => {
    await lockRoom(tx, roomNid);
    waiting = (await buildMessage(parts, locked)).written;
    for (const roomId of others) await (await buildMessage(parts, roomId)).written;
  });
  const eventId = await waiting;
  assert.equal((await readRoom(parts, locked)).timeline.at(-1)?.eventId, eventId);
  await assertNoGaps(db);
});
