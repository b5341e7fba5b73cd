/** Accounts of this server's users. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** An account. */
export interface User {
  readonly userId: UserId;
  /** Null where nobody can log in with a password. */
  readonly passwordHash: string | null;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  readonly userType: string | null;
  readonly appserviceId: string | null;
  readonly isDeactivated: boolean;
  readonly isErased: boolean;
  readonly isLocked: boolean;
  readonly isSuspended: boolean;
  readonly isShadowBanned: boolean;
  readonly createdTs: number;
}

/** A new account; everything not named starts as false or null. */
export interface NewUser {
  readonly userId: UserId;
  readonly passwordHash: string | null;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  readonly userType: string | null;
  readonly appserviceId: string | null;
  readonly createdTs: number;
}

interface UserRow {
  user_id: string;
  password_hash: string | null;
  is_guest: boolean;
  is_admin: boolean;
  user_type: string | null;
  appservice_id: string | null;
  is_deactivated: boolean;
  is_erased: boolean;
  is_locked: boolean;
  is_suspended: boolean;
  is_shadow_banned: boolean;
  created_ts: number;
}

function toUser(row: UserRow): User {
  return {
    userId: row.user_id as UserId,
    passwordHash: row.password_hash,
    isGuest: row.is_guest,
    isAdmin: row.is_admin,
    userType: row.user_type,
    appserviceId: row.appservice_id,
    isDeactivated: row.is_deactivated,
    isErased: row.is_erased,
    isLocked: row.is_locked,
    isSuspended: row.is_suspended,
    isShadowBanned: row.is_shadow_banned,
    createdTs: row.created_ts,
  };
}

/** Returns an account, or null. */
export async function selectUser(db: Db, userId: UserId): Promise<User | null> {
  const row = await db.get<UserRow>(sql`
    SELECT user_id, password_hash, is_guest, is_admin, user_type, appservice_id, is_deactivated, is_erased, is_locked,
      is_suspended, is_shadow_banned, created_ts
    FROM users
    WHERE user_id = ${userId}`);
  return row === null ? null : toUser(row);
}

/** Adds an account; returns false when the name is taken. */
export async function insertUser(tx: Tx, user: NewUser): Promise<boolean> {
  const inserted = await tx.run(sql`
    INSERT INTO users (user_id, password_hash, is_guest, is_admin, user_type, appservice_id, is_deactivated, is_erased,
      is_locked, is_suspended, is_shadow_banned, created_ts)
    VALUES (${user.userId}, ${user.passwordHash}, ${user.isGuest}, ${user.isAdmin}, ${user.userType},
      ${user.appserviceId}, ${false}, ${false}, ${false}, ${false}, ${false}, ${user.createdTs})
    ON CONFLICT (user_id) DO NOTHING`);
  return inserted === 1;
}

/** Makes a user of a guest; returns false when the account is no guest's. */
export async function updateGuestToUser(
  tx: Tx,
  { userId, passwordHash }: { userId: UserId; passwordHash: string },
): Promise<boolean> {
  const changed = await tx.run(sql`
    UPDATE users SET is_guest = ${false}, password_hash = ${passwordHash}
    WHERE user_id = ${userId} AND is_guest AND NOT is_deactivated`);
  return changed === 1;
}

/** Sets or, with null, removes an account's password hash. */
export async function updatePasswordHash(
  tx: Tx,
  { userId, passwordHash }: { userId: UserId; passwordHash: string | null },
): Promise<void> {
  await tx.run(sql`UPDATE users SET password_hash = ${passwordHash} WHERE user_id = ${userId}`);
}

/** Makes an account a server administrator, or no longer one. */
export async function updateIsAdmin(tx: Tx, { userId, isAdmin }: { userId: UserId; isAdmin: boolean }): Promise<void> {
  await tx.run(sql`UPDATE users SET is_admin = ${isAdmin} WHERE user_id = ${userId}`);
}

/** Marks an account deactivated, without a password, and erased where asked; erasure is never taken back here. */
export async function updateDeactivated(tx: Tx, { userId, erase }: { userId: UserId; erase: boolean }): Promise<void> {
  await tx.run(sql`
    UPDATE users
    SET is_deactivated = ${true}, password_hash = NULL, is_erased = (is_erased OR ${erase})
    WHERE user_id = ${userId}`);
}

/** Opens an account again; its messages are shown again too. */
export async function updateReactivated(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`
    UPDATE users SET is_deactivated = ${false}, is_erased = ${false} WHERE user_id = ${userId} AND is_deactivated`);
}

