/** Cross-signing keys, signatures on keys, and the log of whose keys changed. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, lockRow, sql } from "./sql.ts";

/** What a cross-signing key is for. */
export type KeyUsage = "master" | "self_signing" | "user_signing";

/** A user's cross-signing key. */
export interface CrossSigningKey {
  readonly userId: UserId;
  readonly usage: KeyUsage;
  readonly keyJson: string;
}

/** A signature on a device key or a cross-signing key. */
export interface KeySignature {
  readonly targetUserId: UserId;
  /** A device id, or the public key of a cross-signing key. */
  readonly targetKey: string;
  readonly signerUserId: UserId;
  readonly signerKeyId: string;
  readonly signature: string;
}

/** Stores a cross-signing key. */
export async function upsertCrossSigningKey(tx: Tx, { userId, usage, keyJson }: CrossSigningKey): Promise<void> {
  await tx.run(sql`
    INSERT INTO cross_signing_keys (user_id, usage, key_json) VALUES (${userId}, ${usage}, ${keyJson})
    ON CONFLICT (user_id, usage) DO UPDATE SET key_json = excluded.key_json`);
}

/** Returns the cross-signing keys of some users. */
export async function selectCrossSigningKeys(db: Db, userIds: readonly UserId[]): Promise<CrossSigningKey[]> {
  if (userIds.length === 0) return [];
  const rows = await db.all<{ user_id: UserId; usage: KeyUsage; key_json: string }>(sql`
    SELECT user_id, usage, key_json FROM cross_signing_keys WHERE ${inList(sql`user_id`, userIds)}`);
  return rows.map((row) => ({ userId: row.user_id, usage: row.usage, keyJson: row.key_json }));
}

/** Removes a user's cross-signing keys and the signatures on them, as when the account ends. */
export async function deleteCrossSigningKeys(tx: Tx, userId: UserId): Promise<void> {
  await tx.runMany([
    sql`DELETE FROM cross_signing_keys WHERE user_id = ${userId}`,
    sql`DELETE FROM key_signatures WHERE target_user_id = ${userId}`,
  ]);
}

/** Stores a signature. */
export async function upsertKeySignature(tx: Tx, s: KeySignature): Promise<void> {
  await tx.run(sql`
    INSERT INTO key_signatures (target_user_id, target_key, signer_user_id, signer_key_id, signature)
    VALUES (${s.targetUserId}, ${s.targetKey}, ${s.signerUserId}, ${s.signerKeyId}, ${s.signature})
    ON CONFLICT (target_user_id, target_key, signer_user_id, signer_key_id)
      DO UPDATE SET signature = excluded.signature`);
}

/** Returns the signatures on the keys of some users. */
export async function selectKeySignatures(db: Db, targetUserIds: readonly UserId[]): Promise<KeySignature[]> {
  if (targetUserIds.length === 0) return [];
  const rows = await db.all<{
    target_user_id: UserId;
    target_key: string;
    signer_user_id: UserId;
    signer_key_id: string;
    signature: string;
  }>(sql`
    SELECT target_user_id, target_key, signer_user_id, signer_key_id, signature FROM key_signatures
    WHERE ${inList(sql`target_user_id`, targetUserIds)}`);
  return rows.map((row) => ({
    targetUserId: row.target_user_id,
    targetKey: row.target_key,
    signerUserId: row.signer_user_id,
    signerKeyId: row.signer_key_id,
    signature: row.signature,
  }));
}

/** Notes at `position` that `signer` signed keys of another user. */
export async function upsertKeySignatureChange(
  tx: Tx,
  { signer, target, position }: { signer: UserId; target: UserId; position: number },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO key_signature_changes (signer_user_id, target_user_id, position)
    VALUES (${signer}, ${target}, ${position})
    ON CONFLICT (signer_user_id, target_user_id) DO UPDATE SET position = excluded.position`);
}

/** Returns the users whose keys `signer` signed last in `(after, upTo]`, at most `limit`. */
export async function selectKeySignatureChanges(
  db: Db,
  { signer, after, upTo, limit }: { signer: UserId; after: number; upTo: number; limit: number },
): Promise<UserId[]> {
  const rows = await db.all<{ target_user_id: UserId }>(sql`
    SELECT target_user_id FROM key_signature_changes
    WHERE signer_user_id = ${signer} AND position > ${after} AND position <= ${upTo}
    ORDER BY position LIMIT ${limit}`);
  return rows.map((row) => row.target_user_id);
}

/** Locks a user's keys against other writers for the rest of the transaction. */
export async function lockKeysOfUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.get(sql`SELECT user_id FROM users WHERE user_id = ${userId} ${lockRow()}`);
}

/** Notes at `position` that a user's keys changed; earlier notes of the same user say nothing more and go. */
export async function insertDeviceListChange(
  tx: Tx,
  { userId, position }: { userId: UserId; position: number },
): Promise<void> {
  await tx.runMany([
    sql`DELETE FROM device_list_changes WHERE user_id = ${userId}`,
    sql`INSERT INTO device_list_changes (position, user_id) VALUES (${position}, ${userId})`,
  ]);
}

/** Returns the users whose keys changed last in `(after, upTo]`, oldest change first, at most `limit`. */
export async function selectDeviceListChanges(
  db: Db,
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT user_id FROM device_list_changes WHERE position > ${after} AND position <= ${upTo}
    ORDER BY position LIMIT ${limit}`);
  return rows.map((row) => row.user_id);
}
