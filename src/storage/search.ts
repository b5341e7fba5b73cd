/**
 * The index of messages for full-text search. SQLite keeps the words in an FTS5 table beside the documents and finds
 * rooms by words of their own; PostgreSQL keeps them in a column.
 */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, plannedPerDialect, type Sql, sql } from "./sql.ts";
import { bigints, type RowWriter, texts } from "./together.ts";

/** An event that search may concern. */
export interface SearchableEvent {
  readonly position: number;
  readonly nid: number;
  readonly type: string;
}

/** A text to be found. */
export interface SearchDocument {
  readonly position: number;
  readonly eventNid: number;
  readonly roomNid: number;
  readonly sender: UserId;
  readonly field: string;
  readonly words: readonly string[];
}

/** A match; of a higher rank when closer. */
export interface SearchMatch {
  readonly position: number;
  readonly eventNid: number;
  readonly rank: number;
}

/** What to look for. */
export interface SearchQuery {
  /** Letters and digits only; all must be there. */
  readonly words: readonly string[];
  readonly roomNids: readonly number[];
  /** Null for any. */
  readonly fields: readonly string[] | null;
  readonly senders: readonly string[] | null;
  /** Set by `planSearch`. */
  readonly findsRooms?: boolean;
}

/** How many of the newest matches are compared by rank, and counted. */
const MAX_RANKED = 5_000;
/** Up to this many rooms are looked up in the index itself. */
const MAX_ROOM_WORDS = 200;
/** Up to this many messages with the words, their rooms are looked at one by one. */
const FEW_MATCHES = 10_000;

/** Returns events in `(after, upTo]` that search concerns: messages, names, topics, redactions. Oldest first. */
export async function selectSearchableEvents(
  db: Db,
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): Promise<SearchableEvent[]> {
  const rows = await db.all<{ position: number; event_nid: number; type: string }>(sql`
    SELECT position, event_nid, type FROM events
    WHERE position > ${after} AND position <= ${upTo}
      AND type IN ('m.room.message', 'm.room.name', 'm.room.topic', 'm.room.redaction')
      AND NOT is_rejected AND NOT is_soft_failed
    ORDER BY position
    LIMIT ${limit}`);
  return rows.map((row) => ({ position: row.position, nid: row.event_nid, type: row.type }));
}

/** Returns backfilled events in `(downTo, before)` that search concerns, the latest first. */
export async function selectSearchableBackfill(
  db: Db,
  { before, limit }: { before: number; limit: number },
): Promise<SearchableEvent[]> {
  const rows = await db.all<{ position: number; event_nid: number; type: string }>(sql`
    SELECT position, event_nid, type FROM events
    WHERE position < ${before} AND position < 0
      AND type IN ('m.room.message', 'm.room.name', 'm.room.topic')
      AND NOT is_rejected AND NOT is_soft_failed
    ORDER BY position DESC
    LIMIT ${limit}`);
  return rows.map((row) => ({ position: row.position, nid: row.event_nid, type: row.type }));
}

/** Adds documents of events that were not deleted meanwhile; those that are there already are left alone. */
export async function insertSearchDocuments(tx: Tx, documents: readonly SearchDocument[]): Promise<void> {
  if (tx.dialect === "postgres") return await tx.writeTogether(POSTGRES_DOCUMENTS, documents);
  for (const { position, eventNid, roomNid, sender, field, words } of documents) {
    const added = await tx.run(sql`
      INSERT INTO search_documents (position, event_nid, room_nid, sender, field)
      SELECT ${position}, event_nid, ${roomNid}, ${sender}, ${field} FROM events WHERE event_nid = ${eventNid}
      ON CONFLICT DO NOTHING`);
    if (added === 0) continue;
    await tx.run(sql`
      INSERT INTO search_index (rowid, room, words) VALUES (${position}, ${`r${roomNid}`}, ${words.join(" ")})`);
  }
}

function postgresDocuments(rows: readonly SearchDocument[]): Sql {
  // The lock keeps the events until this is committed: their deletion, which begins with them, then finds the documents.
  return sql`
    INSERT INTO search_documents (position, event_nid, room_nid, sender, field, words)
    SELECT d.position, e.event_nid, d.room_nid, d.sender, d.field, array_to_tsvector(string_to_array(d.words, ' '))
    FROM unnest(${bigints(rows.map(({ position }) => position))}, ${bigints(rows.map(({ eventNid }) => eventNid))},
      ${bigints(rows.map(({ roomNid }) => roomNid))}, ${texts(rows.map(({ sender }) => sender))},
      ${texts(rows.map(({ field }) => field))}, ${texts(rows.map(({ words }) => words.join(" ")))})
      AS d (position, event_nid, room_nid, sender, field, words)
    JOIN events e ON e.event_nid = d.event_nid
    FOR KEY SHARE OF e
    ON CONFLICT DO NOTHING`;
}

const POSTGRES_DOCUMENTS: RowWriter<SearchDocument> = {
  each: (document) => postgresDocuments([document]),
  many: postgresDocuments,
};

/** Removes documents. */
export async function deleteSearchDocuments(tx: Tx, positions: readonly number[]): Promise<void> {
  for (const position of positions) {
    const removed = await tx.run(sql`DELETE FROM search_documents WHERE position = ${position}`);
    if (removed > 0 && tx.dialect === "sqlite") {
      await tx.run(sql`DELETE FROM search_index WHERE rowid = ${position}`);
    }
  }
}

