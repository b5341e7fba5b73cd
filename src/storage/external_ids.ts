/** Who users are at identity providers. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A person at an identity provider. */
export interface ExternalId {
  /** The provider's id, for example `oidc-keycloak`. */
  readonly authProvider: string;
  readonly externalId: string;
}

/** More than any user has; lists end here. */
const MAX_EXTERNAL_IDS = 1_000;

/** Returns the user who is this person, or null. */
export async function selectUserByExternalId(
  db: Db,
  { authProvider, externalId }: ExternalId,
): Promise<UserId | null> {
  const row = await db.get<{ user_id: string }>(sql`
    SELECT user_id FROM user_external_ids WHERE auth_provider = ${authProvider} AND external_id = ${externalId}`);
  return row === null ? null : row.user_id as UserId;
}

/** Returns who a user is at identity providers, by provider. */
export async function selectExternalIds(db: Db, userId: UserId): Promise<ExternalId[]> {
  const rows = await db.all<{ auth_provider: string; external_id: string }>(sql`
    SELECT auth_provider, external_id
    FROM user_external_ids
    WHERE user_id = ${userId}
    ORDER BY auth_provider, external_id
    LIMIT ${MAX_EXTERNAL_IDS}`);
  return rows.map((row) => ({ authProvider: row.auth_provider, externalId: row.external_id }));
}

/** Notes who a user is; returns false when that person is another user. */
export async function insertExternalId(
  tx: Tx,
  { authProvider, externalId, userId }: ExternalId & { userId: UserId },
): Promise<boolean> {
  const inserted = await tx.run(sql`
    INSERT INTO user_external_ids (auth_provider, external_id, user_id)
    VALUES (${authProvider}, ${externalId}, ${userId})
    ON CONFLICT (auth_provider, external_id) DO NOTHING`);
  return inserted === 1 || await selectUserByExternalId(tx, { authProvider, externalId }) === userId;
}

/** Forgets who a user is at one provider. */
export async function deleteExternalId(
  tx: Tx,
  { authProvider, externalId, userId }: ExternalId & { userId: UserId },
): Promise<void> {
  await tx.run(sql`
    DELETE FROM user_external_ids
    WHERE auth_provider = ${authProvider} AND external_id = ${externalId} AND user_id = ${userId}`);
}

/** Forgets all that a user is elsewhere. */
export async function deleteExternalIds(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM user_external_ids WHERE user_id = ${userId}`);
}
