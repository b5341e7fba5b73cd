/** How far application services have been told, what they have not acknowledged, and what they list. */
import type { DeviceId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, sql } from "./sql.ts";

/** How a service stands. */
export interface AppserviceState {
  /** Up to where in each stream, as a JSON object. */
  readonly positions: string;
  readonly lastTxnId: number;
  readonly failures: number;
  /** Null when nothing is put off. */
  readonly retryTs: number | null;
}

/** A transaction that a service has not acknowledged. */
export interface AppserviceTransaction {
  readonly txnId: number;
  readonly body: string;
}

/** A message from device to device, with the recipient. */
export interface AddressedMessage {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  readonly position: number;
  readonly json: string;
}

/** Returns how a service stands, or null before it was ever told anything. */
export async function selectAppserviceState(db: Db, serviceId: string): Promise<AppserviceState | null> {
  const row = await db.get<
    { positions: string; last_txn_id: number; failures: number; retry_ts: number | null }
  >(sql`
    SELECT positions, last_txn_id, failures, retry_ts FROM appservices WHERE service_id = ${serviceId}`);
  if (row === null) return null;
  return {
    positions: row.positions,
    lastTxnId: row.last_txn_id,
    failures: row.failures,
    retryTs: row.retry_ts,
  };
}

/** Writes how a service stands. */
export async function upsertAppserviceState(
  tx: Tx,
  { serviceId, positions, lastTxnId, failures, retryTs }: AppserviceState & { serviceId: string },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO appservices (service_id, positions, last_txn_id, failures, retry_ts)
    VALUES (${serviceId}, ${positions}, ${lastTxnId}, ${failures}, ${retryTs})
    ON CONFLICT (service_id) DO UPDATE SET positions = excluded.positions, last_txn_id = excluded.last_txn_id,
      failures = excluded.failures, retry_ts = excluded.retry_ts`);
}

/** Returns the oldest transaction that a service has not acknowledged, or null. */
export async function selectOldestTransaction(db: Db, serviceId: string): Promise<AppserviceTransaction | null> {
  const row = await db.get<{ txn_id: number; body: string }>(sql`
    SELECT txn_id, body FROM appservice_transactions WHERE service_id = ${serviceId} ORDER BY txn_id LIMIT 1`);
  return row === null ? null : { txnId: row.txn_id, body: row.body };
}

/** Keeps a transaction until it is acknowledged. */
export async function insertTransaction(
  tx: Tx,
  { serviceId, txnId, body }: AppserviceTransaction & { serviceId: string },
): Promise<void> {
  await tx.run(sql`
    INSERT INTO appservice_transactions (service_id, txn_id, body) VALUES (${serviceId}, ${txnId}, ${body})`);
}

/** Removes a transaction that was acknowledged. */
export async function deleteTransaction(
  tx: Tx,
  { serviceId, txnId }: { serviceId: string; txnId: number },
): Promise<void> {
  await tx.run(sql`DELETE FROM appservice_transactions WHERE service_id = ${serviceId} AND txn_id = ${txnId}`);
}

/**
 * Returns the events in `(after, upTo]` of the stream, oldest first, at most `limit`; with the invitations of local users
 * to rooms that this server is not in, which have a place in the stream though their events have none.
 */
export async function selectEventsBetween(
  db: Db,
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): Promise<{ nid: number; position: number }[]> {
  const rows = await db.all<{ event_nid: number; position: number }>(sql`
    SELECT event_nid, position FROM events
    WHERE position > ${after} AND position <= ${upTo} AND NOT is_rejected AND NOT is_soft_failed
    UNION ALL
    SELECT m.event_nid, m.position FROM local_memberships m
    JOIN events e ON e.event_nid = m.event_nid
    WHERE m.position > ${after} AND m.position <= ${upTo} AND e.position IS NULL
    ORDER BY position
    LIMIT ${limit}`);
  return rows.map((row) => ({ nid: row.event_nid, position: row.position }));
}

/** Returns the messages to devices in `(after, upTo]`, oldest first, at most `limit`. */
export async function selectMessagesBetween(
  db: Db,
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): Promise<AddressedMessage[]> {
  const rows = await db.all<{ user_id: UserId; device_id: DeviceId; position: number; json: string }>(sql`
    SELECT user_id, device_id, position, json FROM to_device_messages
    WHERE position > ${after} AND position <= ${upTo}
    ORDER BY position, user_id, device_id
    LIMIT ${limit}`);
  return rows.map((row) => ({
    userId: row.user_id,
    deviceId: row.device_id,
    position: row.position,
    json: row.json,
  }));
}

/** Returns the rooms that some users are joined to, with the user: at most `limit` rows. */
export async function selectJoinedRoomsOf(
  db: Db,
  { userIds, limit }: { userIds: readonly UserId[]; limit: number },
): Promise<{ userId: UserId; roomId: RoomId }[]> {
  if (userIds.length === 0) return [];
  const rows = await db.all<{ user_id: UserId; room_id: RoomId }>(sql`
    SELECT m.user_id, r.room_id FROM local_memberships m JOIN rooms r ON r.room_nid = m.room_nid
    WHERE ${inList(sql`m.user_id`, userIds)} AND m.membership = 'join'
    ORDER BY m.user_id, r.room_id
    LIMIT ${limit}`);
  return rows.map((row) => ({ userId: row.user_id, roomId: row.room_id }));
}

/** A room in the list of a network. */
export interface ListedRoom {
  readonly serviceId: string;
  readonly networkId: string;
  readonly roomId: RoomId;
}

/** Puts a room into the list of a network. */
export async function insertListedRoom(tx: Tx, { serviceId, networkId, roomId }: ListedRoom): Promise<void> {
  await tx.run(sql`
    INSERT INTO appservice_room_list (service_id, network_id, room_id) VALUES (${serviceId}, ${networkId}, ${roomId})
    ON CONFLICT (service_id, network_id, room_id) DO NOTHING`);
}

/** Takes a room out of the list of a network. */
export async function deleteListedRoom(tx: Tx, { serviceId, networkId, roomId }: ListedRoom): Promise<void> {
  await tx.run(sql`
    DELETE FROM appservice_room_list
    WHERE service_id = ${serviceId} AND network_id = ${networkId} AND room_id = ${roomId}`);
}
