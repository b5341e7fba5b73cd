/**
 * Writing events and the edges between them.
 *
 * What needs no stream position (`insertEventBodies`) can be written before the position is taken, which on PostgreSQL
 * locks the stream until the commit; `insertEvents` comes after.
 */
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Tx } from "./database.ts";
import { type Sql, sql } from "./sql.ts";
import { bigints, booleans, type RowWriter, texts } from "./together.ts";

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
  /** Under which transaction which device sent it. */
  readonly transaction: { readonly deviceId: string; readonly txnId: string } | null;
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
  const missing = bodies.flatMap(({ nid, roomNid, missingPrev }) =>
    missingPrev.map((eventId) =>
      sql`
      INSERT INTO event_prev_missing (missing_event_id, event_nid, room_nid) VALUES (${eventId}, ${nid}, ${roomNid})`
    )
  );
  await Promise.all([
    tx.writeTogether(JSON_TEXTS, bodies),
    tx.writeTogether(PREV_EDGES, bodies.flatMap(({ nid, prevNids }) => prevNids.map((to): Edge => [nid, to]))),
    tx.writeTogether(AUTH_EDGES, bodies.flatMap(({ nid, authNids }) => authNids.map((to): Edge => [nid, to]))),
    tx.runMany(missing),
  ]);
}

const JSON_TEXTS: RowWriter<Pick<NewEventBody, "nid" | "json">> = {
  each: ({ nid, json }) => sql`INSERT INTO event_json (event_nid, json) VALUES (${nid}, ${json})`,
  many: (rows) =>
    sql`INSERT INTO event_json (event_nid, json)
    SELECT * FROM unnest(${bigints(rows.map(({ nid }) => nid))}, ${texts(rows.map(({ json }) => json))})`,
};

type Edge = readonly [from: number, to: number];

function edgeWriter(insert: Sql): RowWriter<Edge> {
  return {
    each: ([from, to]) => sql`${insert} VALUES (${from}, ${to})`,
    many: (rows) =>
      sql`${insert}
      SELECT * FROM unnest(${bigints(rows.map(([from]) => from))}, ${bigints(rows.map(([, to]) => to))})`,
  };
}

const PREV_EDGES = edgeWriter(sql`INSERT INTO event_prev (event_nid, prev_nid)`);
const AUTH_EDGES = edgeWriter(sql`INSERT INTO event_auth (event_nid, auth_nid)`);

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
  await tx.writeTogether(EVENTS, events);
}

const EVENTS: RowWriter<NewEvent> = {
  each: (event) =>
    sql`
      INSERT INTO events (event_nid, event_id, room_nid, type, state_key_nid, sender, depth, position, origin_server_ts,
        received_ts, is_outlier, is_rejected, is_soft_failed, state_before, state_after, auth_rank, redacted_by_nid,
        device_id, txn_id)
      VALUES (${event.nid}, ${event.eventId}, ${event.roomNid}, ${event.type}, ${event.stateKeyNid}, ${event.sender},
        ${event.depth}, ${event.position}, ${event.originServerTs}, ${event.receivedTs}, ${event.isOutlier},
        ${event.isRejected}, ${event.isSoftFailed}, ${event.stateBefore}, ${event.stateAfter}, ${event.authRank},
        ${event.redactedByNid}, ${event.transaction?.deviceId ?? null}, ${event.transaction?.txnId ?? null})`,
  many: (rows) =>
    sql`
      INSERT INTO events (event_nid, event_id, room_nid, type, state_key_nid, sender, depth, position, origin_server_ts,
        received_ts, is_outlier, is_rejected, is_soft_failed, state_before, state_after, auth_rank, redacted_by_nid,
        device_id, txn_id)
      SELECT * FROM unnest(${bigints(rows.map(({ nid }) => nid))}, ${texts(rows.map(({ eventId }) => eventId))},
        ${bigints(rows.map(({ roomNid }) => roomNid))}, ${texts(rows.map(({ type }) => type))},
        ${bigints(rows.map(({ stateKeyNid }) => stateKeyNid))}, ${texts(rows.map(({ sender }) => sender))},
        ${bigints(rows.map(({ depth }) => depth))}, ${bigints(rows.map(({ position }) => position))},
        ${bigints(rows.map(({ originServerTs }) => originServerTs))},
        ${bigints(rows.map(({ receivedTs }) => receivedTs))}, ${booleans(rows.map(({ isOutlier }) => isOutlier))},
        ${booleans(rows.map(({ isRejected }) => isRejected))}, ${
      booleans(rows.map(({ isSoftFailed }) => isSoftFailed))
    },
        ${bigints(rows.map(({ stateBefore }) => stateBefore))}, ${bigints(rows.map(({ stateAfter }) => stateAfter))},
        ${bigints(rows.map(({ authRank }) => authRank))}, ${bigints(rows.map(({ redactedByNid }) => redactedByNid))},
        ${texts(rows.map(({ transaction }) => transaction?.deviceId ?? null))},
        ${texts(rows.map(({ transaction }) => transaction?.txnId ?? null))})`,
};

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

/** What an event relates to. */
export interface NewEventRelation {
  readonly eventNid: number;
  readonly roomNid: number;
  readonly relatesToId: string;
  readonly relType: string;
  readonly aggregationKey: string | null;
}

/** Records what an event relates to, so that relations are found from their target. */
export async function insertEventRelations(tx: Tx, rows: readonly NewEventRelation[]): Promise<void> {
  await tx.writeTogether(RELATIONS, rows);
}

const RELATIONS: RowWriter<NewEventRelation> = {
  each: (row) =>
    sql`
    INSERT INTO event_relations (event_nid, room_nid, relates_to_id, rel_type, aggregation_key)
    VALUES (${row.eventNid}, ${row.roomNid}, ${row.relatesToId}, ${row.relType}, ${row.aggregationKey})`,
  many: (rows) =>
    sql`
    INSERT INTO event_relations (event_nid, room_nid, relates_to_id, rel_type, aggregation_key)
    SELECT * FROM unnest(${bigints(rows.map(({ eventNid }) => eventNid))},
      ${bigints(rows.map(({ roomNid }) => roomNid))}, ${texts(rows.map(({ relatesToId }) => relatesToId))},
      ${texts(rows.map(({ relType }) => relType))}, ${texts(rows.map(({ aggregationKey }) => aggregationKey))})`,
};

/** A redaction, and what it redacts. */
export interface NewRedaction {
  readonly redactionNid: number;
  readonly redactsEventId: EventId;
}

/** Records redactions by what they redact, in force or not. */
export async function insertRedactions(tx: Tx, rows: readonly NewRedaction[]): Promise<void> {
  await tx.writeTogether(REDACTIONS, rows);
}

const REDACTIONS: RowWriter<NewRedaction> = {
  each: (row) =>
    sql`INSERT INTO redactions (redaction_nid, redacts_event_id) VALUES (${row.redactionNid}, ${row.redactsEventId})`,
  many: (rows) =>
    sql`INSERT INTO redactions (redaction_nid, redacts_event_id)
    SELECT * FROM unnest(${bigints(rows.map(({ redactionNid }) => redactionNid))},
      ${texts(rows.map(({ redactsEventId }) => redactsEventId))})`,
};

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
