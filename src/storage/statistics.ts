/** What users and rooms take of the disk, as far as it can be told without reading everything at once. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { inList, numberTable, sql } from "./sql.ts";

/** What a user has uploaded. */
export interface UserMedia {
  readonly userId: UserId;
  readonly displayname: string | null;
  readonly count: number;
  /** In bytes. */
  readonly length: number;
}

/** Returns what users have uploaded in a span of time, by user id after one; users without uploads are left out. */
export async function selectUserMedia(
  db: Db,
  { after, from, until, limit }: { after: string; from: number; until: number; limit: number },
): Promise<UserMedia[]> {
  const rows = await db.all<{ user_id: UserId; displayname: string | null; n: number; bytes: number | null }>(sql`
    SELECT u.user_id, p.displayname, u.n, u.bytes FROM (
      SELECT user_id, COUNT(*) AS n, CAST(SUM(length) AS BIGINT) AS bytes FROM media
      WHERE user_id > ${after} AND created_ts >= ${from} AND created_ts <= ${until}
      GROUP BY user_id ORDER BY user_id LIMIT ${limit}) AS u
    LEFT JOIN profiles p ON p.user_id = u.user_id
    ORDER BY u.user_id`);
  return rows.map((row) => ({
    userId: row.user_id,
    displayname: row.displayname,
    count: Number(row.n),
    length: row.bytes ?? 0,
  }));
}

/** Bytes of one row that belongs to a room. */
export interface RoomBytes {
  readonly roomNid: number;
  readonly bytes: number;
}

/** Returns between which positions all events are. */
export async function selectEventSpan(db: Db): Promise<{ first: number; last: number } | null> {
  const row = await db.get<{ first: number | null; last: number | null }>(sql`
    SELECT (SELECT position FROM events WHERE position IS NOT NULL ORDER BY position LIMIT 1) AS first,
      (SELECT position FROM events WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1) AS last`);
  return row === null || row.first === null || row.last === null ? null : { first: row.first, last: row.last };
}

/** Returns what the events at these positions take. */
export async function selectEventBytes(db: Db, positions: readonly number[]): Promise<RoomBytes[]> {
  return toRoomBytes(
    await db.all(sql`
    SELECT e.room_nid, LENGTH(j.json) AS bytes FROM ${numberTable(positions)} AS p
    JOIN events e ON e.position = p.value JOIN event_json j ON j.event_nid = e.event_nid`),
  );
}

/** Returns the number of the last node of a room's state; 0 where there is none. */
export async function selectLastStateNode(db: Db): Promise<number> {
  const row = await db.get<{ last: number | null }>(sql`SELECT MAX(node_id) AS last FROM state_nodes`);
  return row?.last ?? 0;
}

/** Returns what these nodes of rooms' states take. */
export async function selectStateNodeBytes(db: Db, nodeIds: readonly number[]): Promise<RoomBytes[]> {
  return toRoomBytes(
    await db.all(sql`
    SELECT n.room_nid, LENGTH(n.data) AS bytes FROM ${numberTable(nodeIds)} AS p
    JOIN state_nodes n ON n.node_id = p.value`),
  );
}

function toRoomBytes(rows: readonly unknown[]): RoomBytes[] {
  return (rows as { room_nid: number; bytes: number }[]).map((row) => ({ roomNid: row.room_nid, bytes: row.bytes }));
}

/** Returns the ids of rooms by their numbers. */
export async function selectRoomIds(db: Db, roomNids: readonly number[]): Promise<Map<number, RoomId>> {
  const rows = await db.all<{ room_nid: number; room_id: RoomId }>(sql`
    SELECT room_nid, room_id FROM rooms WHERE ${inList(sql`room_nid`, roomNids)}`);
  return new Map(rows.map((row) => [row.room_nid, row.room_id]));
}
