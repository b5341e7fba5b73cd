/**
 * However a room's history goes, its servers agree in the end: several servers act at once, with partitions, lost, late,
 * doubled and disordered transactions, restarts, bans, invitations, knocks and power levels that race, joins that a space
 * lets in, and servers that do not keep to the rules.
 *
 * Once everything has arrived, all servers in the room have the same event for each key of the state and the same end of
 * the graph, and none takes an event for accepted that another one rejected.
 *
 * `MODEL_RUNS` is how many histories each room version gets; `MODEL_SEED` repeats the one with that seed.
 */
import assert from "node:assert/strict";
import type { EventId } from "../../src/protocol/ids.ts";
import type { RoomVersionId } from "../../src/protocol/room_versions.ts";
import { sql } from "../../src/storage/sql.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { type History, type ModelUser, startHistory, takeStep } from "./history.ts";
import { SeededRandom } from "./random.ts";
import type { ModelServer } from "./server.ts";
import { ModelNetwork } from "./servers.ts";

const VERSIONS: readonly RoomVersionId[] = ["1", "2", "6", "10", "11", "12"];
const SERVERS = 3;
const MIN_STEPS = 10;
const MAX_STEPS = 60;
const START_MS = 1_800_000_000_000;
/** A history costs a good tenth of a second, so that continuous integration can afford only a few. */
const RUNS = Number(Deno.env.get("MODEL_RUNS") ?? 12);
const MAX_EVENTS = 10_000;
const oneSeed = Deno.env.get("MODEL_SEED");
const firstSeed = oneSeed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(oneSeed);
const runs = oneSeed === undefined ? RUNS : 1;

for (const version of VERSIONS) {
  Deno.test(`the servers of a room of version ${version} agree in the end, seed ${firstSeed} and on`, async () => {
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) await runHistory(seed, version);
  });
}

/** Runs one history. All of it follows from the seed: the time and the ids too. */
async function runHistory(seed: number, version: RoomVersionId): Promise<void> {
  const random = new SeededRandom(seed);
  const clock = new FakeClock(START_MS);
  const ids = new SeededRandom(seed + 1);
  await using network = await ModelNetwork.start(SERVERS, { clock, randomText: (length) => ids.text(length) });
  const history = await startHistory(network, { clock, random, version });
  try {
    const steps = MIN_STEPS + random.int(MAX_STEPS - MIN_STEPS);
    for (let step = 0; step < steps; step++) await takeStep(history);
    network.heal();
    await network.settle();
    for (const roomId of [history.roomId, history.spaceId]) {
      await comeToRest({ ...history, roomId });
      await assertAgreement({ ...history, roomId });
    }
  } catch (error) {
    const reason = error instanceof Error ? error.stack ?? error.message : String(error);
    throw new Error(`MODEL_SEED=${seed}, version ${version}:\n${history.trace.join("\n")}\n\n${reason}`);
  }
}

/** Lets everything arrive, and each server say something last. */
async function comeToRest(history: History): Promise<void> {
  const { network, roomId, trace } = history;
  // What only one server has accepted comes to the others with what it says next.
  for (let round = 0; round < 2; round++) {
    for (const server of network.servers) {
      const speaker = await speakerOf(history, server);
      if (speaker === null) continue;
      const event = { roomId, type: "org.example.last", stateKey: null, content: { round }, txnId: null };
      const sent = await server.parts.engine.sendEvent(speaker.requester, event);
      trace.push(`${speaker.id} says last: ${sent}`);
      await network.settle();
    }
  }
}

/**
 * Returns a user of the server who is in the room in the eyes of all. Without one the server is on its own: what it says is
 * soft-failed by others, or it takes itself for put out and hears nothing. The protocol has no remedy for either.
 */
async function speakerOf({ network, users, roomId }: History, server: ModelServer): Promise<ModelUser | null> {
  const own = new Set(users.filter((user) => user.server === server));
  for (const { parts: { engine, state } } of network.servers) {
    if (server.parts.engine !== engine && (await engine.localJoinedUsers(roomId)).size === 0) continue;
    const root = (await engine.head(roomId))?.stateRoot ?? 0;
    for (const user of own) {
      const member = await state.get(root, "m.room.member", user.id);
      if (member?.event.content["membership"] !== "join") own.delete(user);
    }
  }
  return [...own][0] ?? null;
}

interface View {
  readonly server: ModelServer;
  readonly state: ReadonlyMap<string, EventId>;
  readonly extremities: readonly EventId[];
  readonly verdicts: ReadonlyMap<EventId, boolean>;
}

async function assertAgreement(history: History): Promise<void> {
  const [first, ...others] = history.network.servers;
  if (first === undefined) throw new Error("No servers");
  const expected = await view(history, first);
  for (const server of others) {
    if (await speakerOf(history, server) === null) continue;
    const actual = await view(history, server);
    assertSameVerdicts(expected, actual);
    assert.deepEqual(sorted(actual.state), sorted(expected.state), `the state at ${server.name}`);
    assert.deepEqual(actual.extremities, expected.extremities, `the ends of the graph at ${server.name}`);
  }
}

function assertSameVerdicts(expected: View, actual: View): void {
  for (const [eventId, isRejected] of actual.verdicts) {
    const verdict = expected.verdicts.get(eventId);
    if (verdict === undefined) continue;
    assert.equal(
      isRejected,
      verdict,
      `${actual.server.name} takes ${eventId} for rejected, or ${expected.server.name}`,
    );
  }
}

async function view({ roomId }: History, server: ModelServer): Promise<View> {
  const { db, events, engine, state } = server.parts;
  const head = await engine.head(roomId);
  assert.ok(head !== null, `${server.name} knows the room`);
  const entries = await state.entries(head.stateRoot);
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM events WHERE room_nid = ${head.roomNid} AND position IS NOT NULL LIMIT ${MAX_EVENTS}`);
  const placed = await events.byNid(rows.map(({ event_nid }) => event_nid));
  return {
    server,
    state: new Map(entries.map(({ event }) => [`${event.type}|${event.stateKey}`, event.eventId])),
    extremities: head.extremities.map(({ eventId }) => eventId).sort(),
    verdicts: new Map([...placed.values()].map(({ event, isRejected }) => [event.eventId, isRejected])),
  };
}

function sorted(state: ReadonlyMap<string, EventId>): (readonly [string, EventId])[] {
  return [...state].sort(([a], [b]) => a < b ? -1 : 1);
}
