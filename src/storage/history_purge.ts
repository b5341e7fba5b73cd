/** Deleting old events of rooms that go on: which ones can go, and all that is kept of them. */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { BY_EVENT } from "./room_purges.ts";
import { inList, lockRow, raw, type Sql, sql } from "./sql.ts";

/** An event that can be deleted. */
export interface OldEvent {
  readonly nid: number;
  readonly eventId: EventId;
  readonly sender: UserId;
  readonly position: number;
  /** By what the events are ordered: a time, or their position. */
  readonly at: number;
}

/** Which events of a room are old. */
export type OldEvents =
  /** Those that say that they are from before a time. */
  | { readonly saidBefore: number }
  /** Those that came before a time and say that they are from after another. */
  | { readonly receivedBefore: number; readonly saidAfter: number }
  /** Those that are nearer to the beginning of the room than this. */
  | { readonly depthBelow: number };

/** A place in the order of old events. */
export interface OldEventPlace {
  readonly at: number;
  readonly nid: number;
}

interface Row {
  event_nid: number;
  event_id: EventId;
  sender: UserId;
  position: number;
  at: number;
}

/**
 * Returns old events after a place in their order. State is never among them, for it is what the room is; nor are the
 * ends of its graph, which the next event is put behind.
 */
export async function selectOldEvents(
  db: Db,
  { roomNid, which, after, limit }: { roomNid: number; which: OldEvents; after: OldEventPlace | null; limit: number },
): Promise<OldEvent[]> {
  const column = "depthBelow" in which ? sql`e.position` : sql`e.origin_server_ts`;
  const from = after === null ? sql`` : sql`AND (${column}, e.event_nid) > (${after.at}, ${after.nid})`;
  const rows = await db.all<Row>(sql`
    SELECT e.event_nid, e.event_id, e.sender, e.position, ${column} AS at FROM events e
    WHERE e.room_nid = ${roomNid} AND e.position IS NOT NULL AND e.state_key_nid IS NULL AND ${isOld(which)} ${from}
      AND NOT EXISTS (SELECT 1 FROM forward_extremities f
        WHERE f.room_nid = e.room_nid AND f.event_nid = e.event_nid)
    ORDER BY ${column}, e.event_nid LIMIT ${limit}`);
  return rows.map((row) => ({
    nid: row.event_nid,
    eventId: row.event_id,
    sender: row.sender,
    position: row.position,
    at: row.at,
  }));
}

function isOld(which: OldEvents): Sql {
  if ("depthBelow" in which) return sql`e.depth < ${which.depthBelow}`;
  if ("saidBefore" in which) return sql`e.origin_server_ts < ${which.saidBefore}`;
  return sql`e.origin_server_ts > ${which.saidAfter} AND e.received_ts < ${which.receivedBefore}`;
}

/** Returns which of some events are redactions in force of events that are none of them: those must go on. */
export async function selectRedactionsInForce(db: Db, nids: readonly number[]): Promise<Set<number>> {
  const rows = await db.all<{ redaction_nid: number; target_nid: number }>(sql`
    SELECT r.redaction_nid, t.event_nid AS target_nid FROM redactions r
    JOIN events t ON t.event_id = r.redacts_event_id
    WHERE ${inList(sql`r.redaction_nid`, nids)} AND t.redacted_by_nid = r.redaction_nid`);
  const going = new Set(nids);
  return new Set(rows.filter((row) => !going.has(row.target_nid)).map((row) => row.redaction_nid));
}

/** Waits for who writes of events at this moment, and lets nobody else do so until the transaction has ended. */
export async function lockOldEvents(tx: Tx, events: readonly OldEvent[]): Promise<void> {
  const nids = events.map(({ nid }) => nid);
  await tx.all(sql`SELECT event_nid FROM events WHERE ${inList(sql`event_nid`, nids)} ORDER BY event_nid ${lockRow()}`);
}

