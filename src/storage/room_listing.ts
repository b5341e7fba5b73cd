/** Rooms as administrators list them. */
import type { RoomId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** A room of the list. */
export interface ListedRoom {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly version: string;
  readonly joinedMembers: number;
  readonly isPublic: boolean;
}

/** Returns rooms that this server has or had a state of, by number after `after`. */
export async function selectListedRooms(
  db: Db,
  { after, limit }: { after: number; limit: number },
): Promise<ListedRoom[]> {
  const rows = await db.all<
    { room_nid: number; room_id: RoomId; room_version: string; joined_members: number; is_public: boolean }
  >(sql`
    SELECT room_nid, room_id, room_version, joined_members, is_public FROM rooms
    WHERE room_nid > ${after} AND state_root <> 0
    ORDER BY room_nid LIMIT ${limit}`);
  return rows.map((row) => ({
    roomNid: row.room_nid,
    roomId: row.room_id,
    version: row.room_version,
    joinedMembers: row.joined_members,
    isPublic: row.is_public,
  }));
}

/** Returns how many local users are joined to each of some rooms, and how much state those have. */
export async function selectRoomCounts(
  db: Db,
  roomNids: readonly number[],
): Promise<Map<number, { localMembers: number; stateEvents: number }>> {
  const [members, state] = [
    await db.all<{ room_nid: number; n: number }>(sql`
      SELECT room_nid, COUNT(*) AS n FROM local_memberships
      WHERE ${inList(sql`room_nid`, roomNids)} AND membership = 'join' GROUP BY room_nid`),
    await db.all<{ room_nid: number; n: number }>(sql`
      SELECT room_nid, COUNT(*) AS n FROM current_state WHERE ${inList(sql`room_nid`, roomNids)} GROUP BY room_nid`),
  ];
  const counts = new Map(roomNids.map((nid) => [nid, { localMembers: 0, stateEvents: 0 }]));
  for (const { room_nid: nid, n } of members) (counts.get(nid) ?? { localMembers: 0 }).localMembers = Number(n);
  for (const { room_nid: nid, n } of state) (counts.get(nid) ?? { stateEvents: 0 }).stateEvents = Number(n);
  return counts;
}

/** Returns how many devices the local users have who are joined to a room. */
export async function selectRoomDeviceCount(db: Db, roomNid: number): Promise<number> {
  const row = await db.get<{ n: number }>(sql`
    SELECT COUNT(*) AS n FROM local_memberships m JOIN devices d ON d.user_id = m.user_id
    WHERE m.room_nid = ${roomNid} AND m.membership = 'join'`);
  return Number(row?.n ?? 0);
}

/** Tells whether all local users who were in a room have forgotten it. */
export async function selectIsForgottenHere(db: Db, roomNid: number): Promise<boolean> {
  const row = await db.get<{ room_nid: number }>(sql`
    SELECT room_nid FROM local_memberships WHERE room_nid = ${roomNid} AND NOT forgotten LIMIT 1`);
  return row === null;
}

/** Returns the members of a room, at most `limit`. */
export async function selectJoinedMembers(
  db: Db,
  { roomNid, limit }: { roomNid: number; limit: number },
): Promise<string[]> {
  const rows = await db.all<{ state_key: string }>(sql`
    SELECT state_key FROM current_state WHERE room_nid = ${roomNid} AND membership = 'join'
    ORDER BY state_key LIMIT ${limit}`);
  return rows.map((row) => row.state_key);
}
