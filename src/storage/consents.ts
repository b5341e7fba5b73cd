/** Who agreed to the terms of the server. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** How a user stands to the terms. */
export interface Consent {
  /** The version agreed to last; null for none. */
  readonly version: string | null;
  readonly consentedTs: number | null;
  /** The version that a notice was last sent about. */
  readonly noticeVersion: string | null;
}

/** Returns how a user stands to the terms; null where nothing is known. */
export async function selectConsent(db: Db, userId: UserId): Promise<Consent | null> {
  const row = await db.get<{ version: string | null; consented_ts: number | null; notice_version: string | null }>(sql`
    SELECT version, consented_ts, notice_version FROM user_consents WHERE user_id = ${userId}`);
  if (row === null) return null;
  return { version: row.version, consentedTs: row.consented_ts, noticeVersion: row.notice_version };
}

/** Notes that a user agreed to a version. */
export async function upsertConsent(
  tx: Tx,
  { userId, version, consentedTs }: { userId: UserId; version: string; consentedTs: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO user_consents (user_id, version, consented_ts, notice_version)
    VALUES (${userId}, ${version}, ${consentedTs}, NULL)
    ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, consented_ts = excluded.consented_ts`);
}

/** Notes that a notice about a version goes to a user; returns false when one did before. */
export async function claimConsentNotice(
  tx: Tx,
  { userId, version }: { userId: UserId; version: string },
): Promise<boolean> {
  return await tx.run(sql`
    INSERT INTO user_consents (user_id, version, consented_ts, notice_version)
    VALUES (${userId}, NULL, NULL, ${version})
    ON CONFLICT (user_id) DO UPDATE SET notice_version = excluded.notice_version
    WHERE user_consents.notice_version IS NULL OR user_consents.notice_version <> excluded.notice_version`) === 1;
}
