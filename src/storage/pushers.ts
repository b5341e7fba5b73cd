/** Pushers, and how far each has come. */
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** What names a pusher. */
export interface PusherKey {
  readonly userId: UserId;
  readonly appId: string;
  readonly pushkey: string;
}

/** A pusher as its user set it. */
export interface Pusher extends PusherKey {
  readonly kind: string;
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly lang: string;
  readonly profileTag: string;
  readonly data: Readonly<JsonObject>;
  readonly deviceId: DeviceId | null;
  /** Whether it pushes (MSC3881). */
  readonly isEnabled: boolean;
  /** When the user set it last. */
  readonly pushkeyTs: number;
}

/** How a pusher gets on. */
export interface PusherProgress {
  /** Everything up to this position of the events stream was pushed. */
  readonly cursor: number;
  /** Null while the gateway answers. */
  readonly failingSince: number | null;
  /** Attempts that failed one after another. */
  readonly failures: number;
  readonly retryTs: number | null;
}

interface Row {
  readonly user_id: UserId;
  readonly app_id: string;
  readonly pushkey: string;
  readonly kind: string;
  readonly app_display_name: string;
  readonly device_display_name: string;
  readonly lang: string;
  readonly profile_tag: string;
  readonly data: string;
  readonly device_id: DeviceId | null;
  readonly is_enabled: boolean;
  readonly pushkey_ts: number;
  readonly cursor: number;
  readonly failing_since: number | null;
  readonly failures: number;
  readonly retry_ts: number | null;
}

const COLUMNS = sql`user_id, app_id, pushkey, kind, app_display_name, device_display_name, lang, profile_tag, data,
  device_id, is_enabled, pushkey_ts, cursor, failing_since, failures, retry_ts`;
const PAGE = 1_000;
const MAX_PUSHERS_OF_USER = 1_000;

function toPusher(row: Row): Pusher & PusherProgress {
  return {
    userId: row.user_id,
    appId: row.app_id,
    pushkey: row.pushkey,
    kind: row.kind,
    appDisplayName: row.app_display_name,
    deviceDisplayName: row.device_display_name,
    lang: row.lang,
    profileTag: row.profile_tag,
    data: JSON.parse(row.data) as JsonObject,
    deviceId: row.device_id,
    isEnabled: row.is_enabled,
    pushkeyTs: row.pushkey_ts,
    cursor: row.cursor,
    failingSince: row.failing_since,
    failures: row.failures,
    retryTs: row.retry_ts,
  };
}

/** Returns a user's pushers. */
export async function selectPushers(db: Db, userId: UserId): Promise<(Pusher & PusherProgress)[]> {
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM pushers WHERE user_id = ${userId} ORDER BY app_id, pushkey LIMIT ${MAX_PUSHERS_OF_USER}`);
  return rows.map(toPusher);
}

/** Returns a page of all pushers after the one named. */
export async function selectAllPushers(db: Db, after: PusherKey | null): Promise<(Pusher & PusherProgress)[]> {
  const from = after === null
    ? sql``
    : sql` WHERE (user_id, app_id, pushkey) > (${after.userId}, ${after.appId}, ${after.pushkey})`;
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM pushers${from} ORDER BY user_id, app_id, pushkey LIMIT ${PAGE}`);
  return rows.map(toPusher);
}

/**
 * Stores a pusher. One that exists keeps its device and how far it came, and is tried again at once; one that was off goes
 * on from now.
 */
export async function upsertPusher(tx: Tx, { cursor, ...pusher }: Pusher & { cursor: number }): Promise<void> {
  await tx.run(sql`
    INSERT INTO pushers (${COLUMNS})
    VALUES (${pusher.userId}, ${pusher.appId}, ${pusher.pushkey}, ${pusher.kind}, ${pusher.appDisplayName},
      ${pusher.deviceDisplayName}, ${pusher.lang}, ${pusher.profileTag}, ${JSON.stringify(pusher.data)},
      ${pusher.deviceId}, ${pusher.isEnabled}, ${pusher.pushkeyTs}, ${cursor}, NULL, 0, NULL)
    ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET kind = excluded.kind,
      app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
      lang = excluded.lang, profile_tag = excluded.profile_tag, data = excluded.data,
      cursor = CASE WHEN pushers.is_enabled THEN pushers.cursor ELSE excluded.cursor END,
      is_enabled = excluded.is_enabled,
      pushkey_ts = excluded.pushkey_ts, failing_since = NULL, failures = 0, retry_ts = NULL`);
}

/** Notes how a pusher gets on; returns false when it is gone. */
export async function updatePusherProgress(
  tx: Tx,
  { userId, appId, pushkey, cursor, failingSince, failures, retryTs }: PusherKey & PusherProgress,
): Promise<boolean> {
  return await tx.run(sql`
    UPDATE pushers SET cursor = ${cursor}, failing_since = ${failingSince}, failures = ${failures},
      retry_ts = ${retryTs}
    WHERE user_id = ${userId} AND app_id = ${appId} AND pushkey = ${pushkey}`) > 0;
}

/** Removes a pusher; returns false when there is none. */
export async function deletePusher(tx: Tx, { userId, appId, pushkey }: PusherKey): Promise<boolean> {
  return await tx.run(sql`
    DELETE FROM pushers WHERE user_id = ${userId} AND app_id = ${appId} AND pushkey = ${pushkey}`) > 0;
}

/** Removes the pushers of other users that have the same key; returns whose they were. */
export async function deletePushersOfOthers(tx: Tx, { userId, appId, pushkey }: PusherKey): Promise<UserId[]> {
  const rows = await tx.all<{ user_id: UserId }>(sql`
    DELETE FROM pushers WHERE app_id = ${appId} AND pushkey = ${pushkey} AND user_id <> ${userId}
    RETURNING user_id`);
  return rows.map((row) => row.user_id);
}

/** Removes the pushers that go with devices; returns whether there were any. */
export async function deletePushersOfDevices(
  tx: Tx,
  { userId, deviceIds }: { userId: UserId; deviceIds: readonly DeviceId[] },
): Promise<boolean> {
  return await tx.run(sql`
    DELETE FROM pushers WHERE user_id = ${userId} AND ${inList(sql`device_id`, deviceIds)}`) > 0;
}

/** Counts the pushers of each kind by app: of the `named` most common apps by their names, of all others together. */
export async function countPushers(
  db: Db,
  named: number,
): Promise<{ kind: string; appId: string; count: number }[]> {
  const kinds = await db.all<{ kind: string; count: number }>(sql`
    SELECT kind, COUNT(*) AS count FROM pushers GROUP BY kind LIMIT 100`);
  const rest = new Map(kinds.map(({ kind, count }) => [kind, Number(count)]));
  const apps = await db.all<{ kind: string; app_id: string; count: number }>(sql`
    SELECT kind, app_id, COUNT(*) AS count FROM pushers
    GROUP BY kind, app_id
    ORDER BY count DESC, kind, app_id
    LIMIT ${named}`);
  for (const { kind, count } of apps) rest.set(kind, (rest.get(kind) ?? 0) - Number(count));
  return [
    ...apps.map(({ kind, app_id: appId, count }) => ({ kind, appId, count: Number(count) })),
    ...[...rest].flatMap(([kind, count]) => count > 0 ? [{ kind, appId: "other", count }] : []),
  ];
}
