/** Holes in the history that other servers leave, as clients see them. */
import assert from "node:assert/strict";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { RoomId } from "../../src/protocol/ids.ts";
import { path } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { type Resident, startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

// deno-lint-ignore no-explicit-any -- answers are checked where they are used
type Json = any;

/** More events than arrive at once. */
const BRANCH = 110;
/** More events than are looked at for the shallowest. */
const LONG_BRANCH = 510;

testEachServer("a timeline begins behind a hole, and says that there is more before it", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const filter = JSON.stringify({ room: { timeline: { limit: 20 } } });
  const { next_batch: since } = await alice.get("/sync", { filter });
  await alice.sendText(roomId, "before the hole");
  const { rooms } = resident.hs.parts;
  const root = (await rooms.engine.head(roomId as never))?.stateRoot ?? 0;
  const stateIds = (await rooms.state.entries(root)).map(({ event }) => event.eventId);
  const hidden = await make(resident, { roomId, content: { body: "hidden" }, depth: 50 });
  const second = await make(resident, { roomId, content: { body: "second" }, prev: [hidden.eventId], depth: 51 });
  const third = await make(resident, { roomId, content: { body: "third" }, prev: [second.eventId], depth: 52 });
  const keys = resident.peer.handler;
  resident.peer.handler = (request) => {
    if (request.url.includes("/get_missing_events/")) return { json: { events: [wire(second)] } };
    if (request.url.includes("/state_ids/")) return { json: { pdu_ids: stateIds, auth_chain_ids: [] } };
    if (request.url.includes("/event/")) return { json: { origin: "x", origin_server_ts: 1, pdus: [wire(hidden)] } };
    return keys(request);
  };
  assert.deepEqual(await send(resident, { pdus: [wire(third)] }), { [third.eventId]: {} });

  const sync = await alice.get("/sync", { since, filter });
  const { timeline } = sync.rooms.join[roomId];
  assert.equal(timeline.limited, true);
  assert.deepEqual(timeline.events.map(({ content }: Json) => content.body), ["second", "third"]);
  // The other messages are before it.
  const page = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", from: timeline.prev_batch, limit: "20" });
  assert.ok(page.chunk.some(({ content }: Json) => content.body === "before the hole"));

  const later = await make(resident, { roomId, content: { body: "later" }, prev: [third.eventId], depth: 53 });
  await send(resident, { pdus: [wire(later)] });
  const next = (await alice.get("/sync", { since: sync.next_batch, filter })).rooms.join[roomId].timeline;
  assert.deepEqual([next.limited, next.events.map(({ content }: Json) => content.body)], [false, ["later"]]);
});

testEachServer("an old branch that comes last does not take the place of the latest messages", async (database) => {
  await using resident = await startResident(database);
  const override = { events: { "m.room.name": 0 } };
  const { roomId, alice } = await openRoom(resident, { power_level_content_override: override });
  const name = await make(resident, {
    roomId,
    type: "m.room.name",
    stateKey: "",
    content: { name: "From the branch" },
  });
  await alice.sendText(roomId, "one");
  const last = await alice.sendText(roomId, "two");
  await send(resident, { pdus: [wire(name)] });
  const filter = JSON.stringify({ room: { timeline: { limit: 1 } } });
  const { timeline, state } = (await alice.get("/sync", { filter })).rooms.join[roomId];
  assert.deepEqual(timeline.events.map(({ event_id: id }: Json) => id), [last]);
  assert.ok(state.events.some(({ event_id: id }: Json) => id === name.eventId), "the branch changed the state");
  const page = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", from: timeline.prev_batch, limit: "3" });
  const ids = page.chunk.map(({ event_id: id }: Json) => id);
  assert.equal(ids.length, new Set(ids).size);
  assert.ok(ids.includes(name.eventId) && !ids.includes(last));
});

/** Two branches of a room, too long to look at at once, of which the other server's comes last. */
interface Branches {
  readonly alice: Awaited<ReturnType<typeof openRoom>>["alice"];
  readonly roomId: string;
  /** A place in the sync stream within the first branch. */
  readonly since: string;
  /** The events before that place. */
  readonly before: readonly string[];
  /** The events after it. */
  readonly after: readonly string[];
}

