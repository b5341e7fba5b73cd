/** Rooms whose state lacks members, because the rest of a join is still being fetched. */
import { parseServerName, type RoomId, type ServerName } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A room with partial state. */
export interface PartialRoom {
  readonly joinNid: number;
  readonly servers: readonly ServerName[];
}

const MAX_ROOMS = 100_000;

/**
 * Notes that a room's state lacks members. When it did so before, the states of all events since the first join do, among
 * which may be what the new join builds on.
 */
export async function upsertPartialRoom(
  tx: Tx,
  { roomNid, joinNid, servers }: PartialRoom & { roomNid: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO partial_rooms (room_nid, join_nid, servers, completed_position)
    VALUES (${roomNid}, ${joinNid}, ${JSON.stringify(servers)}, NULL)
    ON CONFLICT (room_nid) DO UPDATE
    SET join_nid = CASE WHEN partial_rooms.completed_position IS NULL THEN partial_rooms.join_nid
        ELSE excluded.join_nid END,
      servers = excluded.servers, completed_position = NULL`);
}

/** Returns what is known of a room whose state lacks members; null for every other room. */
export async function selectPartialRoom(db: Db, roomNid: number): Promise<PartialRoom | null> {
  const row = await db.get<{ join_nid: number; servers: string }>(sql`
    SELECT join_nid, servers FROM partial_rooms WHERE room_nid = ${roomNid} AND completed_position IS NULL`);
  return row === null ? null : { joinNid: row.join_nid, servers: serversIn(row.servers) };
}

/** Returns the rooms whose state lacks members. */
export async function selectPartialRoomIds(db: Db): Promise<RoomId[]> {
  const rows = await db.all<{ room_id: RoomId }>(sql`
    SELECT r.room_id FROM partial_rooms p JOIN rooms r ON r.room_nid = p.room_nid
    WHERE p.completed_position IS NULL LIMIT ${MAX_ROOMS}`);
  return rows.map((row) => row.room_id);
}

/** Returns, by numeric id, the rooms whose state lacks members (null) or became whole after a position (where). */
export async function selectPartialSince(db: Db, after: number): Promise<Map<number, number | null>> {
  const rows = await db.all<{ room_nid: number; completed_position: number | null }>(sql`
    SELECT room_nid, completed_position FROM partial_rooms
    WHERE completed_position IS NULL OR completed_position > ${after} LIMIT ${MAX_ROOMS}`);
  return new Map(rows.map((row) => [row.room_nid, row.completed_position]));
}

/** Notes that a room's state is whole from a position on. */
export async function completePartialRoom(
  tx: Tx,
  { roomNid, position }: { roomNid: number; position: number },
): Promise<void> {
  await tx.run(sql`UPDATE partial_rooms SET completed_position = ${position} WHERE room_nid = ${roomNid}`);
}

/** Returns the events of a room that came with the join or after it, by their numeric ids, in the order they came. */
export async function selectEventsSinceJoin(
  db: Db,
  { roomNid, joinNid }: { roomNid: number; joinNid: number },
): Promise<number[]> {
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM events
    WHERE room_nid = ${roomNid} AND position >= (SELECT position FROM events WHERE event_nid = ${joinNid})
    ORDER BY position`);
  return rows.map((row) => row.event_nid);
}

/** Gives events the states that they have now that these are known. */
export async function updateEventStates(
  tx: Tx,
  events: readonly {
    readonly nid: number;
    readonly isRejected: boolean;
    readonly stateBefore: number | null;
    readonly stateAfter: number | null;
  }[],
): Promise<void> {
  await tx.runMany(events.map(({ nid, isRejected, stateBefore, stateAfter }) =>
    sql`
    UPDATE events SET is_rejected = ${isRejected}, state_before = ${stateBefore}, state_after = ${stateAfter}
    WHERE event_nid = ${nid}`
  ));
}

function serversIn(text: string): ServerName[] {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) return [];
  return list.map((name) => typeof name === "string" ? parseServerName(name) : null).filter((name) => name !== null);
}
