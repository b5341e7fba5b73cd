/** Room aliases and the public room list. */
import type { RoomAlias, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { type Sql, sql } from "./sql.ts";

/** An alias of this server. */
export interface AliasRow {
  readonly alias: RoomAlias;
  readonly roomId: RoomId;
  readonly creator: UserId | null;
}

/** A listed room, with what the list is ordered by. */
export interface PublicRoomRow {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly joinedMembers: number;
}

const MAX_ALIASES_PER_ROOM = 1_000;

/** Adds an alias; returns false when it is taken. */
export async function insertAlias(
  tx: Tx,
  { alias, roomId, creator, createdTs }: AliasRow & { createdTs: number },
): Promise<
  boolean
> {
  return await tx.run(sql`
    INSERT INTO room_aliases (alias, room_id, creator, created_ts)
    VALUES (${alias}, ${roomId}, ${creator}, ${createdTs})
    ON CONFLICT DO NOTHING`) > 0;
}

/** Returns an alias, or null. */
export async function selectAlias(db: Db, alias: RoomAlias): Promise<AliasRow | null> {
  const row = await db.get<{ room_id: RoomId; creator: UserId | null }>(sql`
    SELECT room_id, creator FROM room_aliases WHERE alias = ${alias}`);
  return row && { alias, roomId: row.room_id, creator: row.creator };
}

/** Returns the aliases of a room, sorted. */
export async function selectAliasesOfRoom(db: Db, roomId: RoomId): Promise<RoomAlias[]> {
  const rows = await db.all<{ alias: RoomAlias }>(sql`
    SELECT alias FROM room_aliases WHERE room_id = ${roomId} ORDER BY alias LIMIT ${MAX_ALIASES_PER_ROOM}`);
  return rows.map((row) => row.alias);
}

/** Deletes an alias; returns false when there is none. */
export async function deleteAlias(tx: Tx, alias: RoomAlias): Promise<boolean> {
  return await tx.run(sql`DELETE FROM room_aliases WHERE alias = ${alias}`) > 0;
}

/** Points all aliases of a room to another, as an upgrade does. */
export async function moveAliases(tx: Tx, { from, to }: { from: RoomId; to: RoomId }): Promise<void> {
  await tx.run(sql`UPDATE room_aliases SET room_id = ${to} WHERE room_id = ${from}`);
}

/** Whose list is meant: the server's own, one network's of an application service, or all together. */
export type RoomList = "own" | "all" | { readonly serviceId: string; readonly networkId: string };

function isListed(list: RoomList): Sql {
  if (list === "own") return sql`is_public`;
  const services = sql`SELECT 1 FROM appservice_room_list l WHERE l.room_id = rooms.room_id`;
  if (list === "all") return sql`(is_public OR EXISTS (${services}))`;
  return sql`EXISTS (${services} AND l.service_id = ${list.serviceId} AND l.network_id = ${list.networkId})`;
}

/**
 * Returns listed rooms, the largest first, after (or, with `backwards`, before) the given place in that order.
 * Backwards, the nearest come first.
 */
export async function selectPublicRooms(
  db: Db,
  { list, after, backwards, limit }: {
    list: RoomList;
    after: { joinedMembers: number; roomNid: number } | null;
    backwards: boolean;
    limit: number;
  },
): Promise<PublicRoomRow[]> {
  const start = after ?? { joinedMembers: Number.MAX_SAFE_INTEGER, roomNid: Number.MAX_SAFE_INTEGER };
  const rows = await db.all<{ room_nid: number; room_id: RoomId; joined_members: number }>(
    backwards
      ? sql`
      SELECT room_nid, room_id, joined_members FROM rooms
      WHERE ${
        isListed(list)
      } AND joined_members > 0 AND (joined_members, room_nid) > (${start.joinedMembers}, ${start.roomNid})
      ORDER BY joined_members, room_nid LIMIT ${limit}`
      : sql`
      SELECT room_nid, room_id, joined_members FROM rooms
      WHERE ${
        isListed(list)
      } AND joined_members > 0 AND (joined_members, room_nid) < (${start.joinedMembers}, ${start.roomNid})
      ORDER BY joined_members DESC, room_nid DESC LIMIT ${limit}`,
  );
  return rows.map((row) => ({ roomNid: row.room_nid, roomId: row.room_id, joinedMembers: row.joined_members }));
}

/** Returns the number of listed rooms. Those that nobody is in are not shown. */
export async function countPublicRooms(db: Db, list: RoomList): Promise<number> {
  const row = await db.get<{ n: number }>(sql`
    SELECT COUNT(*) AS n FROM rooms WHERE ${isListed(list)} AND joined_members > 0`);
  return row?.n ?? 0;
}
