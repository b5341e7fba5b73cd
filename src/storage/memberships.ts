/** Reading who is in which room. The rows of `local_memberships` are written with the membership events themselves. */
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import {
  LOCAL_MEMBERSHIP_COLUMNS,
  type LocalMembership,
  type LocalMembershipColumns,
  toLocalMembership,
} from "./local_memberships.ts";
import { sql } from "./sql.ts";

/** A local user's membership of a room, with the room's last position. */
export interface LocalMembershipRow extends LocalMembership {
  readonly roomLastPosition: number;
}

const PAGE = 5_000;

/** Returns all memberships a local user ever had, forgotten ones included. */
export async function selectMembershipsOfUser(db: Db, userId: UserId): Promise<LocalMembershipRow[]> {
  const found: LocalMembershipRow[] = [];
  let after = -1;
  while (true) {
    const rows = await db.all<LocalMembershipColumns & { last_position: number }>(sql`
      SELECT ${LOCAL_MEMBERSHIP_COLUMNS}, r.last_position
      FROM local_memberships m
      JOIN rooms r ON r.room_nid = m.room_nid
      WHERE m.user_id = ${userId} AND m.room_nid > ${after}
      ORDER BY m.room_nid
      LIMIT ${PAGE}`);
    for (const row of rows) found.push({ ...toLocalMembership(row), roomLastPosition: row.last_position });
    const last = rows[rows.length - 1];
    if (rows.length < PAGE || last === undefined) return found;
    after = last.room_nid;
  }
}

/** Returns how many are joined and invited, or null for an unknown room. */
export async function selectMemberCounts(
  db: Db,
  roomNid: number,
): Promise<{ joined: number; invited: number } | null> {
  const row = await db.get<{ joined_members: number; invited_members: number }>(
    sql`SELECT joined_members, invited_members FROM rooms WHERE room_nid = ${roomNid}`,
  );
  return row === null ? null : { joined: row.joined_members, invited: row.invited_members };
}

/** A member as the current state has it. */
export interface MemberRow {
  readonly userId: UserId;
  readonly eventNid: number;
}

/** Returns the members with these memberships that have been so the longest; at most `limit`. */
export async function selectFirstMembers(
  db: Db,
  { roomNid, memberships, limit }: {
    roomNid: number;
    memberships: readonly [string, string];
    limit: number;
  },
): Promise<MemberRow[]> {
  const [first, second] = memberships;
  const rows = await db.all<{ state_key: UserId; event_nid: number }>(sql`
    SELECT state_key, event_nid FROM current_state
    WHERE room_nid = ${roomNid} AND membership IN (${first}, ${second})
    ORDER BY event_nid
    LIMIT ${limit}`);
  return rows.map((row) => ({ userId: row.state_key, eventNid: row.event_nid }));
}
