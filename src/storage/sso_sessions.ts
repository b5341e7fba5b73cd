/** Logins at identity providers: the devices that end with them, and new users who have yet to choose. */
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** A session at an identity provider. */
export interface AuthSession {
  readonly authProvider: string;
  readonly authSession: string;
}

/** A device with its user. */
export interface DeviceOfUser {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
}

/** A new user who has yet to choose. */
export interface SsoSessionRow {
  readonly sessionHash: string;
  readonly authProvider: string;
  readonly authSession: string | null;
  /** JSON. */
  readonly data: string;
  readonly expiresTs: number;
}

/** Notes the session that a device ends with, or that it ends with none. */
export async function setDeviceAuthSession(
  tx: Tx,
  { userId, deviceId, authProvider, authSession }: DeviceOfUser & {
    authProvider: string | null;
    authSession: string | null;
  },
): Promise<void> {
  await deleteDeviceAuthSessions(tx, { userId, deviceIds: [deviceId] });
  if (authProvider === null || authSession === null) return;
  await tx.run(sql`
    INSERT INTO device_auth_sessions (user_id, device_id, auth_provider, auth_session)
    VALUES (${userId}, ${deviceId}, ${authProvider}, ${authSession})`);
}

/** Forgets which sessions devices end with. */
export async function deleteDeviceAuthSessions(
  tx: Tx,
  { userId, deviceIds }: { userId: UserId; deviceIds: readonly DeviceId[] },
): Promise<void> {
  if (deviceIds.length === 0) return;
  await tx.run(sql`
    DELETE FROM device_auth_sessions WHERE user_id = ${userId} AND ${inList(sql`device_id`, deviceIds)}`);
}

/** Returns the devices that end with a session, at most 1,000. */
export async function selectDevicesOfAuthSession(
  db: Db,
  { authProvider, authSession }: AuthSession,
): Promise<DeviceOfUser[]> {
  const rows = await db.all<{ user_id: string; device_id: string }>(sql`
    SELECT user_id, device_id
    FROM device_auth_sessions
    WHERE auth_provider = ${authProvider} AND auth_session = ${authSession}
    ORDER BY user_id, device_id
    LIMIT 1000`);
  return rows.map((row) => ({ userId: row.user_id as UserId, deviceId: row.device_id as DeviceId }));
}

/** Ends the logins under way that came from a session. */
export async function deleteLoginsOfAuthSession(tx: Tx, { authProvider, authSession }: AuthSession): Promise<void> {
  await tx.run(sql`
    DELETE FROM login_tokens WHERE auth_provider = ${authProvider} AND auth_session = ${authSession}`);
  await tx.run(sql`
    DELETE FROM sso_sessions WHERE auth_provider = ${authProvider} AND auth_session = ${authSession}`);
}

/** Returns a session that has not expired at `now`, or null. */
export async function selectSsoSession(
  db: Db,
  { sessionHash, now }: { sessionHash: string; now: number },
): Promise<SsoSessionRow | null> {
  const row = await db.get<{ auth_provider: string; auth_session: string | null; data: string; expires_ts: number }>(
    sql`
    SELECT auth_provider, auth_session, data, expires_ts
    FROM sso_sessions
    WHERE session_hash = ${sessionHash} AND expires_ts > ${now}`,
  );
  if (row === null) return null;
  return {
    sessionHash,
    authProvider: row.auth_provider,
    authSession: row.auth_session,
    data: row.data,
    expiresTs: row.expires_ts,
  };
}

/** Adds a session, or replaces what it holds. */
export async function upsertSsoSession(tx: Tx, session: SsoSessionRow): Promise<void> {
  await tx.run(sql`
    INSERT INTO sso_sessions (session_hash, auth_provider, auth_session, data, expires_ts)
    VALUES (${session.sessionHash}, ${session.authProvider}, ${session.authSession}, ${session.data},
      ${session.expiresTs})
    ON CONFLICT (session_hash) DO UPDATE SET data = excluded.data`);
}

/** Removes a session; returns false when there is none. */
export async function deleteSsoSession(tx: Tx, sessionHash: string): Promise<boolean> {
  return await tx.run(sql`DELETE FROM sso_sessions WHERE session_hash = ${sessionHash}`) === 1;
}

/** Removes sessions that ran out before `now`, at most 1,000. */
export async function deleteExpiredSsoSessions(tx: Tx, now: number): Promise<void> {
  await tx.run(sql`
    DELETE FROM sso_sessions WHERE session_hash IN (
      SELECT session_hash FROM sso_sessions WHERE expires_ts <= ${now} ORDER BY expires_ts LIMIT 1000)`);
}
