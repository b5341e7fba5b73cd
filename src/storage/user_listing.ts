/** Finding accounts, for administrators. */
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { inList, raw, type Sql, sql } from "./sql.ts";

/** By what accounts can be ordered, as Synapse names it. */
export const USER_ORDERS = [
  "name",
  "displayname",
  "is_guest",
  "admin",
  "deactivated",
  "user_type",
  "avatar_url",
  "shadow_banned",
  "creation_ts",
  "last_seen_ts",
  "locked",
] as const;
/** One of `USER_ORDERS`. */
export type UserOrder = typeof USER_ORDERS[number];

/** Which accounts to list. */
export interface UserFilter {
  /** A part of the user id. */
  readonly userId: string | null;
  /** A part of the user id or of the name. */
  readonly name: string | null;
  readonly guests: boolean;
  /** Null for both kinds. */
  readonly deactivated: boolean | null;
  readonly admins: boolean | null;
  readonly locked: boolean;
  /** False lists those too that wait for approval. */
  readonly onlyApproved: boolean;
  /** Kinds that are left out; an empty one stands for users without. */
  readonly notUserTypes: readonly string[];
}

/** An account of the list. */
export interface ListedUser {
  readonly userId: UserId;
  readonly userType: string | null;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  readonly isDeactivated: boolean;
  readonly isShadowBanned: boolean;
  readonly isLocked: boolean;
  readonly isErased: boolean;
  readonly isApproved: boolean;
  readonly displayname: string | null;
  readonly avatarUrl: string | null;
  readonly createdTs: number;
  readonly lastSeenTs: number | null;
}

interface Row {
  user_id: UserId;
  user_type: string | null;
  is_guest: boolean;
  is_admin: boolean;
  is_deactivated: boolean;
  is_shadow_banned: boolean;
  is_locked: boolean;
  is_erased: boolean;
  unapproved: string | null;
  displayname: string | null;
  avatar_url: string | null;
  created_ts: number;
  last_seen_ts: number | null;
}

const COLUMN: Readonly<Record<UserOrder, string>> = {
  name: "u.user_id",
  displayname: "p.displayname",
  is_guest: "u.is_guest",
  admin: "u.is_admin",
  deactivated: "u.is_deactivated",
  user_type: "u.user_type",
  avatar_url: "p.avatar_url",
  shadow_banned: "u.is_shadow_banned",
  creation_ts: "u.created_ts",
  last_seen_ts: "last_seen_ts",
  locked: "u.is_locked",
};

/** Returns a page of accounts and how many there are in all. */
export async function selectUsersPage(
  db: Db,
  { filter, order, backward, from, limit }: {
    filter: UserFilter;
    order: UserOrder;
    backward: boolean;
    /** How many are passed over. */
    from: number;
    limit: number;
  },
): Promise<{ users: ListedUser[]; total: number }> {
  const source = sql`
    FROM users u
    LEFT JOIN profiles p ON p.user_id = u.user_id
    LEFT JOIN unapproved_users w ON w.user_id = u.user_id
    WHERE ${conditions(filter)}`;
  const direction = raw(backward ? "DESC" : "ASC");
  const rows = await db.all<Row>(sql`
    SELECT u.user_id, u.user_type, u.is_guest, u.is_admin, u.is_deactivated, u.is_shadow_banned, u.is_locked, u.is_erased,
      w.user_id AS unapproved, p.displayname, p.avatar_url, u.created_ts,
      (SELECT MAX(d.last_seen_ts) FROM devices d WHERE d.user_id = u.user_id) AS last_seen_ts
    ${source}
    ORDER BY ${raw(COLUMN[order])} ${direction}, u.user_id LIMIT ${limit} OFFSET ${from}`);
  const count = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n ${source}`);
  return { users: rows.map(toListed), total: Number(count?.n ?? 0) };
}

/** Returns when a user was last seen on any device, or null. */
export async function selectLastSeen(db: Db, userId: UserId): Promise<number | null> {
  const row = await db.get<{ ts: number | null }>(sql`
    SELECT MAX(last_seen_ts) AS ts FROM devices WHERE user_id = ${userId}`);
  return row?.ts ?? null;
}

/** A user as a search finds them. */
export type FoundUser = Pick<ListedUser, "userId" | "isGuest" | "isAdmin" | "userType">;

/** Returns users a part of whose id this is, by id. */
export async function selectUsersByPart(
  db: Db,
  { part, limit }: { part: string; limit: number },
): Promise<FoundUser[]> {
  const rows = await db.all<Pick<Row, "user_id" | "is_guest" | "is_admin" | "user_type">>(sql`
    SELECT user_id, is_guest, is_admin, user_type FROM users
    WHERE ${contains(sql`user_id`, part)} ORDER BY user_id LIMIT ${limit}`);
  return rows.map((row) => ({
    userId: row.user_id,
    isGuest: row.is_guest,
    isAdmin: row.is_admin,
    userType: row.user_type,
  }));
}

function conditions(filter: UserFilter): Sql {
  const { userId, name, guests, deactivated, admins, locked, onlyApproved, notUserTypes } = filter;
  let where = sql`TRUE`;
  if (userId !== null) where = sql`${where} AND ${contains(sql`u.user_id`, userId)}`;
  if (name !== null) {
    where = sql`${where} AND (${contains(sql`u.user_id`, name)} OR ${contains(sql`p.displayname`, name)})`;
  }
  if (!guests) where = sql`${where} AND NOT u.is_guest`;
  if (deactivated !== null) where = sql`${where} AND u.is_deactivated = ${deactivated}`;
  if (admins !== null) where = sql`${where} AND u.is_admin = ${admins}`;
  if (!locked) where = sql`${where} AND NOT u.is_locked`;
  if (onlyApproved) where = sql`${where} AND w.user_id IS NULL`;
  if (notUserTypes.length > 0) {
    where = sql`${where} AND NOT ${inList(sql`COALESCE(u.user_type, '')`, notUserTypes)}`;
  }
  return where;
}

/** Tells that a column holds a text, in whatever case. */
export function contains(column: Sql, text: string): Sql {
  const pattern = `%${text.toLowerCase().replace(/[%_!]/g, "!$&")}%`;
  return sql`LOWER(${column}) LIKE ${pattern} ESCAPE '!'`;
}

function toListed(row: Row): ListedUser {
  return {
    userId: row.user_id,
    userType: row.user_type,
    isGuest: row.is_guest,
    isAdmin: row.is_admin,
    isDeactivated: row.is_deactivated,
    isShadowBanned: row.is_shadow_banned,
    isLocked: row.is_locked,
    isErased: row.is_erased,
    isApproved: row.unapproved === null,
    displayname: row.displayname,
    avatarUrl: row.avatar_url,
    createdTs: row.created_ts,
    lastSeenTs: row.last_seen_ts,
  };
}
