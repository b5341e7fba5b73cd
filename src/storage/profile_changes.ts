/** Which fields of local profiles changed when, and reading many profiles at once (MSC4262). */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import type { ProfileRow } from "./profiles.ts";
import { inList, type Sql, sql } from "./sql.ts";

/** A field of a profile that changed. */
export interface ProfileChangeRow {
  readonly userId: UserId;
  readonly field: string;
  readonly position: number;
}

/** Notes that fields changed. */
export async function upsertProfileChanges(
  tx: Tx,
  { userId, fields, position }: { userId: UserId; fields: readonly string[]; position: number },
): Promise<void> {
  await tx.runMany(fields.map((field) =>
    sql`
    INSERT INTO profile_changes (user_id, field, position) VALUES (${userId}, ${field}, ${position})
    ON CONFLICT (user_id, field) DO UPDATE SET position = excluded.position`
  ));
}

/** Forgets all but the latest `keep` changes of a user. */
export async function deleteOldProfileChanges(
  tx: Tx,
  { userId, keep }: { userId: UserId; keep: number },
): Promise<void> {
  await tx.run(sql`
    DELETE FROM profile_changes
    WHERE user_id = ${userId} AND field NOT IN (
      SELECT field FROM profile_changes WHERE user_id = ${userId} ORDER BY position DESC, field LIMIT ${keep})`);
}

/** Tells of a local user whether `viewer` is that user or is joined to a room that the user is joined to. */
function isShared(column: Sql, viewer: UserId): Sql {
  return sql`(${column} = ${viewer} OR EXISTS (
    SELECT 1 FROM local_memberships theirs
    JOIN local_memberships mine ON mine.room_nid = theirs.room_nid AND mine.user_id = ${viewer}
      AND mine.membership = 'join'
    WHERE theirs.user_id = ${column} AND theirs.membership = 'join'))`;
}

/** Returns changes in `(after, upTo]` by `viewer` and those who share a room with them, in the order of users. */
export async function selectProfileChanges(
  db: Db,
  { viewer, after, upTo, from, limit }: {
    viewer: UserId;
    after: number;
    upTo: number;
    /** The change after which to go on. */
    from: { readonly userId: string; readonly field: string };
    limit: number;
  },
): Promise<ProfileChangeRow[]> {
  const rows = await db.all<{ user_id: UserId; field: string; position: number }>(sql`
    SELECT c.user_id, c.field, c.position FROM profile_changes c
    WHERE c.position > ${after} AND c.position <= ${upTo} AND (c.user_id, c.field) > (${from.userId}, ${from.field})
      AND ${isShared(sql`c.user_id`, viewer)}
    ORDER BY c.user_id, c.field LIMIT ${limit}`);
  return rows.map((row) => ({ userId: row.user_id, field: row.field, position: row.position }));
}

/** Returns the profiles of those of `userIds` who are `viewer` or share a room with them. */
export async function selectSharedProfiles(
  db: Db,
  { viewer, userIds }: { viewer: UserId; userIds: readonly UserId[] },
): Promise<Map<UserId, ProfileRow>> {
  const rows = await db.all<
    { user_id: UserId; displayname: string | null; avatar_url: string | null; fields: string }
  >(sql`
    SELECT p.user_id, p.displayname, p.avatar_url, p.fields FROM profiles p
    WHERE ${inList(sql`p.user_id`, userIds)} AND ${isShared(sql`p.user_id`, viewer)}`);
  return new Map(rows.map((row) => [row.user_id, {
    displayname: row.displayname,
    avatarUrl: row.avatar_url,
    fields: row.fields,
  }]));
}

/** Returns local users who are joined to a room, at most `limit`. */
export async function selectLocalJoined(
  db: Db,
  { roomNid, limit }: { roomNid: number; limit: number },
): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT user_id FROM local_memberships WHERE room_nid = ${roomNid} AND membership = 'join'
    ORDER BY user_id LIMIT ${limit}`);
  return rows.map((row) => row.user_id);
}
