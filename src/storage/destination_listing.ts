/** Other servers as administrators list them. */
import type { RoomId, ServerName } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { raw, type Sql, sql } from "./sql.ts";
import { contains } from "./user_listing.ts";

/** By what other servers can be ordered, as Synapse names it. */
export const DESTINATION_ORDERS = [
  "destination",
  "retry_last_ts",
  "retry_interval",
  "failure_ts",
  "last_successful_stream_ordering",
] as const;
/** One of `DESTINATION_ORDERS`. */
export type DestinationOrder = typeof DESTINATION_ORDERS[number];

/** Another server. Times are milliseconds. */
export interface ListedDestination {
  readonly destination: ServerName;
  /** When it was last tried without success, and for how long it is left alone since; 0 while it works. */
  readonly lastFailureTs: number;
  readonly retryIntervalMs: number;
  /** Null while it works. */
  readonly failingSinceTs: number | null;
  /** Up to which position of the events stream it has what is for it; null for one that was never owed anything. */
  readonly sentUpTo: number | null;
}

/** A part of a list. */
export interface ListPage {
  readonly backward: boolean;
  /** How many are passed over. */
  readonly from: number;
  readonly limit: number;
}

interface Row {
  destination: ServerName;
  last_failure_ts: number | null;
  retry_interval_ms: number | null;
  failing_since_ts: number | null;
  events: number | null;
}

const COLUMN: Readonly<Record<DestinationOrder, string>> = {
  destination: "n.destination",
  retry_last_ts: "COALESCE(d.last_failure_ts, 0)",
  retry_interval: "COALESCE(d.retry_interval_ms, 0)",
  failure_ts: "COALESCE(d.failing_since_ts, 0)",
  last_successful_stream_ordering: "COALESCE(c.events, 0)",
};
const NAMES = sql`(SELECT destination FROM federation_cursors UNION SELECT destination FROM destinations) n`;
const SOURCE = sql`
  ${NAMES}
  LEFT JOIN destinations d ON d.destination = n.destination
  LEFT JOIN federation_cursors c ON c.destination = n.destination`;
const COLUMNS = sql`n.destination, d.last_failure_ts, d.retry_interval_ms, d.failing_since_ts, c.events`;

/** Returns a page of other servers whose names hold a text, and how many there are in all. */
export async function selectDestinations(
  db: Db,
  { name, order, page: { backward, from, limit } }: { name: string; order: DestinationOrder; page: ListPage },
): Promise<{ destinations: ListedDestination[]; total: number }> {
  const where: Sql = name === "" ? sql`TRUE` : contains(sql`n.destination`, name);
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM ${SOURCE} WHERE ${where}
    ORDER BY ${raw(COLUMN[order])} ${raw(backward ? "DESC" : "ASC")}, n.destination LIMIT ${limit} OFFSET ${from}`);
  const count = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM ${NAMES} WHERE ${where}`);
  return { destinations: rows.map(toDestination), total: Number(count?.n ?? 0) };
}

/** Returns another server, or null for one that is not known. */
export async function selectDestination(db: Db, destination: string): Promise<ListedDestination | null> {
  const row = await db.get<Row>(sql`SELECT ${COLUMNS} FROM ${SOURCE} WHERE n.destination = ${destination}`);
  return row === null ? null : toDestination(row);
}

/** Returns a page of the rooms that a server is in, with the position of the last event of each, and how many there are. */
export async function selectDestinationRooms(
  db: Db,
  { destination, page: { backward, from, limit } }: { destination: string; page: ListPage },
): Promise<{ rooms: { roomId: RoomId; lastPosition: number }[]; total: number }> {
  const source = sql`room_servers s JOIN rooms r ON r.room_nid = s.room_nid WHERE s.server_name = ${destination}`;
  const rows = await db.all<{ room_id: RoomId; last_position: number }>(sql`
    SELECT r.room_id, r.last_position FROM ${source}
    ORDER BY r.room_id ${raw(backward ? "DESC" : "ASC")} LIMIT ${limit} OFFSET ${from}`);
  const count = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM ${source}`);
  const rooms = rows.map((row) => ({ roomId: row.room_id, lastPosition: row.last_position }));
  return { rooms, total: Number(count?.n ?? 0) };
}

function toDestination(row: Row): ListedDestination {
  return {
    destination: row.destination,
    lastFailureTs: row.last_failure_ts ?? 0,
    retryIntervalMs: row.retry_interval_ms ?? 0,
    failingSinceTs: row.failing_since_ts,
    sentUpTo: row.events,
  };
}
