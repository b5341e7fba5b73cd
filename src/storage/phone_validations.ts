/** Sessions of an identity server in which phone numbers are proven. */
import type { Db, Tx } from "./database.ts";
import type { ValidationPurpose } from "./email_validations.ts";
import { sql } from "./sql.ts";

/** A session, and what it proves a number for. */
export interface PhoneSession {
  readonly sessionId: string;
  readonly purpose: ValidationPurpose;
}

/** Notes a session that was opened. */
export async function upsertPhoneValidation(
  tx: Tx,
  { sessionId, purpose, expiresTs }: PhoneSession & { expiresTs: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO phone_validations (session_id, purpose, expires_ts) VALUES (${sessionId}, ${purpose}, ${expiresTs})
    ON CONFLICT (session_id, purpose) DO UPDATE SET expires_ts = excluded.expires_ts`);
}

/** Tells whether a session was opened for a purpose and may still be used. */
export async function hasPhoneValidation(
  db: Db,
  { sessionId, purpose, now }: PhoneSession & { now: number },
): Promise<boolean> {
  const row = await db.get<{ found: number }>(sql`
    SELECT 1 AS found FROM phone_validations
    WHERE session_id = ${sessionId} AND purpose = ${purpose} AND expires_ts > ${now}`);
  return row !== null;
}

/** Removes a session whose proof was used. */
export async function deletePhoneValidation(tx: Tx, sessionId: string): Promise<void> {
  await tx.run(sql`DELETE FROM phone_validations WHERE session_id = ${sessionId}`);
}

/** Removes sessions that expired. */
export async function deleteExpiredPhoneValidations(tx: Tx, now: number): Promise<void> {
  await tx.run(sql`DELETE FROM phone_validations WHERE expires_ts <= ${now}`);
}