/**
 * Returns the query with the rooms among the words of the index where that pays: where the words alone are in so many
 * messages that most are elsewhere. Each room costs as much as a common word. PostgreSQL decides for itself.
 */
export async function planSearch(db: Db, query: SearchQuery): Promise<SearchQuery> {
  if (db.dialect !== "sqlite" || query.roomNids.length > MAX_ROOM_WORDS) return query;
  const row = await db.get<{ n: number }>(sql`
    SELECT COUNT(*) AS n FROM (
      SELECT 1 FROM search_index WHERE search_index MATCH ${matchText(query)} LIMIT ${FEW_MATCHES}
    ) AS found`);
  return { ...query, findsRooms: Number(row?.n ?? 0) >= FEW_MATCHES };
}

/** Returns matches before a position of the stream, the newest first. */
export async function selectNewestMatches(
  db: Db,
  query: SearchQuery & { readonly before: number; readonly limit: number },
): Promise<SearchMatch[]> {
  const rows = await db.all<{ position: number; event_nid: number }>(plannedPerDialect({
    sqlite: sql`
      SELECT d.position, d.event_nid FROM search_index
      CROSS JOIN search_documents d ON d.position = search_index.rowid
      WHERE search_index MATCH ${matchText(query)} AND search_index.rowid < ${query.before} AND ${conditions(query)}
      ORDER BY search_index.rowid DESC
      LIMIT ${query.limit}`,
    postgres: sql`
      SELECT d.position, d.event_nid FROM search_documents d
      WHERE d.words @@ ${tsQuery(query)} AND d.position < ${query.before} AND ${conditions(query)}
      ORDER BY d.position DESC
      LIMIT ${query.limit}`,
  }));
  return rows.map((row) => ({ position: row.position, eventNid: row.event_nid, rank: 0 }));
}

/** Returns the closest among the newest matches, the closest first. */
export async function selectClosestMatches(
  db: Db,
  query: SearchQuery & { readonly limit: number },
): Promise<SearchMatch[]> {
  const rows = await db.all<{ position: number; event_nid: number; score: number }>(plannedPerDialect({
    sqlite: sql`
      SELECT position, event_nid, score FROM (
        SELECT d.position, d.event_nid, -bm25(search_index, 0.0, 1.0) AS score FROM search_index
        CROSS JOIN search_documents d ON d.position = search_index.rowid
        WHERE search_index MATCH ${matchText(query)} AND ${conditions(query)}
        ORDER BY search_index.rowid DESC
        LIMIT ${MAX_RANKED}
      ) AS newest
      ORDER BY score DESC, position DESC
      LIMIT ${query.limit}`,
    postgres: sql`
      SELECT position, event_nid, score FROM (
        SELECT d.position, d.event_nid, ts_rank(d.words, ${tsQuery(query)}, 1) AS score FROM search_documents d
        WHERE d.words @@ ${tsQuery(query)} AND ${conditions(query)}
        ORDER BY d.position DESC
        LIMIT ${MAX_RANKED}
      ) AS newest
      ORDER BY score DESC, position DESC
      LIMIT ${query.limit}`,
  }));
  return rows.map((row) => ({ position: row.position, eventNid: row.event_nid, rank: row.score }));
}

/** Returns how many matches there are, up to 5,000. */
export async function countMatches(db: Db, query: SearchQuery): Promise<number> {
  const row = await db.get<{ n: number }>(plannedPerDialect({
    sqlite: sql`
      SELECT COUNT(*) AS n FROM (
        SELECT 1 FROM search_index CROSS JOIN search_documents d ON d.position = search_index.rowid
        WHERE search_index MATCH ${matchText(query)} AND ${conditions(query)}
        LIMIT ${MAX_RANKED}
      ) AS found`,
    postgres: sql`
      SELECT COUNT(*) AS n FROM (
        SELECT 1 FROM search_documents d WHERE d.words @@ ${tsQuery(query)} AND ${conditions(query)}
        LIMIT ${MAX_RANKED}
      ) AS found`,
  }));
  return Number(row?.n ?? 0);
}

function conditions({ roomNids, fields, senders }: SearchQuery): Sql {
  const byField = fields === null ? sql`` : sql`AND ${inList(sql`d.field`, fields)}`;
  const bySender = senders === null ? sql`` : sql`AND ${inList(sql`d.sender`, senders)}`;
  return sql`${inList(sql`d.room_nid`, roomNids)} ${byField} ${bySender}`;
}

/** Words hold letters and digits only, so that quotes suffice in both languages. */
function matchText({ words, roomNids, findsRooms = false }: SearchQuery): string {
  const wanted = `words : (${words.map((word) => `"${word}"`).join(" AND ")})`;
  return findsRooms ? `${wanted} AND room : (${roomNids.map((nid) => `"r${nid}"`).join(" OR ")})` : wanted;
}

function tsQuery({ words }: SearchQuery): Sql {
  return sql`CAST(CAST(${words.map((word) => `'${word}'`).join(" & ")} AS TEXT) AS TSQUERY)`;
}
