/**
 * Writing events and the edges between them.
 *
 * What needs no stream position (`insertEventBodies`) can be written before the position is taken, which on PostgreSQL
 * locks the stream until the commit; `insertEvents` comes after.
 */
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Tx } from "./database.ts";
import { type Sql, sql } from "./sql.ts";

/** An event that is not in the database yet. */
export interface NewEvent {
  readonly nid: number;
  readonly eventId: EventId;
  readonly roomNid: number;
  readonly type: string;
  readonly stateKeyNid: number | null;
  readonly sender: UserId;
  readonly depth: number;
  readonly position: number | null;
  readonly originServerTs: number;
  readonly receivedTs: number;
  readonly isOutlier: boolean;
  readonly isRejected: boolean;
  readonly isSoftFailed: boolean;
  readonly stateBefore: number | null;
  readonly stateAfter: number | null;
  readonly authRank: number;
  readonly redactedByNid: number | null;
}

/** The parts of an event that are stored beside its row. */
export interface NewEventBody {
  readonly nid: number;
  readonly roomNid: number;
  readonly json: string;
  readonly prevNids: readonly number[];
  /** Parents that are not in the database. */
  readonly missingPrev: readonly EventId[];
  readonly authNids: readonly number[];
}

/** Inserts the JSON and the edges. */
export async function insertEventBodies(tx: Tx, bodies: readonly NewEventBody[]): Promise<void> {
  const statements: Sql[] = [];
  for (const { nid, roomNid, json, prevNids, missingPrev, authNids } of bodies) {
    statements.push(sql`INSERT INTO event_json (event_nid, json) VALUES (${nid}, ${json})`);
    for (const prev of prevNids) {
      statements.push(sql`INSERT INTO event_prev (event_nid, prev_nid) VALUES (${nid}, ${prev})`);
    }
    for (const missing of missingPrev) {
      statements.push(sql`
        INSERT INTO event_prev_missing (missing_event_id, event_nid, room_nid) VALUES (${missing}, ${nid}, ${roomNid})`);
    }
    for (const auth of authNids) {
      statements.push(sql`INSERT INTO event_auth (event_nid, auth_nid) VALUES (${nid}, ${auth})`);
    }
  }
  await tx.runMany(statements);
}

/** Inserts the edges of events that were stored as outliers, which may have had none. */
export async function insertEdgesOfOutliers(tx: Tx, bodies: readonly Omit<NewEventBody, "json">[]): Promise<void> {
  await tx.runMany(bodies.flatMap(({ nid, roomNid, prevNids, missingPrev, authNids }) => [
    ...prevNids.map((prev) =>
      sql`INSERT INTO event_prev (event_nid, prev_nid) VALUES (${nid}, ${prev}) ON CONFLICT DO NOTHING`
    ),
    ...missingPrev.map((missing) =>
      sql`
      INSERT INTO event_prev_missing (missing_event_id, event_nid, room_nid) VALUES (${missing}, ${nid}, ${roomNid})
      ON CONFLICT DO NOTHING`
    ),
    ...authNids.map((auth) =>
      sql`INSERT INTO event_auth (event_nid, auth_nid) VALUES (${nid}, ${auth}) ON CONFLICT DO NOTHING`
    ),
  ]));
}

/** Inserts the rows of `events`. */
export async function insertEvents(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  await tx.runMany(events.map((event) =>
    sql`
    INSERT INTO events (event_nid, event_id, room_nid, type, state_key_nid, sender, depth, position, origin_server_ts,
      received_ts, is_outlier, is_rejected, is_soft_failed, state_before, state_after, auth_rank, redacted_by_nid)
    VALUES (${event.nid}, ${event.eventId}, ${event.roomNid}, ${event.type}, ${event.stateKeyNid}, ${event.sender},
      ${event.depth}, ${event.position}, ${event.originServerTs}, ${event.receivedTs}, ${event.isOutlier},
      ${event.isRejected}, ${event.isSoftFailed}, ${event.stateBefore}, ${event.stateAfter}, ${event.authRank}, ${event.redactedByNid})`
  ));
}

