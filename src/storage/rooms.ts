/** Rooms and the ends of their graphs. */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, lockFreeRows, lockRow, type Sql, sql } from "./sql.ts";
import { bigints, type RowWriter } from "./together.ts";

/** A row of `rooms`. */
export interface RoomRow {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly roomVersion: string;
  readonly stateRoot: number;
  readonly lastPosition: number;
  readonly joinedMembers: number;
  readonly invitedMembers: number;
  readonly isPublic: boolean;
}

/** An event without children in the room's graph. */
export interface ForwardExtremity {
  readonly nid: number;
  readonly eventId: EventId;
  readonly depth: number;
}

interface Row {
  room_nid: number;
  room_id: RoomId;
  room_version: string;
  state_root: number;
  last_position: number;
  joined_members: number;
  invited_members: number;
  is_public: boolean;
}

const COLUMNS: Sql =
  sql`room_nid, room_id, room_version, state_root, last_position, joined_members, invited_members, is_public`;

/** More extremities than this are never looked at: a dummy event merges them long before. */
const MAX_EXTREMITIES = 10_000;
/** Bounds the set of local members held in memory for one room. */
const MAX_LOCAL_MEMBERS = 1_000_000;

/** Returns a room by its id. */
export async function selectRoomById(db: Db, roomId: RoomId): Promise<RoomRow | null> {
  const row = await db.get<Row>(sql`SELECT ${COLUMNS} FROM rooms WHERE room_id = ${roomId}`);
  return row === null ? null : toRoomRow(row);
}

/** Returns a room by its numeric id. */
export async function selectRoomByNid(db: Db, roomNid: number): Promise<RoomRow | null> {
  const row = await db.get<Row>(sql`SELECT ${COLUMNS} FROM rooms WHERE room_nid = ${roomNid}`);
  return row === null ? null : toRoomRow(row);
}

/** What a writer who has locked a room wants to know of it. */
export type LockedRoom = Pick<RoomRow, "lastPosition" | "joinedMembers">;

type LockedRow = Pick<Row, "room_nid" | "last_position" | "joined_members">;

function toLockedRoom(row: LockedRow): LockedRoom {
  return { lastPosition: row.last_position, joinedMembers: row.joined_members };
}

/** Locks the room against other writers until the transaction ends; returns null if it is gone. */
export async function lockRoom(tx: Tx, roomNid: number): Promise<LockedRoom | null> {
  const row = await tx.get<LockedRow>(
    sql`SELECT room_nid, last_position, joined_members FROM rooms WHERE room_nid = ${roomNid} ${lockRow()}`,
  );
  return row === null ? null : toLockedRoom(row);
}

/** As `lockRoom` for several rooms, by their numeric ids. Waits for nobody: a room that another one has locked is left out. */
export async function lockFreeRooms(tx: Tx, roomNids: readonly number[]): Promise<Map<number, LockedRoom>> {
  const rows = await tx.all<LockedRow>(sql`
    SELECT room_nid, last_position, joined_members FROM rooms WHERE ${
    inList(sql`room_nid`, roomNids)
  } ${lockFreeRows()}`);
  return new Map(rows.map((row) => [row.room_nid, toLockedRoom(row)]));
}

/** Adds a room. The id must be new. */
export async function insertRoom(tx: Tx, room: RoomRow & { readonly createdTs: number }): Promise<void> {
  await tx.run(sql`
    INSERT INTO rooms (room_nid, room_id, room_version, state_root, last_position, joined_members, invited_members,
      is_public, created_ts)
    VALUES (${room.roomNid}, ${room.roomId}, ${room.roomVersion}, ${room.stateRoot}, ${room.lastPosition},
      ${room.joinedMembers}, ${room.invitedMembers}, ${room.isPublic}, ${room.createdTs})`);
}