/** Deletes events with what belongs to them; those behind them now have parents that are not here. */
export async function deleteOldEvents(
  tx: Tx,
  { roomNid, events }: { roomNid: number; events: readonly OldEvent[] },
): Promise<void> {
  const nids = events.map(({ nid }) => nid);
  const positions = events.map(({ position }) => position);
  await tx.run(sql`
    INSERT INTO event_prev_missing (missing_event_id, event_nid, room_nid)
    SELECT d.event_id, p.event_nid, d.room_nid FROM event_prev p JOIN events d ON d.event_nid = p.prev_nid
    WHERE ${inList(sql`p.prev_nid`, nids)} AND NOT ${inList(sql`p.event_nid`, nids)}
    ON CONFLICT (missing_event_id, event_nid) DO NOTHING`);
  await tx.run(sql`DELETE FROM event_prev WHERE ${inList(sql`prev_nid`, nids)}`);
  const kept = await selectParents(tx, nids);
  await tx.run(sql`DELETE FROM event_prev WHERE ${inList(sql`prev_nid`, kept)} AND ${inList(sql`event_nid`, nids)}`);
  await tx.run(sql`DELETE FROM event_prev_missing WHERE room_nid = ${roomNid} AND ${inList(sql`event_nid`, nids)}`);
  await tx.run(sql`DELETE FROM federation_outbox_extra WHERE ${inList(sql`position`, positions)}`);
  await tx.run(sql`DELETE FROM federation_outbox WHERE ${inList(sql`position`, positions)}`);
  await tx.run(sql`DELETE FROM sticky_events WHERE ${inList(sql`event_nid`, nids)}`);
  await tx.run(sql`DELETE FROM relayed_events WHERE ${inList(sql`event_id`, events.map(({ eventId }) => eventId))}`);
  await tx.run(sql`DELETE FROM redactions WHERE ${inList(sql`redaction_nid`, nids)}`);
  for (const table of BY_EVENT) await tx.run(sql`DELETE FROM ${raw(table)} WHERE ${inList(sql`event_nid`, nids)}`);
  await tx.run(sql`DELETE FROM events WHERE ${inList(sql`event_nid`, nids)}`);
}

/** Returns the parents of some events, by what the events say. */
async function selectParents(tx: Tx, nids: readonly number[]): Promise<number[]> {
  const texts = await tx.all<{ json: string }>(sql`SELECT json FROM event_json WHERE ${inList(sql`event_nid`, nids)}`);
  const ids = new Set(texts.flatMap(({ json }) => prevEventsOf(JSON.parse(json))));
  const rows = await tx.all<{ event_nid: number }>(sql`
    SELECT event_nid FROM events WHERE ${inList(sql`event_id`, [...ids])}`);
  return rows.map((row) => row.event_nid);
}

/** Each with its hash, in the first room versions. */
function prevEventsOf(
  { prev_events: references }: { prev_events: readonly (EventId | [EventId, unknown])[] },
): EventId[] {
  return references.map((reference) => typeof reference === "string" ? reference : reference[0]);
}

/** A room with its numeric id. */
export interface NumberedRoom {
  readonly roomNid: number;
  readonly roomId: RoomId;
}

/** Returns rooms by number after `after`, at most `limit`. */
export async function selectRoomsAfter(
  db: Db,
  { after, limit }: { after: number; limit: number },
): Promise<NumberedRoom[]> {
  const rows = await db.all<{ room_nid: number; room_id: RoomId }>(sql`
    SELECT room_nid, room_id FROM rooms WHERE room_nid > ${after} ORDER BY room_nid LIMIT ${limit}`);
  return rows.map((row) => ({ roomNid: row.room_nid, roomId: row.room_id }));
}

/** Returns the JSON of the `m.room.retention` events in force, by room. */
export async function selectRetentionEvents(
  db: Db,
  { after, limit }: { after: number; limit: number },
): Promise<{ roomNid: number; json: string }[]> {
  const rows = await db.all<{ room_nid: number; json: string }>(sql`
    SELECT s.room_nid, j.json FROM state_keys k
    JOIN current_state s ON s.state_key_nid = k.state_key_nid
    JOIN event_json j ON j.event_nid = s.event_nid
    WHERE k.type = 'm.room.retention' AND k.state_key = '' AND s.room_nid > ${after}
    ORDER BY s.room_nid LIMIT ${limit}`);
  return rows.map((row) => ({ roomNid: row.room_nid, json: row.json }));
}
