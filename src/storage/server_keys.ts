/** Signing keys of other servers, and the documents that they come from. */
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** A key of a server. Times are milliseconds since the epoch. */
export interface StoredServerKey {
  readonly serverName: string;
  readonly keyId: string;
  /** Unpadded base64. */
  readonly verifyKey: string;
  readonly validUntilTs: number;
  readonly isRetired: boolean;
  readonly fetchedTs: number;
}

/** A signed document in which a server lists its keys. */
export interface StoredKeyDocument {
  readonly serverName: string;
  readonly keyId: string;
  readonly json: string;
  readonly validUntilTs: number;
  readonly fetchedTs: number;
}

interface KeyRow {
  readonly server_name: string;
  readonly key_id: string;
  readonly verify_key: string;
  readonly valid_until_ts: number;
  readonly is_retired: boolean;
  readonly fetched_ts: number;
}

interface DocumentRow {
  readonly server_name: string;
  readonly key_id: string;
  readonly json: string;
  readonly valid_until_ts: number;
  readonly fetched_ts: number;
}

const MAX_KEYS_PER_SERVER = 200;

/** Returns the keys of a server, the newest first, at most a few hundred. */
export async function selectServerKeys(db: Db, serverName: string): Promise<StoredServerKey[]> {
  const rows = await db.all<KeyRow>(sql`
    SELECT server_name, key_id, verify_key, valid_until_ts, is_retired, fetched_ts FROM server_keys
    WHERE server_name = ${serverName}
    ORDER BY fetched_ts DESC, key_id
    LIMIT ${MAX_KEYS_PER_SERVER}`);
  return rows.map(toKey);
}

/** Returns one key of a server, or null. */
export async function selectServerKey(
  db: Db,
  { serverName, keyId }: { serverName: string; keyId: string },
): Promise<StoredServerKey | null> {
  const row = await db.get<KeyRow>(sql`
    SELECT server_name, key_id, verify_key, valid_until_ts, is_retired, fetched_ts FROM server_keys
    WHERE server_name = ${serverName} AND key_id = ${keyId}`);
  return row === null ? null : toKey(row);
}

/** Adds keys or replaces what is known of them. */
export async function upsertServerKeys(tx: Tx, keys: readonly StoredServerKey[]): Promise<void> {
  await tx.runMany(keys.map((key) =>
    sql`
    INSERT INTO server_keys (server_name, key_id, verify_key, valid_until_ts, is_retired, fetched_ts)
    VALUES (${key.serverName}, ${key.keyId}, ${key.verifyKey}, ${key.validUntilTs}, ${key.isRetired}, ${key.fetchedTs})
    ON CONFLICT (server_name, key_id) DO UPDATE SET
      verify_key = excluded.verify_key,
      valid_until_ts = excluded.valid_until_ts,
      is_retired = excluded.is_retired,
      fetched_ts = excluded.fetched_ts`
  ));
}

/** Keeps a document for each of the keys it lists. */
export async function upsertKeyDocuments(
  tx: Tx,
  { keyIds, ...document }: Omit<StoredKeyDocument, "keyId"> & { keyIds: readonly string[] },
): Promise<void> {
  const { serverName, json, validUntilTs, fetchedTs } = document;
  await tx.runMany(keyIds.map((keyId) =>
    sql`
    INSERT INTO server_key_documents (server_name, key_id, json, valid_until_ts, fetched_ts)
    VALUES (${serverName}, ${keyId}, ${json}, ${validUntilTs}, ${fetchedTs})
    ON CONFLICT (server_name, key_id) DO UPDATE SET
      json = excluded.json,
      valid_until_ts = excluded.valid_until_ts,
      fetched_ts = excluded.fetched_ts`
  ));
}

/** Returns the documents for some keys of a server, or for all where `keyIds` is null, the newest first. */
export async function selectKeyDocuments(
  db: Db,
  { serverName, keyIds, limit }: { serverName: string; keyIds: readonly string[] | null; limit: number },
): Promise<StoredKeyDocument[]> {
  const wanted = keyIds === null ? sql`TRUE` : inList(sql`key_id`, keyIds);
  const rows = await db.all<DocumentRow>(sql`
    SELECT server_name, key_id, json, valid_until_ts, fetched_ts FROM server_key_documents
    WHERE server_name = ${serverName} AND ${wanted}
    ORDER BY fetched_ts DESC, key_id
    LIMIT ${limit}`);
  return rows.map((row) => ({
    serverName: row.server_name,
    keyId: row.key_id,
    json: row.json,
    validUntilTs: row.valid_until_ts,
    fetchedTs: row.fetched_ts,
  }));
}

function toKey(row: KeyRow): StoredServerKey {
  return {
    serverName: row.server_name,
    keyId: row.key_id,
    verifyKey: row.verify_key,
    validUntilTs: row.valid_until_ts,
    isRetired: row.is_retired,
    fetchedTs: row.fetched_ts,
  };
}
