/** The same graph of events, received in different orders: what the state is at an event does not depend on the order. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { RoomId, UserId } from "../../src/protocol/ids.ts";
import type { RoomVersionId } from "../../src/protocol/room_versions.ts";
import type { ReceivedEvent } from "../../src/rooms/receive.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { createTestDatabase, type TestDatabase } from "../harness/databases.ts";
import { openEngine, type TestEngine, testRequester } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";
import { remoteUser, RoomBuilder } from "../harness/room_builder.ts";

const alice = testRequester("alice");
const [carol, dave, erin] = [remoteUser("carol"), remoteUser("dave"), remoteUser("erin")];
const PEOPLE: readonly UserId[] = [carol, dave, erin];

interface Step {
  readonly kind: "ban" | "join" | "leave" | "levels" | "message" | "name" | "unban";
  readonly by: number;
  readonly target: number;
  /** Which of the events so far are the parents, counted from the last. */
  readonly parents: readonly number[];
  readonly level: number;
}

const person = fc.integer({ min: 0, max: PEOPLE.length - 1 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("ban", "join", "leave", "levels", "message", "name", "unban"),
    by: person,
    target: person,
    parents: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 3 }),
    level: fc.constantFrom(0, 50, 99),
  }) as fc.Arbitrary<Step>,
  { minLength: 4, maxLength: 16 },
);

/** A file with a room in it, as both receivers start from. */
async function makeRoom(version: RoomVersionId): Promise<{ test: TestDatabase; roomId: RoomId; builder: RoomBuilder }> {
  const test = await createTestDatabase("sqlite");
  await using db = await openDatabase(test.options);
  const parts = await openEngine(db);
  const users = { [carol]: 100, [dave]: 50, ...(version === "12" ? {} : { [alice.userId]: 100 }) };
  const roomId = await parts.engine.createRoom(alice, {
    preset: "public_chat",
    roomVersion: version,
    powerLevelContentOverride: { users },
  });
  return { test, roomId, builder: await RoomBuilder.from(parts, roomId) };
}

function buildGraph(
  builder: RoomBuilder,
  { list, users, first }: { list: readonly Step[]; users: object; first: ReceivedEvent },
): ReceivedEvent[] {
  const made: ReceivedEvent[] = [];
  for (const userId of PEOPLE) {
    made.push(builder.member(userId, "join", { prev: made.length === 0 ? [first] : made.slice(-1) }));
  }
  for (const { kind, by, target, parents, level } of list) {
    const prev = [...new Set(parents.map((back) => made[made.length - 1 - back]))].filter((event) =>
      event !== undefined
    );
    const [sender, other] = [PEOPLE[by] ?? carol, PEOPLE[target] ?? dave];
    const ends = prev.length === 0 ? made.slice(-1) : prev;
    if (kind === "message") made.push(builder.message(sender, "x", ends));
    else if (kind === "join" || kind === "leave") made.push(builder.member(sender, kind, { prev: ends }));
    else if (kind === "ban") made.push(builder.member(sender, "ban", { target: other, prev: ends }));
    else if (kind === "unban") made.push(builder.member(sender, "leave", { target: other, prev: ends }));
    else {
      const content = kind === "name" ? { name: `${made.length}` } : { users: { ...users, [other]: level } };
      const type = kind === "name" ? "m.room.name" : "m.room.power_levels";
      made.push(builder.add({ sender, type, stateKey: "", content, prev: ends }));
    }
  }
  return made;
}

/** Returns the events in another order in which parents still come before children. */
function reorder(events: readonly ReceivedEvent[], random: (below: number) => number): ReceivedEvent[] {
  const left = [...events];
  const order: ReceivedEvent[] = [];
  while (left.length > 0) {
    const waiting = new Set(left.map(({ event }) => event.eventId));
    const ready = left.filter(({ event }) => !event.prevEvents.some((id) => waiting.has(id)));
    const [next] = ready.splice(random(ready.length), 1);
    if (next === undefined) throw new Error("The graph has a cycle");
    left.splice(left.indexOf(next), 1);
    order.push(next);
  }
  return order;
}

/** What does not depend on the order: whether each event was rejected, and the state before it. */
async function judge({ events, state }: TestEngine, graph: readonly ReceivedEvent[]): Promise<unknown[]> {
  return await Promise.all(graph.map(async ({ event: { eventId } }) => {
    const stored = await events.getById(eventId);
    const before = await state.entries(stored?.stateBefore ?? 0);
    return { eventId, isRejected: stored?.isRejected, before: before.map(({ event }) => event.eventId).sort() };
  }));
}

async function receiveCopy(
  { test, roomId, graph, batchSize }: {
    test: TestDatabase;
    roomId: RoomId;
    graph: readonly ReceivedEvent[];
    batchSize: number;
  },
): Promise<{ judged: unknown[] }> {
  await using copy = await createTestDatabase("sqlite");
  if (!("sqlite" in test.options) || !("sqlite" in copy.options)) throw new Error("Not SQLite");
  await Deno.copyFile(test.options.sqlite.path, copy.options.sqlite.path);
  await using db = await openDatabase(copy.options);
  const parts = await openEngine(db);
  for (let at = 0; at < graph.length; at += batchSize) {
    const outcomes = await parts.engine.receiveEvents(roomId, graph.slice(at, at + batchSize));
    for (const { kind } of outcomes) assert.notEqual(kind, "missing");
  }
  await readRoom(await openEngine(db), roomId);
  const sorted = [...graph].sort((a, b) => a.event.eventId < b.event.eventId ? -1 : 1);
  return { judged: await judge(parts, sorted) };
}

for (const version of ["1", "2", "6", "11", "12"] as const) {
  Deno.test(`the state at each event is the same in whatever order version ${version} events come`, async () => {
    const { test, roomId, builder } = await makeRoom(version);
    await using _room = test;
    const users = { [carol]: 100, [dave]: 50, ...(version === "12" ? {} : { [alice.userId]: 100 }) };
    const first = builder.last;
    await fc.assert(
      fc.asyncProperty(steps, fc.infiniteStream(fc.nat()), async (list, stream) => {
        const graph = buildGraph(builder, { list, users, first });
        const random = (below: number) => Number(stream.next().value) % below;
        const inOrder = await receiveCopy({ test, roomId, graph, batchSize: 100 });
        const otherwise = await receiveCopy({ test, roomId, graph: reorder(graph, random), batchSize: 1 });
        assert.deepEqual(otherwise.judged, inOrder.judged);
      }),
      { numRuns: 12 },
    );
  });
}
