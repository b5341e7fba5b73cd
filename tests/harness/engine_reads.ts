/** Reading back what the engine wrote, from the database and from the engine's own view, which must agree. */
import assert from "node:assert/strict";
import type { RoomEvent } from "../../src/protocol/event.ts";
import type { EventId, RoomId, UserId } from "../../src/protocol/ids.ts";
import { selectForwardExtremities, selectLocalJoinedUsers, selectRoomById } from "../../src/storage/rooms.ts";
import { sql } from "../../src/storage/sql.ts";
import type { TestEngine } from "./engine.ts";

/** A room as it is in the database. */
export interface RoomReading {
  /** Accepted events by position. */
  readonly timeline: readonly RoomEvent[];
  /** Current state by `type|state_key`. */
  readonly state: ReadonlyMap<string, RoomEvent>;
  readonly extremities: readonly EventId[];
  readonly joined: readonly UserId[];
  readonly joinedMembers: number;
}

/** Reads a room and checks that its tables, its state tree and the engine's copy say the same. */
export async function readRoom(parts: TestEngine, roomId: RoomId): Promise<RoomReading> {
  const { db, events } = parts;
  const row = await selectRoomById(db, roomId);
  assert.ok(row, "the room exists");
  const ends = await selectForwardExtremities(db, row.roomNid);
  const nids = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM events WHERE room_nid = ${row.roomNid} AND position > 0 ORDER BY position LIMIT 10000`);
  const stored = await events.byNid(nids.map(({ event_nid }) => event_nid));
  const timeline = nids.flatMap(({ event_nid }) => stored.get(event_nid)?.event ?? []);
  const state = await readState(parts, { roomNid: row.roomNid, root: row.stateRoot });
  const head = await parts.engine.head(roomId);
  assert.equal(head?.stateRoot, row.stateRoot);
  assert.equal(head?.lastPosition, row.lastPosition);
  assert.deepEqual(head?.extremities.map(({ eventId }) => eventId).sort(), ends.map(({ eventId }) => eventId).sort());
  const joined = (await selectLocalJoinedUsers(db, row.roomNid)).sort();
  assert.deepEqual([...await parts.engine.localJoinedUsers(roomId)].sort(), joined);
  const members = [...state.values()].filter((event) => event.content["membership"] === "join");
  assert.equal(row.joinedMembers, members.filter(({ type }) => type === "m.room.member").length);
  return { timeline, state, extremities: ends.map(({ eventId }) => eventId), joined, joinedMembers: row.joinedMembers };
}

async function readState(
  { db, state, events }: TestEngine,
  { roomNid, root }: { roomNid: number; root: number },
): Promise<Map<string, RoomEvent>> {
  const fromTree = await state.entries(root);
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM current_state WHERE room_nid = ${roomNid} LIMIT 10000`);
  const sorted = (list: readonly number[]) => [...list].sort((a, b) => a - b);
  assert.deepEqual(sorted(fromTree.map(({ nid }) => nid)), sorted(rows.map(({ event_nid }) => event_nid)));
  await assertDeltasLeadTo(db, { roomNid, nids: sorted(rows.map(({ event_nid }) => event_nid)) });
  const found = await events.byNid(rows.map(({ event_nid }) => event_nid));
  return new Map([...found.values()].map(({ event }) => [`${event.type}|${event.stateKey}`, event]));
}

/** The history of the state must add up to the current state. */
async function assertDeltasLeadTo(
  db: TestEngine["db"],
  { roomNid, nids }: { roomNid: number; nids: readonly number[] },
): Promise<void> {
  const deltas = await db.all<{ state_key_nid: number; event_nid: number | null; prev_event_nid: number | null }>(sql`
    SELECT state_key_nid, event_nid, prev_event_nid FROM state_deltas WHERE room_nid = ${roomNid}
    ORDER BY position LIMIT 10000`);
  const state = new Map<number, number>();
  for (const delta of deltas) {
    assert.equal(state.get(delta.state_key_nid) ?? null, delta.prev_event_nid);
    if (delta.event_nid === null) state.delete(delta.state_key_nid);
    else state.set(delta.state_key_nid, delta.event_nid);
  }
  assert.deepEqual([...state.values()].sort((a, b) => a - b), nids);
}
