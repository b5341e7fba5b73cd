/** Holes in the history that other servers leave, as clients see them. */
import assert from "node:assert/strict";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { RoomId } from "../../src/protocol/ids.ts";
import { path } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { startResident } from "./resident.ts";
import { make, openRoom, send, wire } from "./sending.ts";

// deno-lint-ignore no-explicit-any -- answers are checked where they are used
type Json = any;

/** More events than arrive at once. */
const BRANCH = 110;

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

testEachServer("a long branch that comes last does not hide a deeper one", async (database) => {
  await using resident = await startResident(database);
  const { roomId, alice } = await openRoom(resident);
  const head = await resident.hs.parts.rooms.engine.head(roomId as RoomId);
  const [start] = head?.extremities ?? [];
  assert.ok(start !== undefined);
  const branch: RoomEvent[] = [];
  for (let index = 0; index < BRANCH; index++) {
    const parent = branch.at(-1);
    branch.push(
      await make(resident, {
        ...{ roomId, content: { body: `bob ${index}` }, prev: [parent?.eventId ?? start.eventId] },
        depth: (parent?.depth ?? start.depth) + 1,
      }),
    );
  }
  const sent: string[] = [];
  for (let index = 0; index < BRANCH + 20; index++) sent.push(await alice.sendText(roomId, `alice ${index}`));
  for (let at = 0; at < BRANCH; at += 50) await send(resident, { pdus: branch.slice(at, at + 50).map(wire) });
  const shown = new Set<string>();
  let page: Json = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 100 });
  while (page.chunk.length > 0) {
    for (const { event_id: id } of page.chunk) shown.add(id);
    page = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 100, from: page.end });
  }
  const missing = [...sent, ...branch.map(({ eventId }) => eventId)].filter((id) => !shown.has(id));
  assert.deepEqual(missing, []);
});

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
