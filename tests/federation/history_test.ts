/** Holes in the history of a room are filled when somebody reads there, and single events are fetched. */
import assert from "node:assert/strict";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { EventId, RoomId } from "../../src/protocol/ids.ts";
import type { JsonObject } from "../../src/protocol/json.ts";
import { path, type TestClient } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { type Resident, startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

// deno-lint-ignore no-explicit-any
type Json = any;

/** A room in which we miss some events of the peer's. */
interface Scene {
  readonly resident: Resident;
  readonly roomId: string;
  readonly alice: TestClient;
  /** What happened in the hole, oldest first. */
  readonly missed: readonly RoomEvent[];
  /** The first event behind it. */
  readonly after: RoomEvent;
  /** What the peer was asked for, since the hole. */
  readonly asked: string[];
}

interface Options {
  readonly visibility?: string;
  readonly missed?: number;
  /** Alice syncs before the hole. */
  readonly isSynced?: boolean;
}

/** Sends 5 messages, hides some, sends one behind them, and then 5 more. */
async function openHole(
  resident: Resident,
  { visibility, missed: count = 60, isSynced = false }: Options = {},
): Promise<Scene> {
  const { roomId, alice } = await openRoom(resident);
  if (visibility !== undefined) {
    await alice.setState(roomId, { type: "m.room.history_visibility", content: { history_visibility: visibility } });
  }
  for (let index = 0; index < 5; index++) await alice.sendText(roomId, `before ${index}`);
  if (isSynced) await alice.sync();
  const missed: RoomEvent[] = [];
  const [end] = (await resident.hs.parts.rooms.engine.head(roomId as RoomId))?.extremities ?? [];
  assert(end !== undefined);
  for (let index = 0; index < count; index++) {
    const prev = [missed.at(-1)?.eventId ?? end.eventId];
    missed.push(
      await make(resident, { roomId, content: { body: `missed ${index}` }, prev, depth: end.depth + 1 + index }),
    );
  }
  const prev = [missed.at(-1)?.eventId as EventId];
  const after = await make(resident, { roomId, content: { body: "after" }, prev, depth: end.depth + 1 + count });
  const scene = { resident, roomId, alice, missed, after, asked: [] };
  // The gap is too large for `get_missing_events`, which leaves a hole behind the last few of them.
  answerHistory(scene, { gap: missed.slice(-3) });
  assert.deepEqual(await send(resident, { pdus: [wire(after)] }), { [after.eventId]: {} });
  for (let index = 0; index < 5; index++) await alice.sendText(roomId, `later ${index}`);
  scene.asked.length = 0;
  return scene;
}

/** Lets the peer tell what it knows. */
function answerHistory(scene: Scene, { gap }: { gap: readonly RoomEvent[] }): void {
  const { resident: { peer, hs }, roomId, missed, asked } = scene;
  const others = peer.handler;
  peer.handler = async (request) => {
    const { pathname, searchParams } = new URL(request.url, "https://peer.test");
    const [, , , , name = ""] = pathname.split("/");
    if (["backfill", "event", "state_ids", "state"].includes(name)) asked.push(name);
    const list = (events: readonly RoomEvent[]) => ({ json: { pdus: events.map(wire) } as JsonObject });
    if (name === "get_missing_events") return { json: { events: gap.map(wire) } };
    if (name === "backfill") {
      const parents = new Set(searchParams.getAll("v"));
      const until = missed.findIndex((event, index) => {
        const next = missed[index + 1] ?? scene.after;
        return parents.has(next.eventId) || parents.has(event.eventId);
      });
      const limit = Number(searchParams.get("limit"));
      return list(missed.slice(Math.max(0, until + 1 - limit), until + 1).reverse());
    }
    if (name === "event") {
      const wanted = decodeURIComponent(pathname.split("/")[5] ?? "");
      const found = missed.find(({ eventId }) => eventId === wanted);
      return found === undefined ? { status: 404, json: { errcode: "M_NOT_FOUND" } } : list([found]);
    }
    if (name === "state_ids") {
      const root = (await hs.parts.rooms.engine.head(roomId as RoomId))?.stateRoot ?? 0;
      const state = await hs.parts.rooms.state.entries(root);
      const ids = state.map(({ event }) => event.eventId);
      return { json: { pdu_ids: ids, auth_chain_ids: [] } };
    }
    return others(request);
  };
}

async function readAll(
  { alice, roomId }: Scene,
  { limit, from = null }: { limit: number; from?: string | null },
): Promise<string[]> {
  const texts: string[] = [];
  for (let pages = 0; pages < 40; pages++) {
    const page: Json = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit, ...(from && { from }) });
    texts.push(...page.chunk.flatMap(({ content }: Json) => content.body ?? []));
    if (page.chunk.length === 0 || page.end === undefined) return texts;
    from = page.end;
  }
  return assert.fail("The pages do not end");
}

