/** In which rooms users are and were, for administrators: of users of other servers too, as far as it is known here. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** A page of rooms by number. */
interface Page {
  readonly userId: UserId;
  readonly after: number;
  readonly limit: number;
}

/** A user's membership of a room. */
export interface RoomMembership {
  readonly roomNid: number;
  readonly roomId: RoomId;
  readonly membership: string;
}

interface Row {
  room_nid: number;
  room_id: RoomId;
  membership: string;
}

function toMemberships(rows: readonly Row[]): RoomMembership[] {
  return rows.map((row) => ({ roomNid: row.room_nid, roomId: row.room_id, membership: row.membership }));
}

/** Returns rooms that a user is joined to. */
export async function selectJoinedRooms(db: Db, { userId, after, limit }: Page): Promise<RoomMembership[]> {
  return toMemberships(
    await db.all<Row>(sql`
    SELECT c.room_nid, r.room_id, 'join' AS membership FROM current_state c JOIN rooms r ON r.room_nid = c.room_nid
    WHERE c.state_key = ${userId} AND c.membership = 'join' AND c.room_nid > ${after}
    ORDER BY c.room_nid LIMIT ${limit}`),
  );
}

/** Returns memberships of a user of this server, of rooms they were only invited to as well. */
export async function selectLocalMemberships(db: Db, { userId, after, limit }: Page): Promise<RoomMembership[]> {
  return toMemberships(
    await db.all<Row>(sql`
    SELECT m.room_nid, r.room_id, m.membership FROM local_memberships m JOIN rooms r ON r.room_nid = m.room_nid
    WHERE m.user_id = ${userId} AND m.room_nid > ${after} ORDER BY m.room_nid LIMIT ${limit}`),
  );
}

/** As `selectLocalMemberships` for users of other servers, whose rooms no index finds: looks into `limit` rooms. */
export async function selectRemoteMemberships(
  db: Db,
  { userId, after, limit }: Page,
): Promise<{ found: RoomMembership[]; next: number | null }> {
  const rows = await db.all<{ room_nid: number; room_id: RoomId; membership: string | null }>(sql`
    SELECT r.room_nid, r.room_id, c.membership
    FROM (SELECT room_nid, room_id FROM rooms WHERE room_nid > ${after} ORDER BY room_nid LIMIT ${limit}) AS r
    LEFT JOIN current_state c ON c.room_nid = r.room_nid AND c.state_key_nid = (
      SELECT state_key_nid FROM state_keys WHERE type = 'm.room.member' AND state_key = ${userId})
    ORDER BY r.room_nid`);
  const found = rows.flatMap(({ membership, ...row }) => membership === null ? [] : [{ ...row, membership }]);
  return { found: toMemberships(found), next: rows.length < limit ? null : rows.at(-1)?.room_nid ?? null };
}

/** Returns when the first event at or after a position was received; null where there is none. */
export async function selectReceivedTs(db: Db, position: number): Promise<number | null> {
  const row = await db.get<{ received_ts: number }>(sql`
    SELECT received_ts FROM events WHERE position >= ${position} ORDER BY position LIMIT 1`);
  return row?.received_ts ?? null;
}

/** A member event. */
export interface MemberEvent {
  readonly roomNid: number;
  readonly json: string;
}

/** Returns the member events of or by a user in `(after, upTo]` that were received from a time on. */
export async function selectMemberEvents(
  db: Db,
  { userId, role, after, upTo, from }: {
    userId: UserId;
    role: "member" | "sender";
    after: number;
    upTo: number;
    from: number;
  },
): Promise<MemberEvent[]> {
  const whose = role === "sender" ? sql`e.sender = ${userId}` : sql`e.state_key_nid = (
    SELECT state_key_nid FROM state_keys WHERE type = 'm.room.member' AND state_key = ${userId})`;
  const rows = await db.all<{ room_nid: number; json: string }>(sql`
    SELECT e.room_nid, j.json FROM events e JOIN event_json j ON j.event_nid = e.event_nid
    WHERE e.position > ${after} AND e.position <= ${upTo} AND e.type = 'm.room.member' AND ${whose}
      AND e.received_ts >= ${from} AND NOT e.is_rejected`);
  return rows.map((row) => ({ roomNid: row.room_nid, json: row.json }));
}
