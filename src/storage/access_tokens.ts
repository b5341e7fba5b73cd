/** Access and refresh tokens, by the hash of each. */
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { lockRow, sql } from "./sql.ts";

/** An access token together with what decides whether its user may act. */
export interface AccessTokenUser {
  readonly userId: UserId;
  readonly deviceId: DeviceId | null;
  readonly expiresTs: number | null;
  readonly refreshHash: string | null;
  readonly isUsed: boolean;
  readonly isGuest: boolean;
  readonly isAdmin: boolean;
  readonly isLocked: boolean;
  readonly isSuspended: boolean;
  readonly isShadowBanned: boolean;
  /** The administrator who acts as the user with it. */
  readonly puppetedBy: UserId | null;
}

interface AccessTokenUserRow {
  user_id: string;
  device_id: string | null;
  expires_ts: number | null;
  refresh_hash: string | null;
  is_used: boolean;
  is_guest: boolean;
  is_admin: boolean;
  is_locked: boolean;
  is_suspended: boolean;
  is_shadow_banned: boolean;
  puppeted_by: string | null;
}

/** A new access token. */
export interface NewAccessToken {
  readonly tokenHash: string;
  readonly userId: UserId;
  readonly deviceId: DeviceId | null;
  readonly createdTs: number;
  /** Null for one that does not expire. */
  readonly expiresTs: number | null;
  readonly refreshHash: string | null;
  /** When the user proved who they are with it; null for tokens made otherwise. */
  readonly validatedTs: number | null;
  readonly puppetedBy: UserId | null;
}

/** A refresh token. */
export interface RefreshToken {
  readonly tokenHash: string;
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly expiresTs: number | null;
  readonly sessionExpiresTs: number | null;
  readonly nextHash: string | null;
}

/** Returns the token and its user, or null when unknown or when the user is deactivated. */
export async function selectAccessToken(db: Db, tokenHash: string): Promise<AccessTokenUser | null> {
  const row = await db.get<AccessTokenUserRow>(sql`
    SELECT t.user_id, t.device_id, t.expires_ts, t.refresh_hash, t.is_used, u.is_guest, u.is_admin, u.is_locked,
      u.is_suspended, u.is_shadow_banned, t.puppeted_by
    FROM access_tokens t
    JOIN users u ON u.user_id = t.user_id
    WHERE t.token_hash = ${tokenHash} AND NOT u.is_deactivated`);
  if (row === null) return null;
  return {
    userId: row.user_id as UserId,
    deviceId: row.device_id as DeviceId | null,
    expiresTs: row.expires_ts,
    refreshHash: row.refresh_hash,
    isUsed: row.is_used,
    isGuest: row.is_guest,
    isAdmin: row.is_admin,
    isLocked: row.is_locked,
    isSuspended: row.is_suspended,
    isShadowBanned: row.is_shadow_banned,
    puppetedBy: row.puppeted_by as UserId | null,
  };
}

/** Adds an access token. */
export async function insertAccessToken(tx: Tx, token: NewAccessToken): Promise<void> {
  await tx.run(sql`
    INSERT INTO access_tokens (token_hash, user_id, device_id, created_ts, expires_ts, refresh_hash, is_used, validated_ts,
      puppeted_by)
    VALUES (${token.tokenHash}, ${token.userId}, ${token.deviceId}, ${token.createdTs}, ${token.expiresTs},
      ${token.refreshHash}, ${false}, ${token.validatedTs}, ${token.puppetedBy})`);
}

/** Marks an access token as used; returns whether it was not before. */
export async function updateAccessTokenUsed(tx: Tx, tokenHash: string): Promise<boolean> {
  const changed = await tx.run(sql`
    UPDATE access_tokens SET is_used = ${true} WHERE token_hash = ${tokenHash} AND NOT is_used`);
  return changed === 1;
}

/** Returns when the user last proved who they are with this token; null for never. */
export async function selectValidatedTs(db: Db, tokenHash: string): Promise<number | null> {
  const row = await db.get<{ validated_ts: number | null }>(sql`
    SELECT validated_ts FROM access_tokens WHERE token_hash = ${tokenHash}`);
  return row?.validated_ts ?? null;
}

/** Notes that the user proved who they are with this token. */
export async function updateValidatedTs(
  tx: Tx,
  { tokenHash, validatedTs }: { tokenHash: string; validatedTs: number },
): Promise<void> {
  await tx.run(sql`UPDATE access_tokens SET validated_ts = ${validatedTs} WHERE token_hash = ${tokenHash}`);
}

/** Removes the tokens an admin made to act as others, and returns their hashes. */
export async function deletePuppetTokens(tx: Tx, admin: UserId): Promise<string[]> {
  const rows = await tx.all<{ token_hash: string }>(sql`
    DELETE FROM access_tokens WHERE puppeted_by = ${admin} RETURNING token_hash`);
  return rows.map((row) => row.token_hash);
}

/** Removes one access token. */
export async function deleteAccessToken(tx: Tx, tokenHash: string): Promise<void> {
  await tx.run(sql`DELETE FROM access_tokens WHERE token_hash = ${tokenHash}`);
}

/** Removes all tokens of a device, and returns the hashes of the access tokens among them. */
export async function deleteTokensOfDevice(
  tx: Tx,
  { userId, deviceId }: { userId: UserId; deviceId: DeviceId },
): Promise<string[]> {
  const rows = await tx.all<{ token_hash: string }>(sql`
    DELETE FROM access_tokens WHERE user_id = ${userId} AND device_id = ${deviceId} RETURNING token_hash`);
  await tx.run(sql`DELETE FROM refresh_tokens WHERE user_id = ${userId} AND device_id = ${deviceId}`);
  return rows.map((row) => row.token_hash);
}

