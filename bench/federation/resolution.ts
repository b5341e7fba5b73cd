/**
 * Resolving two states of 10,000 entries that differ in 100 keys, by v2 and by v2.1: from the arrival of the event that
 * joins the branches to its commit. Once with everything to be read from the database, once with everything in memory.
 *
 * Each branch has changed the power levels, banned 33 members and renamed 66 others in its own way.
 */
import { buildEvent, type BuiltEvent } from "../../src/protocol/event_builder.ts";
import type { RoomId, UserId } from "../../src/protocol/ids.ts";
import type { Signer } from "../../src/protocol/signatures.ts";
import { openDatabase } from "../../src/storage/open_database.ts";
import { openEngine, type TestEngine, testRequester } from "../../tests/harness/engine.ts";
import { signerOf } from "../../tests/federation/environment.ts";
import { endOf, makeChain, receive, type Said } from "./events.ts";
import { measure, median, openBenchDatabase, tell, type Took } from "./measure.ts";

const ENTRIES = 10_000;
const CONFLICTS = 100;
const RUNS = 5;
const TARGET_MS = 100;
const CREATOR = testRequester("alice");
const SIGNER: Signer = signerOf("bench.test");

const memberOf = (index: number) => `@user${index}:bench.test` as UserId;

/** What one branch changes. */
async function changes(
  { engine, state }: TestEngine,
  { roomId, side }: { roomId: RoomId; side: number },
): Promise<Said[]> {
  const head = await engine.head(roomId);
  const levels = await state.get(head?.stateRoot ?? 0, "m.room.power_levels", "");
  // Twice, so that the states rest on events which neither of them has.
  const said: Said[] = [20, 10].map((invite) => ({
    ...{ type: "m.room.power_levels", sender: CREATOR.userId, stateKey: "" },
    content: { ...levels?.event.content, invite: invite + side },
  }));
  for (let index = 0; index < CONFLICTS - 1; index++) {
    const [type, userId] = ["m.room.member", memberOf(index * 97)];
    said.push(
      index % 3 === 0
        ? { type, sender: CREATOR.userId, stateKey: userId, content: { membership: "ban", reason: `${side}` } }
        : { type, sender: userId, stateKey: userId, content: { membership: "join", displayname: `User ${side}` } },
    );
  }
  return said;
}

/** Makes the room with its two branches, and the event that joins them. */
async function makeFork(parts: TestEngine, version: string): Promise<{ roomId: RoomId; last: BuiltEvent }> {
  const { engine, state } = parts;
  const roomId = await engine.createRoom(CREATOR, { preset: "public_chat", roomVersion: version });
  const first = await engine.head(roomId);
  const missing = ENTRIES - (await state.entryNids(first?.stateRoot ?? 0)).length;
  const joins = Array.from({ length: missing }, (_, index): Said => {
    const userId = memberOf(index);
    return { type: "m.room.member", sender: userId, stateKey: userId, content: { membership: "join" } };
  });
  const joined = await makeChain(parts, { roomId, said: joins, signer: SIGNER, ts: 1_000 });
  await receive(parts, { roomId, events: joined });
  const from = await endOf(parts, roomId);
  const branches: BuiltEvent[][] = [];
  for (const side of [0, 1]) {
    branches.push(
      await makeChain(parts, {
        roomId,
        from,
        said: await changes(parts, { roomId, side }),
        signer: SIGNER,
        ts: 1_000_000,
      }),
    );
  }
  for (const branch of branches) await receive(parts, { roomId, events: branch });
  const message = { type: "m.room.message", sender: CREATOR.userId, stateKey: null, content: { body: "Hello" } };
  const [built] = await makeChain(parts, { roomId, from, said: [message], signer: SIGNER, ts: 2_000_000 });
  const ends = branches.map((branch) => branch.at(-1)?.event.eventId).filter((id) => id !== undefined);
  if (built === undefined) throw new Error("The last event was not made");
  const { event } = built;
  const { rules, sender, type, content, authEvents } = event;
  const draft = { rules, roomId, sender, type, content, authEvents, prevEvents: ends, depth: event.depth + CONFLICTS };
  return { roomId, last: buildEvent({ ...draft, originServerTs: event.originServerTs, ...SIGNER }) };
}

/** Makes sure that there is as much to resolve as is said. */
async function assertFork({ events, trees, state }: TestEngine, { event }: BuiltEvent): Promise<void> {
  const [a, b] = [...(await events.byId(event.prevEvents)).values()].map(({ stateAfter }) => stateAfter ?? 0);
  if (a === undefined || b === undefined) throw new Error("There are not two branches");
  const sizes = await Promise.all([a, b].map(async (root) => (await state.entryNids(root)).length));
  const conflicts = (await trees.diff(a, b)).length;
  if (sizes.some((size) => size !== ENTRIES) || conflicts !== CONFLICTS) {
    throw new Error(`States of ${sizes.join(" and ")} entries with ${conflicts} conflicts`);
  }
}

/** Reads what the resolution will need, and everything else of both states. */
async function warm({ events, trees, keys }: TestEngine, last: BuiltEvent): Promise<void> {
  for (const end of (await events.byId(last.event.prevEvents)).values()) {
    for (const half of ["members", "others"] as const) {
      const entries = await trees.entries(end.stateAfter ?? 0, half);
      await events.byNid(entries.map(([, nid]) => nid));
      await keys.keysOf(entries.map(([nid]) => nid));
    }
  }
}

/** Receives the last event on a copy of the database, with empty caches or with full ones. */
async function run(
  source: string,
  { roomId, last, isWarm }: { roomId: RoomId; last: BuiltEvent; isWarm: boolean },
): Promise<Took> {
  await using database = await openBenchDatabase();
  await Deno.copyFile(source, `${database.folder}/homeserver.db`);
  const db = await openDatabase(database.options);
  try {
    const parts = await openEngine(db);
    if (isWarm) await warm(parts, last);
    return await measure(() => receive(parts, { roomId, events: [last] }));
  } finally {
    await db[Symbol.asyncDispose]();
  }
}

for (const [version, name] of [["11", "v2"], ["12", "v2.1"]] as const) {
  await using database = await openBenchDatabase();
  const db = await openDatabase(database.options);
  const parts = await openEngine(db);
  const fork = await makeFork(parts, version);
  await assertFork(parts, fork.last);
  await db[Symbol.asyncDispose]();
  const source = `${database.folder}/homeserver.db`;
  for (const isWarm of [false, true]) {
    const took: Took[] = [];
    for (let time = 0; time < RUNS; time++) took.push(await run(source, { ...fork, isWarm }));
    const title = `resolution ${name}, 2 x ${ENTRIES} entries, ${isWarm ? "in memory" : "from the database"}`;
    tell(title, { unit: "ms", value: median(took.map(({ wallMs }) => wallMs)), target: TARGET_MS });
    tell("  CPU", { unit: "ms", value: median(took.map(({ cpuMs }) => cpuMs)) });
    tell("  slowest", { unit: "ms", value: Math.max(...took.map(({ wallMs }) => wallMs)) });
  }
}
Deno.exit(0);
