/** Registration tokens, and the nonces of registration with the shared secret. */
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A token that lets people register. */
export interface RegistrationToken {
  readonly token: string;
  /** Null for as often as wanted. */
  readonly usesAllowed: number | null;
  readonly pending: number;
  readonly completed: number;
  /** Null for ever. */
  readonly expiresTs: number | null;
}

interface Row {
  token: string;
  uses_allowed: number | null;
  pending: number;
  completed: number;
  expires_ts: number | null;
}

const MAX_LISTED = 100_000;

/** Returns a token, or null. */
export async function selectRegistrationToken(db: Db, token: string): Promise<RegistrationToken | null> {
  const row = await db.get<Row>(sql`
    SELECT token, uses_allowed, pending, completed, expires_ts FROM registration_tokens WHERE token = ${token}`);
  return row === null ? null : toToken(row);
}

/** Returns all tokens, in order of their names. */
export async function selectRegistrationTokens(db: Db): Promise<RegistrationToken[]> {
  const rows = await db.all<Row>(sql`
    SELECT token, uses_allowed, pending, completed, expires_ts FROM registration_tokens
    ORDER BY token LIMIT ${MAX_LISTED}`);
  return rows.map(toToken);
}

/** Changes how often and until when a token can be used. */
export async function updateRegistrationToken(
  tx: Tx,
  { token, usesAllowed, expiresTs }: Pick<RegistrationToken, "token" | "usesAllowed" | "expiresTs">,
): Promise<void> {
  await tx.run(sql`
    UPDATE registration_tokens SET uses_allowed = ${usesAllowed}, expires_ts = ${expiresTs} WHERE token = ${token}`);
}

/** Deletes a token; returns false when there is none. */
export async function deleteRegistrationToken(tx: Tx, token: string): Promise<boolean> {
  return await tx.run(sql`DELETE FROM registration_tokens WHERE token = ${token}`) === 1;
}

function toToken(row: Row): RegistrationToken {
  return {
    token: row.token,
    usesAllowed: row.uses_allowed,
    pending: row.pending,
    completed: row.completed,
    expiresTs: row.expires_ts,
  };
}

/** Adds a token; returns false when there is one of that name. */
export async function insertRegistrationToken(
  tx: Tx,
  { token, usesAllowed, expiresTs }: Pick<RegistrationToken, "token" | "usesAllowed" | "expiresTs">,
): Promise<boolean> {
  const inserted = await tx.run(sql`
    INSERT INTO registration_tokens (token, uses_allowed, pending, completed, expires_ts)
    VALUES (${token}, ${usesAllowed}, ${0}, ${0}, ${expiresTs})
    ON CONFLICT (token) DO NOTHING`);
  return inserted === 1;
}

/** Reserves one use of a token that is valid at `now`; returns false when it is not. */
export async function reserveRegistrationToken(
  tx: Tx,
  { token, now }: { token: string; now: number },
): Promise<boolean> {
  const changed = await tx.run(sql`
    UPDATE registration_tokens
    SET pending = pending + 1
    WHERE token = ${token}
      AND (uses_allowed IS NULL OR pending + completed < uses_allowed)
      AND (expires_ts IS NULL OR expires_ts > ${now})`);
  return changed === 1;
}

/** Turns a reserved use into a completed one. */
export async function completeRegistrationToken(tx: Tx, token: string): Promise<void> {
  await tx.run(sql`
    UPDATE registration_tokens
    SET completed = completed + 1, pending = CASE WHEN pending > 0 THEN pending - 1 ELSE 0 END
    WHERE token = ${token}`);
}

/** Gives a reserved use back. */
export async function releaseRegistrationToken(tx: Tx, token: string): Promise<void> {
  await tx.run(sql`UPDATE registration_tokens SET pending = pending - 1 WHERE token = ${token} AND pending > 0`);
}

/** Adds a nonce and removes those that ran out before `now`. */
export async function insertNonce(
  tx: Tx,
  { nonce, expiresTs, now }: { nonce: string; expiresTs: number; now: number },
): Promise<void> {
  await tx.run(sql`DELETE FROM registration_nonces WHERE expires_ts < ${now}`);
  await tx.run(sql`INSERT INTO registration_nonces (nonce, expires_ts) VALUES (${nonce}, ${expiresTs})`);
}

/** Uses up a nonce; returns false when it is unknown or had run out at `now`. */
export async function deleteNonce(tx: Tx, { nonce, now }: { nonce: string; now: number }): Promise<boolean> {
  const row = await tx.get<{ expires_ts: number }>(sql`
    DELETE FROM registration_nonces WHERE nonce = ${nonce} RETURNING expires_ts`);
  return row !== null && row.expires_ts > now;
}
