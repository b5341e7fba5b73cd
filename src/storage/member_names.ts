/** The names that local members go by in rooms, in lower case, where they differ from their ids. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** A member's name. */
export interface MemberName {
  readonly userId: UserId;
  readonly name: string;
}

const MAX_MEMBERS = 200_000;

/** Returns the names in a room. */
export async function selectMemberNames(db: Db, roomNid: number): Promise<MemberName[]> {
  const rows = await db.all<{ user_id: UserId; name: string }>(sql`
    SELECT user_id, name FROM member_names WHERE room_nid = ${roomNid} LIMIT ${MAX_MEMBERS}`);
  return rows.map((row) => ({ userId: row.user_id, name: row.name }));
}

/** Stores names. */
export async function upsertMemberNames(
  tx: Tx,
  { roomNid, names }: { roomNid: number; names: readonly MemberName[] },
): Promise<void> {
  if (names.length === 0) return;
  await tx.runMany(names.map(({ userId, name }) =>
    sql`
    INSERT INTO member_names (room_nid, user_id, name) VALUES (${roomNid}, ${userId}, ${name})
    ON CONFLICT (room_nid, user_id) DO UPDATE SET name = excluded.name`
  ));
}

/** Removes the names of some users. */
export async function deleteMemberNames(
  tx: Tx,
  { roomNid, userIds }: { roomNid: number; userIds: readonly UserId[] },
): Promise<void> {
  if (userIds.length === 0) return;
  await tx.run(sql`DELETE FROM member_names WHERE room_nid = ${roomNid} AND ${inList(sql`user_id`, userIds)}`);
}
