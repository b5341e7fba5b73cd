/** Deleting rooms: which are to go, and step by step all that is kept of one. */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { deleteSearchDocuments } from "./search.ts";
import { inList, raw, sql } from "./sql.ts";

/** A room to delete. */
export interface RoomPurge {
  readonly roomNid: number;
  readonly roomId: RoomId;
}

/** Tables whose rows belong to a room by its numeric id, but for those of its events and the room itself. Sorted. */
const BY_NID = [
  "current_state",
  "event_prev_missing",
  "forward_extremities",
  "local_memberships",
  "member_names",
  "open_rooms",
  "partial_rooms",
  "pending_device_lists",
  "receipts",
  "room_notifications",
  "room_servers",
  "sliding_rooms",
  "state_deltas",
  "sticky_events",
  "thread_subscriptions",
  "threads",
  "user_notifications",
  "user_redactions",
] as const;
/** The same by its id. Reports stay, which are about people, and backups of keys, which are their owners'. Sorted. */
const BY_ID = ["account_data", "appservice_room_list", "delayed_events", "guest_evictions", "room_aliases"] as const;
/** Tables whose rows belong to an event. Sorted. */
export const BY_EVENT = [
  "event_auth",
  "event_children_told",
  "event_json",
  "event_parents",
  "event_relations",
] as const;

const MAX_USERS = 100_000;

/** Notes that a room is to be deleted at a time, unless somebody here remembers it. */
export async function insertRoomPurge(
  tx: Tx,
  { roomNid, roomId, dueTs }: RoomPurge & { readonly dueTs: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO room_purges (room_nid, room_id, due_ts, is_started)
    SELECT ${roomNid}, CAST(${roomId} AS TEXT), CAST(${dueTs} AS BIGINT), ${false}
    WHERE NOT EXISTS (SELECT 1 FROM local_memberships WHERE room_nid = ${roomNid} AND NOT forgotten)
    ON CONFLICT (room_nid) DO UPDATE SET due_ts = excluded.due_ts`);
}

/** Returns rooms that are to be deleted by now, those that were begun first. */
export async function selectDuePurges(db: Db, { now, limit }: { now: number; limit: number }): Promise<RoomPurge[]> {
  const rows = await db.all<{ room_nid: number; room_id: RoomId }>(sql`
    SELECT room_nid, room_id FROM room_purges WHERE is_started OR due_ts <= ${now}
    ORDER BY is_started DESC, due_ts LIMIT ${limit}`);
  return rows.map((row) => ({ roomNid: row.room_nid, roomId: row.room_id }));
}

/** Tells whether the deletion of a room has begun and not ended. */
export async function isBeingPurged(db: Db, roomId: RoomId): Promise<boolean> {
  const row = await db.get<{ room_nid: number }>(sql`
    SELECT room_nid FROM room_purges WHERE room_id = ${roomId} AND is_started LIMIT 1`);
  return row !== null;
}

/** Begins the deletion; false, and the room stays, when somebody here remembers it. Returns who was in it. */
export async function beginPurge(tx: Tx, { roomNid }: RoomPurge): Promise<UserId[] | false> {
  const rows = await tx.all<{ user_id: UserId; forgotten: boolean }>(sql`
    SELECT user_id, forgotten FROM local_memberships WHERE room_nid = ${roomNid} LIMIT ${MAX_USERS}`);
  if (rows.some(({ forgotten }) => !forgotten)) {
    await tx.run(sql`DELETE FROM room_purges WHERE room_nid = ${roomNid}`);
    return false;
  }
  await tx.run(sql`UPDATE room_purges SET is_started = ${true} WHERE room_nid = ${roomNid}`);
  return rows.map((row) => row.user_id);
}

/**
 * Begins the deletion of a room that an administrator wants gone; false, and the room stays, while a local user is joined
 * and it is not forced. From here on nobody is or was in the room. Returns who was.
 */
export async function beginOrderedPurge(
  tx: Tx,
  { roomNid, roomId, isForced }: RoomPurge & { readonly isForced: boolean },
): Promise<UserId[] | false> {
  const rows = await tx.all<{ user_id: UserId; membership: string }>(sql`
    SELECT user_id, membership FROM local_memberships WHERE room_nid = ${roomNid} LIMIT ${MAX_USERS}`);
  if (!isForced && rows.some(({ membership }) => membership === "join")) return false;
  await tx.run(sql`
    INSERT INTO room_purges (room_nid, room_id, due_ts, is_started) VALUES (${roomNid}, ${roomId}, 0, ${true})
    ON CONFLICT (room_nid) DO UPDATE SET is_started = excluded.is_started`);
  await tx.run(sql`DELETE FROM local_memberships WHERE room_nid = ${roomNid}`);
  return rows.map((row) => row.user_id);
}

/** Deletes some of a room's events with what belongs to them; returns how many. */
export async function purgeEvents(
  tx: Tx,
  { roomNid, limit }: { roomNid: number; limit: number },
): Promise<number> {
  const rows = await tx.all<{ event_nid: number; event_id: EventId; position: number | null }>(sql`
    SELECT event_nid, event_id, position FROM events WHERE room_nid = ${roomNid} LIMIT ${limit}`);
  if (rows.length === 0) return 0;
  const nids = rows.map((row) => row.event_nid);
  // First, so that who writes of an event at this moment is waited for.
  await tx.run(sql`DELETE FROM events WHERE ${inList(sql`event_nid`, nids)}`);
  await deleteSearchDocuments(tx, rows.flatMap(({ position }) => position ?? []));
  // Each has its parents in the room: it goes with the last of them.
  await tx.run(sql`DELETE FROM event_prev WHERE ${inList(sql`prev_nid`, nids)}`);
  for (const table of BY_EVENT) {
    await tx.run(sql`DELETE FROM ${raw(table)} WHERE ${inList(sql`event_nid`, nids)}`);
  }
  await tx.run(sql`DELETE FROM redactions WHERE ${inList(sql`redaction_nid`, nids)}`);
  await tx.run(sql`DELETE FROM relayed_events WHERE ${inList(sql`event_id`, rows.map((row) => row.event_id))}`);
  return rows.length;
}

/** Deletes some nodes of a room's states; returns how many. */
export async function purgeStateNodes(
  tx: Tx,
  { roomNid, limit }: { roomNid: number; limit: number },
): Promise<number> {
  return await tx.run(sql`
    DELETE FROM state_nodes WHERE node_id IN (
      SELECT node_id FROM state_nodes WHERE room_nid = ${roomNid} LIMIT ${limit}
    )`);
}

/** Deletes what is left of a room without events, and the room. */
export async function finishPurge(tx: Tx, { roomNid, roomId }: RoomPurge): Promise<void> {
  // First, so that who writes of the room at this moment is waited for.
  await tx.run(sql`DELETE FROM rooms WHERE room_nid = ${roomNid}`);
  await tx.run(sql`
    DELETE FROM federation_outbox_extra
    WHERE position IN (SELECT position FROM federation_outbox WHERE room_nid = ${roomNid})`);
  await tx.run(sql`DELETE FROM federation_outbox WHERE room_nid = ${roomNid}`);
  for (const table of BY_NID) await tx.run(sql`DELETE FROM ${raw(table)} WHERE room_nid = ${roomNid}`);
  for (const table of BY_ID) await tx.run(sql`DELETE FROM ${raw(table)} WHERE room_id = ${roomId}`);
  await tx.run(sql`DELETE FROM room_purges WHERE room_nid = ${roomNid}`);
}