async function growBranches(resident: Resident, sizes: { alice: number; bob: number }): Promise<Branches> {
  const { roomId, alice } = await openRoom(resident);
  const head = await resident.hs.parts.rooms.engine.head(roomId as RoomId);
  const [start] = head?.extremities ?? [];
  assert.ok(start !== undefined);
  const branch: RoomEvent[] = [];
  for (let index = 0; index < sizes.bob; index++) {
    const parent = branch.at(-1);
    branch.push(
      await make(resident, {
        ...{ roomId, content: { body: `bob ${index}` }, prev: [parent?.eventId ?? start.eventId] },
        depth: (parent?.depth ?? start.depth) + 1,
      }),
    );
  }
  const before: string[] = [];
  for (let index = 0; index < 10; index++) before.push(await alice.sendText(roomId, `alice before ${index}`));
  const { next_batch: since } = await alice.get("/sync");
  const after: string[] = [];
  for (let index = 10; index < sizes.alice; index++) after.push(await alice.sendText(roomId, `alice ${index}`));
  for (let at = 0; at < branch.length; at += 50) await send(resident, { pdus: branch.slice(at, at + 50).map(wire) });
  return { alice, roomId, since, before, after: [...after, ...branch.map(({ eventId }) => eventId)] };
}

/** Returns the ids of all events that `/messages` shows, page after page. */
async function walk({ alice, roomId }: Branches, query: { dir: string; from?: string }): Promise<string[]> {
  const shown: string[] = [];
  let page: Json = await alice.get(path`/rooms/${roomId}/messages`, { limit: 100, ...query });
  while (page.chunk.length > 0) {
    for (const { event_id: id } of page.chunk) shown.push(id);
    page = await alice.get(path`/rooms/${roomId}/messages`, { ...query, limit: 100, from: page.end });
  }
  return shown;
}

testEachServer("a long branch that comes last does not hide a deeper one", async (database) => {
  await using resident = await startResident(database);
  const branches = await growBranches(resident, { alice: BRANCH + 20, bob: BRANCH });
  const shown = new Set(await walk(branches, { dir: "b" }));
  assert.deepEqual([...branches.before, ...branches.after].filter((id) => !shown.has(id)), []);
});

testEachServer(
  "going on from a sync, a long branch does not hide a shallower one that comes last",
  async (database) => {
    await using resident = await startResident(database);
    const branches = await growBranches(resident, { alice: LONG_BRANCH, bob: 5 });
    const shown = await walk(branches, { dir: "f", from: branches.since });
    assert.deepEqual(shown.toSorted(), branches.after.toSorted());
    const { alice, roomId } = branches;
    const { next_batch: since } = await alice.get("/sync");
    const more: string[] = [];
    for (let index = 0; index < 3; index++) more.push(await alice.sendText(roomId, `more ${index}`));
    assert.deepEqual(await walk(branches, { dir: "f", from: since }), more);
  },
);

testEachServer("devices without keys of people unknown so far are no news", async (database) => {
  await using resident = await startResident(database);
  const { alice } = await openRoom(resident);
  const userId = `@bob:${resident.signer.serverName}`;
  const update = (streamId: number, keys: Record<string, unknown>) => ({
    edu_type: "m.device_list_update",
    content: { user_id: userId, device_id: "PHONE", stream_id: streamId, prev_id: [], ...keys } as never,
  });
  const { next_batch: since } = await alice.get("/sync");
  await send(resident, { edus: [update(1, {})] });
  assert.deepEqual((await alice.get("/sync", { since })).device_lists?.changed ?? [], []);
  const keys = { user_id: userId, device_id: "PHONE", algorithms: [], keys: {}, signatures: {} };
  await send(resident, { edus: [update(2, { keys })] });
  assert.deepEqual((await alice.get("/sync", { since })).device_lists.changed, [userId]);
});
