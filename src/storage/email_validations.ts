/** Proofs that an e-mail address is somebody's: made when a mail is asked for, complete when its link was opened. */
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** What an address is proven for. */
export type ValidationPurpose = "register" | "add" | "reset";

/** A proof, complete or not. */
export interface EmailValidation {
  readonly sessionId: string;
  readonly purpose: ValidationPurpose;
  readonly address: string;
  readonly clientSecret: string;
  readonly sendAttempt: number;
  readonly tokenHash: string;
  readonly nextLink: string | null;
  readonly tokenExpiresTs: number;
  /** Null until the link was opened. */
  readonly validatedTs: number | null;
  readonly expiresTs: number;
}

interface Row {
  readonly session_id: string;
  readonly purpose: ValidationPurpose;
  readonly address: string;
  readonly client_secret: string;
  readonly send_attempt: number;
  readonly token_hash: string;
  readonly next_link: string | null;
  readonly token_expires_ts: number;
  readonly validated_ts: number | null;
  readonly expires_ts: number;
}

const COLUMNS = sql`session_id, purpose, address, client_secret, send_attempt, token_hash, next_link, token_expires_ts,
  validated_ts, expires_ts`;

function toValidation(row: Row): EmailValidation {
  return {
    sessionId: row.session_id,
    purpose: row.purpose,
    address: row.address,
    clientSecret: row.client_secret,
    sendAttempt: row.send_attempt,
    tokenHash: row.token_hash,
    nextLink: row.next_link,
    tokenExpiresTs: row.token_expires_ts,
    validatedTs: row.validated_ts,
    expiresTs: row.expires_ts,
  };
}

/** Returns a proof that has not expired, or null. */
export async function selectEmailValidation(
  db: Db,
  { sessionId, now }: { sessionId: string; now: number },
): Promise<EmailValidation | null> {
  const row = await db.get<Row>(sql`
    SELECT ${COLUMNS} FROM email_validations WHERE session_id = ${sessionId} AND expires_ts > ${now}`);
  return row === null ? null : toValidation(row);
}

/** Returns the proof that a client asked for with its secret, or null. */
export async function selectRequestedValidation(
  db: Db,
  { purpose, address, clientSecret, now }:
    & Pick<EmailValidation, "purpose" | "address" | "clientSecret">
    & { now: number },
): Promise<EmailValidation | null> {
  const row = await db.get<Row>(sql`
    SELECT ${COLUMNS} FROM email_validations
    WHERE purpose = ${purpose} AND address = ${address} AND client_secret = ${clientSecret} AND expires_ts > ${now}`);
  return row === null ? null : toValidation(row);
}

/** Writes a proof in place of the one that the client had with the same secret, whose id it takes. */
export async function upsertEmailValidation(tx: Tx, validation: EmailValidation): Promise<void> {
  await tx.run(sql`
    INSERT INTO email_validations (${COLUMNS})
    VALUES (${validation.sessionId}, ${validation.purpose}, ${validation.address}, ${validation.clientSecret},
      ${validation.sendAttempt}, ${validation.tokenHash}, ${validation.nextLink}, ${validation.tokenExpiresTs},
      ${validation.validatedTs}, ${validation.expiresTs})
    ON CONFLICT (purpose, address, client_secret) DO UPDATE
    SET session_id = excluded.session_id, send_attempt = excluded.send_attempt, token_hash = excluded.token_hash,
      next_link = excluded.next_link, token_expires_ts = excluded.token_expires_ts,
      validated_ts = excluded.validated_ts, expires_ts = excluded.expires_ts`);
}

/** Notes that the link was opened; the proof holds until `expiresTs`. */
export async function updateValidated(
  tx: Tx,
  { sessionId, validatedTs, expiresTs }: { sessionId: string; validatedTs: number; expiresTs: number },
): Promise<void> {
  await tx.run(sql`
    UPDATE email_validations SET validated_ts = ${validatedTs}, expires_ts = ${expiresTs}
    WHERE session_id = ${sessionId} AND validated_ts IS NULL`);
}

/** Removes a proof, which was used. */
export async function deleteEmailValidation(tx: Tx, sessionId: string): Promise<void> {
  await tx.run(sql`DELETE FROM email_validations WHERE session_id = ${sessionId}`);
}

/** Removes proofs that expired. */
export async function deleteExpiredValidations(tx: Tx, now: number): Promise<void> {
  await tx.run(sql`DELETE FROM email_validations WHERE expires_ts <= ${now}`);
}