/** Says what kind of user an account is. */
export async function updateUserType(
  tx: Tx,
  { userId, userType }: { userId: UserId; userType: string | null },
): Promise<void> {
  await tx.run(sql`UPDATE users SET user_type = ${userType} WHERE user_id = ${userId}`);
}

/** Returns users who are erased, by user id after `after`, at most `limit`. */
export async function selectErasedUsers(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT user_id FROM users WHERE is_erased AND user_id > ${after} ORDER BY user_id LIMIT ${limit}`);
  return rows.map((row) => row.user_id);
}

/** Locks or unlocks an account: a locked one keeps its sessions but can only log out. */
export async function updateIsLocked(
  tx: Tx,
  { userId, isLocked }: { userId: UserId; isLocked: boolean },
): Promise<void> {
  await tx.run(sql`UPDATE users SET is_locked = ${isLocked} WHERE user_id = ${userId}`);
}

/** Shadow-bans an account, or lifts that: what it sends reaches nobody, and it is not told. */
export async function updateIsShadowBanned(
  tx: Tx,
  { userId, isShadowBanned }: { userId: UserId; isShadowBanned: boolean },
): Promise<void> {
  await tx.run(sql`UPDATE users SET is_shadow_banned = ${isShadowBanned} WHERE user_id = ${userId}`);
}

/** Suspends an account, or lifts the suspension. */
export async function updateIsSuspended(
  tx: Tx,
  { userId, isSuspended }: { userId: UserId; isSuspended: boolean },
): Promise<void> {
  await tx.run(sql`UPDATE users SET is_suspended = ${isSuspended} WHERE user_id = ${userId}`);
}

/** A verified e-mail address or phone number. */
export interface Threepid {
  readonly medium: string;
  readonly address: string;
  readonly validatedTs: number;
  readonly addedTs: number;
}

/** Returns a user's verified addresses, oldest first, at most 100. */
export async function selectThreepids(db: Db, userId: UserId): Promise<Threepid[]> {
  const rows = await db.all<{ medium: string; address: string; validated_ts: number; added_ts: number }>(sql`
    SELECT medium, address, validated_ts, added_ts
    FROM user_threepids
    WHERE user_id = ${userId}
    ORDER BY added_ts, medium, address
    LIMIT 100`);
  return rows.map((row) => ({
    medium: row.medium,
    address: row.address,
    validatedTs: row.validated_ts,
    addedTs: row.added_ts,
  }));
}

/** Returns whose verified address this is, or null. */
export async function selectThreepidOwner(
  db: Db,
  { medium, address }: { medium: string; address: string },
): Promise<UserId | null> {
  const row = await db.get<{ user_id: string }>(sql`
    SELECT user_id FROM user_threepids WHERE medium = ${medium} AND address = ${address}`);
  return row === null ? null : row.user_id as UserId;
}

/** Gives a user a verified address; returns false when it is another user's. */
export async function insertThreepid(
  tx: Tx,
  { userId, medium, address, validatedTs, addedTs }: Threepid & { userId: UserId },
): Promise<boolean> {
  const changed = await tx.run(sql`
    INSERT INTO user_threepids (medium, address, user_id, validated_ts, added_ts)
    VALUES (${medium}, ${address}, ${userId}, ${validatedTs}, ${addedTs})
    ON CONFLICT (medium, address) DO UPDATE SET validated_ts = excluded.validated_ts
    WHERE user_threepids.user_id = excluded.user_id`);
  return changed === 1;
}

/** Removes one verified address of a user. */
export async function deleteThreepid(
  tx: Tx,
  { userId, medium, address }: { userId: UserId; medium: string; address: string },
): Promise<void> {
  await tx.run(sql`
    DELETE FROM user_threepids WHERE user_id = ${userId} AND medium = ${medium} AND address = ${address}`);
}

/** Removes all verified addresses of a user. */
export async function deleteThreepids(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM user_threepids WHERE user_id = ${userId}`);
}

/** Counts the accounts that are in use, by the application service they belong to; null stands for none. */
export async function countActiveUsers(db: Db): Promise<{ appserviceId: string | null; count: number }[]> {
  const rows = await db.all<{ appservice_id: string | null; count: number }>(sql`
    SELECT appservice_id, COUNT(*) AS count FROM users WHERE NOT is_deactivated GROUP BY appservice_id LIMIT 1000`);
  return rows.map(({ appservice_id: appserviceId, count }) => ({ appserviceId, count }));
}
