/** Media as administrators look for them. */
import type { ServerName, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { MEDIA_COLUMNS, type MediaRow, toMediaRows } from "./media.ts";
import { raw, sql } from "./sql.ts";

/** By what a user's files can be ordered, as Synapse names it. */
export const MEDIA_ORDERS = [
  "media_id",
  "upload_name",
  "created_ts",
  "last_access_ts",
  "media_length",
  "media_type",
  "quarantined_by",
  "safe_from_quarantine",
] as const;
/** One of `MEDIA_ORDERS`. */
export type MediaOrder = typeof MEDIA_ORDERS[number];

const COLUMN: Readonly<Record<MediaOrder, string>> = {
  media_id: "media_id",
  upload_name: "upload_name",
  created_ts: "created_ts",
  last_access_ts: "last_access_ts",
  media_length: "length",
  media_type: "content_type",
  quarantined_by: "quarantined_by",
  safe_from_quarantine: "safe_from_quarantine",
};

/** A page of a user's files. */
export interface UserMediaPage {
  readonly userId: UserId;
  readonly order: MediaOrder;
  readonly backward: boolean;
  /** How many are passed over. */
  readonly from: number;
  readonly limit: number;
}

/** Returns a page of what a user has uploaded or reserved, and how much there is. */
export async function selectUserMediaPage(
  db: Db,
  { userId, order, backward, from, limit }: UserMediaPage,
): Promise<{ media: MediaRow[]; total: number }> {
  const direction = raw(backward ? "DESC NULLS LAST" : "ASC NULLS FIRST");
  const rows = await db.all(sql`
    SELECT ${MEDIA_COLUMNS} FROM media WHERE user_id = ${userId}
    ORDER BY ${raw(COLUMN[order])} ${direction}, media_id LIMIT ${limit} OFFSET ${from}`);
  const count = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM media WHERE user_id = ${userId}`);
  return { media: toMediaRows(rows), total: Number(count?.n ?? 0) };
}

/**
 * Returns files of this server, in the order of their ids after one, that are larger than `size`, were last used before a
 * time, and are neither quarantined nor protected.
 */
export async function selectOldMedia(
  db: Db,
  { serverName, before, size, after, limit }: {
    serverName: ServerName;
    before: number;
    size: number;
    after: string;
    limit: number;
  },
): Promise<MediaRow[]> {
  return toMediaRows(
    await db.all(sql`
    SELECT ${MEDIA_COLUMNS} FROM media
    WHERE origin = ${serverName} AND media_id > ${after} AND last_access_ts < ${before} AND length > ${size}
      AND quarantined_by IS NULL AND NOT safe_from_quarantine
    ORDER BY media_id LIMIT ${limit}`),
  );
}

/** A page of users with the addresses of their pictures. */
export interface AvatarRow {
  readonly userId: string;
  readonly avatarUrl: string | null;
}

/** Returns the pictures of profiles, by user id after one. */
export async function selectProfileAvatars(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<AvatarRow[]> {
  return toAvatars(
    await db.all(sql`
    SELECT user_id, avatar_url FROM profiles WHERE user_id > ${after} ORDER BY user_id LIMIT ${limit}`),
  );
}

/** Returns the pictures of the user directory, by user id after one. */
export async function selectDirectoryAvatars(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<AvatarRow[]> {
  return toAvatars(
    await db.all(sql`
    SELECT user_id, avatar_url FROM user_directory WHERE user_id > ${after} ORDER BY user_id LIMIT ${limit}`),
  );
}

function toAvatars(rows: readonly unknown[]): AvatarRow[] {
  return (rows as { user_id: string; avatar_url: string | null }[])
    .map((row) => ({ userId: row.user_id, avatarUrl: row.avatar_url }));
}

/** A place in the current state of all rooms. */
export interface StatePlace {
  readonly roomNid: number;
  readonly stateKeyNid: number;
}

/** Returns the events that give rooms and their members pictures, in the order of their places after one. */
export async function selectAvatarEvents(
  db: Db,
  { after, limit }: { after: StatePlace; limit: number },
): Promise<(StatePlace & { readonly json: string })[]> {
  const rows = await db.all<{ room_nid: number; state_key_nid: number; json: string }>(sql`
    SELECT c.room_nid, c.state_key_nid, j.json FROM current_state c JOIN event_json j ON j.event_nid = c.event_nid
    WHERE (c.room_nid, c.state_key_nid) > (${after.roomNid}, ${after.stateKeyNid})
      AND c.type IN ('m.room.avatar', 'm.room.member')
    ORDER BY c.room_nid, c.state_key_nid LIMIT ${limit}`);
  return rows.map((row) => ({ roomNid: row.room_nid, stateKeyNid: row.state_key_nid, json: row.json }));
}
