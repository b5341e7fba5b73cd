/** Changes of devices of users of other servers that are kept until the states of partial rooms are whole. */
import { type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { lockRow, sql } from "./sql.ts";

/** A server may make up any number of users. */
const MAX_USERS_OF_SERVER = 20_000;
const MAX_ROOMS = 1_000;
const MAX_USERS = 1_000_000;

/** Rooms that somebody here waits for. */
const IS_WAITED_FOR = sql`completed_position IS NULL AND EXISTS (
  SELECT 1 FROM local_memberships m WHERE m.room_nid = partial_rooms.room_nid AND m.membership = 'join')`;

/** Tells whether there is any room whose state lacks members. */
export async function hasPartialRooms(db: Db): Promise<boolean> {
  return await db.get(sql`SELECT 1 AS one FROM partial_rooms WHERE ${IS_WAITED_FOR} LIMIT 1`) !== null;
}

/**
 * Keeps a change for every room whose state lacks members: the lists of servers that come with joins may lack some. The
 * rooms are locked, so that their states become whole before or after, and what is kept here is seen.
 */
export async function insertPendingDeviceList(tx: Tx, userId: UserId): Promise<void> {
  const rooms = await tx.all<{ room_nid: number }>(sql`
    SELECT room_nid FROM partial_rooms WHERE ${IS_WAITED_FOR} ORDER BY room_nid LIMIT ${MAX_ROOMS} ${lockRow()}`);
  const server: ServerName = serverNameOf(userId);
  for (const { room_nid: roomNid } of rooms) {
    await tx.run(sql`
      INSERT INTO pending_device_lists (room_nid, server, user_id)
      SELECT ${roomNid}, CAST(${server} AS TEXT), CAST(${userId} AS TEXT)
      WHERE (SELECT COUNT(*) FROM (
        SELECT 1 FROM pending_device_lists WHERE room_nid = ${roomNid} AND server = ${server}
        LIMIT ${MAX_USERS_OF_SERVER}
      ) AS kept) < ${MAX_USERS_OF_SERVER}
      ON CONFLICT DO NOTHING`);
  }
}

/** Takes what was kept for a room; returns those users who are joined to it. */
export async function takePendingDeviceLists(tx: Tx, roomNid: number): Promise<UserId[]> {
  const rows = await tx.all<{ user_id: UserId }>(sql`
    SELECT p.user_id FROM pending_device_lists p
    WHERE p.room_nid = ${roomNid} AND EXISTS (
      SELECT 1 FROM current_state s
      WHERE s.room_nid = p.room_nid AND s.type = 'm.room.member' AND s.state_key = p.user_id AND s.membership = 'join')
    ORDER BY p.user_id LIMIT ${MAX_USERS}`);
  await tx.run(sql`DELETE FROM pending_device_lists WHERE room_nid = ${roomNid}`);
  return rows.map((row) => row.user_id);
}