/** Adds a room that this server is not in and knows nothing of but its version; does nothing when it is there. */
export async function insertUnjoinedRoom(
  tx: Tx,
  room: { readonly roomNid: number; readonly roomId: RoomId; readonly roomVersion: string; readonly createdTs: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO rooms (room_nid, room_id, room_version, state_root, last_position, joined_members, invited_members,
      is_public, created_ts)
    VALUES (${room.roomNid}, ${room.roomId}, ${room.roomVersion}, 0, 0, 0, 0, ${false}, ${room.createdTs})
    ON CONFLICT (room_id) DO NOTHING`);
}

/** What a batch of events changes in its room. */
export interface RoomHeadChange {
  readonly roomNid: number;
  readonly stateRoot: number;
  readonly lastPosition: number;
  readonly joinedDelta: number;
  readonly invitedDelta: number;
}

/** Sets what a batch of events changed in its room. */
export async function updateRoomHead(tx: Tx, head: RoomHeadChange): Promise<void> {
  await tx.writeTogether(HEADS, [head]);
}

const HEADS: RowWriter<RoomHeadChange> = {
  each: ({ roomNid, stateRoot, lastPosition, joinedDelta, invitedDelta }) =>
    sql`
    UPDATE rooms
    SET state_root = ${stateRoot}, last_position = ${lastPosition}, joined_members = joined_members + ${joinedDelta},
      invited_members = invited_members + ${invitedDelta}
    WHERE room_nid = ${roomNid}`,
  many: (heads) =>
    sql`
    UPDATE rooms
    SET state_root = head.root, last_position = head.position, joined_members = joined_members + head.joined,
      invited_members = invited_members + head.invited
    FROM unnest(${bigints(heads.map(({ roomNid }) => roomNid))}, ${bigints(heads.map(({ stateRoot }) => stateRoot))},
      ${bigints(heads.map(({ lastPosition }) => lastPosition))},
      ${bigints(heads.map(({ joinedDelta }) => joinedDelta))},
      ${bigints(heads.map(({ invitedDelta }) => invitedDelta))}) AS head (room, root, position, joined, invited)
    WHERE room_nid = head.room`,
};

/** Counts the members of the next rooms from their current state; returns the rooms' numeric ids. */
export async function recountMembers(
  tx: Tx,
  { after, limit }: { after: number; limit: number },
): Promise<number[]> {
  // The lock comes first: who writes to a room changes its state and its counts together.
  const rows = await tx.all<{ room_nid: number }>(sql`
    SELECT room_nid FROM rooms WHERE room_nid > ${after} ORDER BY room_nid LIMIT ${limit} ${lockRow()}`);
  const nids = rows.map((row) => row.room_nid);
  const count = (membership: string) =>
    sql`(SELECT COUNT(*) FROM current_state c WHERE c.room_nid = rooms.room_nid AND c.membership = ${membership})`;
  await tx.run(sql`
    UPDATE rooms SET joined_members = ${count("join")}, invited_members = ${count("invite")}
    WHERE ${inList(sql`room_nid`, nids)}`);
  return nids;
}

/** Sets whether the room is listed in the public directory. */
export async function updateRoomIsPublic(
  tx: Tx,
  { roomNid, isPublic }: { roomNid: number; isPublic: boolean },
): Promise<void> {
  await tx.run(sql`UPDATE rooms SET is_public = ${isPublic} WHERE room_nid = ${roomNid}`);
}

/** Returns the events without children. */
export async function selectForwardExtremities(db: Db, roomNid: number): Promise<ForwardExtremity[]> {
  const rows = await db.all<{ event_nid: number; event_id: EventId; depth: number }>(sql`
    SELECT e.event_nid, e.event_id, e.depth
    FROM forward_extremities f
    JOIN events e ON e.event_nid = f.event_nid
    WHERE f.room_nid = ${roomNid}
    ORDER BY f.event_nid
    LIMIT ${MAX_EXTREMITIES}`);
  return rows.map(({ event_nid, event_id, depth }) => ({ nid: event_nid, eventId: event_id, depth }));
}

/** Counts rooms by how many events without children they have. */
export async function countRoomsByEnds(db: Db): Promise<{ ends: number; rooms: number }[]> {
  const rows = await db.all<{ ends: number; rooms: number }>(sql`
    SELECT ends, COUNT(*) AS rooms
    FROM (SELECT COUNT(*) AS ends FROM forward_extremities GROUP BY room_nid) AS counted
    GROUP BY ends
    LIMIT ${MAX_EXTREMITIES}`);
  return rows.map(({ ends, rooms }) => ({ ends: Number(ends), rooms: Number(rooms) }));
}

/** Replaces extremities: `removed` go, `added` come. */
export async function updateForwardExtremities(
  tx: Tx,
  { roomNid, removed, added }: { roomNid: number; removed: readonly number[]; added: readonly number[] },
): Promise<void> {
  const [from, ...others] = removed;
  const [to, ...more] = added;
  // One event behind the only end.
  if (from !== undefined && to !== undefined && others.length + more.length === 0) {
    return await tx.writeTogether(MOVED_ENDS, [{ roomNid, from, to }]);
  }
  await Promise.all([
    tx.writeTogether(GONE_ENDS, removed.map((nid) => ({ roomNid, nid }))),
    tx.writeTogether(NEW_ENDS, added.map((nid) => ({ roomNid, nid }))),
  ]);
}

interface EndRow {
  readonly roomNid: number;
  readonly nid: number;
}

const GONE_ENDS: RowWriter<EndRow> = {
  each: ({ roomNid, nid }) => sql`DELETE FROM forward_extremities WHERE room_nid = ${roomNid} AND event_nid = ${nid}`,
  many: (rows) =>
    sql`
    DELETE FROM forward_extremities USING ${endTable(rows)} AS gone (room, event)
    WHERE room_nid = gone.room AND event_nid = gone.event`,
};

const NEW_ENDS: RowWriter<EndRow> = {
  each: ({ roomNid, nid }) => sql`INSERT INTO forward_extremities (room_nid, event_nid) VALUES (${roomNid}, ${nid})`,
  many: (rows) => sql`INSERT INTO forward_extremities (room_nid, event_nid) SELECT * FROM ${endTable(rows)}`,
};

interface MovedEnd {
  readonly roomNid: number;
  readonly from: number;
  readonly to: number;
}

const MOVED_ENDS: RowWriter<MovedEnd> = {
  each: ({ roomNid, from, to }) =>
    sql`UPDATE forward_extremities SET event_nid = ${to} WHERE room_nid = ${roomNid} AND event_nid = ${from}`,
  many: (rows) =>
    sql`
    UPDATE forward_extremities SET event_nid = moved.later
    FROM unnest(${bigints(rows.map(({ roomNid }) => roomNid))}, ${bigints(rows.map(({ from }) => from))},
      ${bigints(rows.map(({ to }) => to))}) AS moved (room, earlier, later)
    WHERE room_nid = moved.room AND event_nid = moved.earlier`,
};

function endTable(rows: readonly EndRow[]): Sql {
  return sql`unnest(${bigints(rows.map(({ roomNid }) => roomNid))}, ${bigints(rows.map(({ nid }) => nid))})`;
}

/** Returns the membership events of banned users. */
export async function selectBannedMembers(
  db: Db,
  { roomNid, limit }: { roomNid: number; limit: number },
): Promise<number[]> {
  const rows = await db.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM current_state WHERE room_nid = ${roomNid} AND membership = 'ban'
    ORDER BY event_nid
    LIMIT ${limit}`);
  return rows.map((row) => row.event_nid);
}

/** Returns the users of this server who are joined to the room. */
export async function selectLocalJoinedUsers(db: Db, roomNid: number): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT user_id FROM local_memberships WHERE room_nid = ${roomNid} AND membership = 'join'
    LIMIT ${MAX_LOCAL_MEMBERS}`);
  return rows.map((row) => row.user_id);
}

function toRoomRow(row: Row): RoomRow {
  return {
    roomNid: row.room_nid,
    roomId: row.room_id,
    roomVersion: row.room_version,
    stateRoot: row.state_root,
    lastPosition: row.last_position,
    joinedMembers: row.joined_members,
    invitedMembers: row.invited_members,
    isPublic: row.is_public,
  };
}