/** Removes the tokens of a user that have no device, and returns their hashes. */
export async function deleteTokensWithoutDevice(tx: Tx, userId: UserId): Promise<string[]> {
  const rows = await tx.all<{ token_hash: string }>(sql`
    DELETE FROM access_tokens WHERE user_id = ${userId} AND device_id IS NULL RETURNING token_hash`);
  return rows.map((row) => row.token_hash);
}

interface RefreshTokenRow {
  token_hash: string;
  user_id: string;
  device_id: string;
  expires_ts: number | null;
  session_expires_ts: number | null;
  next_hash: string | null;
}

/** Returns and locks a refresh token, or null when unknown; deactivation removes a user's tokens. */
export async function lockRefreshToken(tx: Tx, tokenHash: string): Promise<RefreshToken | null> {
  const row = await tx.get<RefreshTokenRow>(sql`
    SELECT token_hash, user_id, device_id, expires_ts, session_expires_ts, next_hash
    FROM refresh_tokens
    WHERE token_hash = ${tokenHash}
    ${lockRow()}`);
  if (row === null) return null;
  return {
    tokenHash: row.token_hash,
    userId: row.user_id as UserId,
    deviceId: row.device_id as DeviceId,
    expiresTs: row.expires_ts,
    sessionExpiresTs: row.session_expires_ts,
    nextHash: row.next_hash,
  };
}

/** Adds a refresh token. */
export async function insertRefreshToken(tx: Tx, token: RefreshToken): Promise<void> {
  await tx.run(sql`
    INSERT INTO refresh_tokens (token_hash, user_id, device_id, expires_ts, session_expires_ts, next_hash)
    VALUES (${token.tokenHash}, ${token.userId}, ${token.deviceId}, ${token.expiresTs}, ${token.sessionExpiresTs},
      ${token.nextHash})`);
}

/** Records which refresh token the last use of `tokenHash` gave. */
export async function updateNextRefreshToken(
  tx: Tx,
  { tokenHash, nextHash }: { tokenHash: string; nextHash: string },
): Promise<void> {
  await tx.run(sql`UPDATE refresh_tokens SET next_hash = ${nextHash} WHERE token_hash = ${tokenHash}`);
}

/**
 * Removes the refresh tokens that lead to `tokenHash` and the access tokens issued with them: their successor is in
 * use. Returns the hashes of those access tokens.
 */
export async function deleteTokensBefore(tx: Tx, tokenHash: string): Promise<string[]> {
  const previous = await tx.all<{ token_hash: string }>(sql`
    DELETE FROM refresh_tokens WHERE next_hash = ${tokenHash} RETURNING token_hash`);
  const removed: string[] = [];
  for (const { token_hash: hash } of previous) removed.push(...await deleteTokensIssuedWith(tx, hash));
  return removed;
}

/** Removes a refresh token that was given out and never used, with the access tokens issued with it. */
export async function deleteRefreshToken(tx: Tx, tokenHash: string): Promise<string[]> {
  await tx.run(sql`DELETE FROM refresh_tokens WHERE token_hash = ${tokenHash}`);
  return await deleteTokensIssuedWith(tx, tokenHash);
}

async function deleteTokensIssuedWith(tx: Tx, refreshHash: string): Promise<string[]> {
  const rows = await tx.all<{ token_hash: string }>(sql`
    DELETE FROM access_tokens WHERE refresh_hash = ${refreshHash} RETURNING token_hash`);
  return rows.map((row) => row.token_hash);
}

/** A login token, and the login at an identity provider that it came from. */
export interface LoginToken {
  readonly userId: UserId;
  readonly expiresTs: number;
  readonly authProvider: string | null;
  readonly authSession: string | null;
  /** What the client is told beside its tokens, as JSON. */
  readonly loginExtra: string | null;
}

/** Adds a login token. */
export async function insertLoginToken(
  tx: Tx,
  { tokenHash, userId, expiresTs, authProvider, authSession, loginExtra }: LoginToken & { tokenHash: string },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO login_tokens (token_hash, user_id, expires_ts, auth_provider, auth_session, login_extra)
    VALUES (${tokenHash}, ${userId}, ${expiresTs}, ${authProvider}, ${authSession}, ${loginExtra})`);
}

/** Takes a login token, which works once, and returns it; null when unknown. */
export async function deleteLoginToken(tx: Tx, tokenHash: string): Promise<LoginToken | null> {
  const row = await tx.get<{
    user_id: string;
    expires_ts: number;
    auth_provider: string | null;
    auth_session: string | null;
    login_extra: string | null;
  }>(sql`
    DELETE FROM login_tokens WHERE token_hash = ${tokenHash}
    RETURNING user_id, expires_ts, auth_provider, auth_session, login_extra`);
  if (row === null) return null;
  return {
    userId: row.user_id as UserId,
    expiresTs: row.expires_ts,
    authProvider: row.auth_provider,
    authSession: row.auth_session,
    loginExtra: row.login_extra,
  };
}

/** Removes login tokens that ran out before `now`, at most 1,000. */
export async function deleteExpiredLoginTokens(tx: Tx, now: number): Promise<void> {
  await tx.run(sql`
    DELETE FROM login_tokens WHERE token_hash IN (
      SELECT token_hash FROM login_tokens WHERE expires_ts < ${now} ORDER BY expires_ts LIMIT 1000)`);
}