/** Gives events stored as outliers their place in the graph. */
export async function updateOutliers(tx: Tx, events: readonly NewEvent[]): Promise<void> {
  await tx.runMany(events.map((event) =>
    sql`
    UPDATE events
    SET position = ${event.position}, is_outlier = ${event.isOutlier}, is_rejected = ${event.isRejected},
      is_soft_failed = ${event.isSoftFailed}, state_before = ${event.stateBefore}, state_after = ${event.stateAfter},
      auth_rank = ${event.authRank}, redacted_by_nid = ${event.redactedByNid}
    WHERE event_nid = ${event.nid}`
  ));
}

/** Removes parents from the list of missing ones and makes the edges to them that were waiting. */
export async function resolveMissingParents(
  tx: Tx,
  found: readonly { readonly nid: number; readonly eventId: EventId }[],
): Promise<void> {
  await tx.runMany(found.flatMap(({ nid, eventId }) => [
    sql`
    INSERT INTO event_prev (event_nid, prev_nid)
    SELECT event_nid, CAST(${nid} AS BIGINT) FROM event_prev_missing WHERE missing_event_id = ${eventId}
    ON CONFLICT DO NOTHING`,
    sql`DELETE FROM event_prev_missing WHERE missing_event_id = ${eventId}`,
  ]));
}

/** Remembers under which transaction a device sent an event. */
export async function insertEventTransactions(
  tx: Tx,
  rows: readonly {
    readonly eventNid: number;
    readonly userId: UserId;
    readonly deviceId: string;
    readonly roomNid: number;
    readonly type: string;
    readonly txnId: string;
    readonly createdTs: number;
  }[],
): Promise<void> {
  await tx.runMany(rows.map((row) =>
    sql`
    INSERT INTO event_transactions (event_nid, user_id, device_id, room_nid, type, txn_id, created_ts)
    VALUES (${row.eventNid}, ${row.userId}, ${row.deviceId}, ${row.roomNid}, ${row.type}, ${row.txnId}, ${row.createdTs})`
  ));
}

/** Records what an event relates to, so that relations are found from their target. */
export async function insertEventRelations(
  tx: Tx,
  rows: readonly {
    readonly eventNid: number;
    readonly roomNid: number;
    readonly relatesToId: string;
    readonly relType: string;
    readonly aggregationKey: string | null;
  }[],
): Promise<void> {
  await tx.runMany(rows.map((row) =>
    sql`
    INSERT INTO event_relations (event_nid, room_nid, relates_to_id, rel_type, aggregation_key)
    VALUES (${row.eventNid}, ${row.roomNid}, ${row.relatesToId}, ${row.relType}, ${row.aggregationKey})`
  ));
}

/** Records redactions by what they redact, in force or not. */
export async function insertRedactions(
  tx: Tx,
  rows: readonly { readonly redactionNid: number; readonly redactsEventId: EventId }[],
): Promise<void> {
  await tx.runMany(
    rows.map((row) =>
      sql`INSERT INTO redactions (redaction_nid, redacts_event_id) VALUES (${row.redactionNid}, ${row.redactsEventId})`
    ),
  );
}

/** Puts a redaction in force, unless another one is, and forgets what the redacted event related to. */
export async function updateRedactedBy(
  tx: Tx,
  rows: readonly { readonly targetNid: number; readonly redactionNid: number }[],
): Promise<void> {
  await tx.runMany(rows.flatMap(({ targetNid, redactionNid }) => [
    sql`UPDATE events SET redacted_by_nid = ${redactionNid} WHERE event_nid = ${targetNid} AND redacted_by_nid IS NULL`,
    sql`DELETE FROM event_relations WHERE event_nid = ${targetNid}`,
  ]));
}