function expected({ missed }: Scene): string[] {
  const names = (name: string, count: number) => Array.from({ length: count }, (_, index) => `${name} ${index}`);
  return [...names("before", 5), ...names("missed", missed.length), "after", ...names("later", 5)].reverse();
}

testEachServer("pages that come to a hole fill it, whatever their size", async (database) => {
  await using resident = await startResident(database);
  const scene = await openHole(resident);
  assert.deepEqual(await readAll(scene, { limit: 4 }), expected(scene));
  const fills = scene.asked.filter((name) => name === "backfill").length;
  assert(fills > 0 && fills < 5, `${fills} requests`);
  assert.deepEqual(await readAll(scene, { limit: 100 }), expected(scene));
  assert.equal(scene.asked.filter((name) => name === "backfill").length, fills, "a filled hole is asked for no more");
});

testEachServer("a page that reaches across a hole fills it", async (database) => {
  await using resident = await startResident(database);
  const scene = await openHole(resident, { missed: 40 });
  const { alice, roomId } = scene;
  const page = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 13 });
  const texts = page.chunk.flatMap(({ content }: Json) => content.body ?? []);
  assert.deepEqual(texts, expected(scene).slice(0, 13));
});

testEachServer("the token of a sync that begins behind a hole leads into it", async (database) => {
  await using resident = await startResident(database);
  const scene = await openHole(resident, { missed: 30, isSynced: true });
  const { timeline } = (await scene.alice.sync()).rooms.join[scene.roomId];
  const texts = await readAll(scene, { limit: 10, from: timeline.prev_batch });
  const shown = timeline.events.map(({ content }: Json) => content.body).reverse();
  assert.equal(timeline.limited, true);
  assert.deepEqual([...shown, ...texts], expected(scene));
});

testEachServer("history that a user may not see stays hidden when it is fetched", async (database) => {
  await using resident = await startResident(database);
  const scene = await openHole(resident, { visibility: "joined" });
  const { roomId, missed } = scene;
  const [, eve] = await resident.hs.register("zoe", "eve");
  await eve.join(roomId);
  const page = await eve.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 100 });
  assert.deepEqual(page.chunk.flatMap(({ content }: Json) => content.body ?? []), []);
  const [hidden] = missed;
  const refused = { status: 404, errcode: "M_NOT_FOUND" };
  await eve.fails("GET", path`/rooms/${roomId}/event/${hidden?.eventId ?? ""}`, refused);
  await eve.fails("GET", path`/rooms/${roomId}/context/${hidden?.eventId ?? ""}`, refused);
});

testEachServer("an event that is not here is fetched, with what surrounds it", async (database) => {
  await using resident = await startResident(database);
  const scene = await openHole(resident);
  const { alice, roomId, missed, asked } = scene;
  const target = missed[20];
  assert(target !== undefined);
  const event = await alice.get(path`/rooms/${roomId}/event/${target.eventId}`);
  assert.equal(event.content.body, "missed 20");
  assert.equal(asked[0], "event");
  const around = await alice.get(path`/rooms/${roomId}/context/${target.eventId}`, { limit: 10 });
  const before = around.events_before.map(({ content }: Json) => content.body);
  assert.deepEqual(before, ["missed 19", "missed 18", "missed 17", "missed 16", "missed 15"]);
  assert.deepEqual(await readAll(scene, { limit: 30 }), expected(scene));
});

testEachServer(
  "who is not in the room makes us ask nobody, and what nobody has is not asked for again",
  async (database) => {
    await using resident = await startResident(database);
    const scene = await openHole(resident);
    const { alice, roomId, missed, asked } = scene;
    const [stranger] = await resident.hs.register("stranger");
    const target = path`/rooms/${roomId}/event/${missed[5]?.eventId ?? ""}`;
    assert((await stranger.request("GET", target)).status >= 400);
    assert.deepEqual(asked, []);
    const made = path`/rooms/${roomId}/event/${`$${"A".repeat(43)}`}`;
    const missing = { status: 404, errcode: "M_NOT_FOUND" };
    for (let attempt = 0; attempt < 3; attempt++) await alice.fails("GET", made, missing);
    assert.deepEqual(asked, ["event"]);
  },
);
