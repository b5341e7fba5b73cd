/** Reports as administrators list and remove them. */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { raw, type Sql, sql } from "./sql.ts";
import { contains } from "./user_listing.ts";

/** A report of an event. */
export interface EventReport {
  readonly id: number;
  readonly receivedTs: number;
  readonly reporter: UserId;
  readonly roomId: RoomId;
  readonly eventId: EventId;
  /** Who sent the event. */
  readonly sender: UserId | null;
  readonly reason: string | null;
  readonly score: number | null;
}

/** A report of a user. */
export interface UserReport {
  readonly id: number;
  readonly receivedTs: number;
  readonly reporter: UserId;
  readonly reportedUser: UserId;
  readonly reason: string | null;
}

/** Which reports to list, and where to begin. Empty texts do not matter. */
export interface ReportPage {
  /** A part of the id of who reported. */
  readonly reporter: string;
  readonly backward: boolean;
  /** How many are passed over. */
  readonly from: number;
  readonly limit: number;
}

interface Row {
  report_id: number;
  received_ts: number;
  reporter: UserId;
  room_id: RoomId;
  event_id: EventId;
  reported_user: UserId;
  reason: string | null;
  score: number | null;
}

const COLUMNS = sql`p.report_id, p.received_ts, p.reporter, p.room_id, p.event_id, p.reported_user, p.reason, p.score`;
/** As in Synapse, those of rooms that are gone are not shown. */
const EVENT_REPORTS = sql`reports p JOIN rooms r ON r.room_id = p.room_id AND r.state_root <> 0`;
const OF_EVENTS = sql`p.event_id IS NOT NULL`;
const OF_USERS = sql`p.event_id IS NULL AND p.room_id IS NULL AND p.reported_user IS NOT NULL`;

/** Returns a page of reports of events, and how many there are in all. */
export async function selectEventReports(
  db: Db,
  { roomId, sender, ...page }: ReportPage & {
    /** A part of the room's id. */
    readonly roomId: string;
    readonly sender: string;
  },
): Promise<{ reports: EventReport[]; total: number }> {
  let where = sql`${OF_EVENTS}${reporterIs(page)}`;
  if (roomId !== "") where = sql`${where} AND ${contains(sql`p.room_id`, roomId)}`;
  if (sender !== "") where = sql`${where} AND p.reported_user = ${sender}`;
  const { rows, total } = await selectPage(db, { source: sql`${EVENT_REPORTS} WHERE ${where}`, page });
  return { reports: rows.map(toEventReport), total };
}

/** Returns a report of an event, or null. */
export async function selectEventReport(db: Db, id: number): Promise<EventReport | null> {
  const row = await db.get<Row>(sql`
    SELECT ${COLUMNS} FROM ${EVENT_REPORTS} WHERE p.report_id = ${id} AND ${OF_EVENTS}`);
  return row === null ? null : toEventReport(row);
}

/** Returns a page of reports of users, and how many there are in all. */
export async function selectUserReports(
  db: Db,
  { reportedUser, ...page }: ReportPage & {
    /** A part of the user's id. */
    readonly reportedUser: string;
  },
): Promise<{ reports: UserReport[]; total: number }> {
  let where = sql`${OF_USERS}${reporterIs(page)}`;
  if (reportedUser !== "") where = sql`${where} AND ${contains(sql`p.reported_user`, reportedUser)}`;
  const { rows, total } = await selectPage(db, { source: sql`reports p WHERE ${where}`, page });
  return { reports: rows.map(toUserReport), total };
}

/** Returns a report of a user, or null. */
export async function selectUserReport(db: Db, id: number): Promise<UserReport | null> {
  const row = await db.get<Row>(sql`SELECT ${COLUMNS} FROM reports p WHERE p.report_id = ${id} AND ${OF_USERS}`);
  return row === null ? null : toUserReport(row);
}

/** Removes a report of an event or of a user; false when there is none. */
export async function deleteReport(tx: Tx, { id, of }: { id: number; of: "event" | "user" }): Promise<boolean> {
  const isWanted = of === "event" ? OF_EVENTS : OF_USERS;
  return await tx.run(sql`
    DELETE FROM reports WHERE report_id IN (
      SELECT p.report_id FROM reports p WHERE p.report_id = ${id} AND ${isWanted}
    )`) > 0;
}

function reporterIs({ reporter }: ReportPage): Sql {
  return reporter === "" ? sql`` : sql` AND ${contains(sql`p.reporter`, reporter)}`;
}

async function selectPage(
  db: Db,
  { source, page: { backward, from, limit } }: { source: Sql; page: ReportPage },
): Promise<{ rows: Row[]; total: number }> {
  const direction = raw(backward ? "DESC" : "ASC");
  const rows = await db.all<Row>(sql`
    SELECT ${COLUMNS} FROM ${source}
    ORDER BY p.received_ts ${direction}, p.report_id ${direction} LIMIT ${limit} OFFSET ${from}`);
  const count = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM ${source}`);
  return { rows, total: Number(count?.n ?? 0) };
}

function toEventReport(row: Row): EventReport {
  const { roomId, eventId } = { roomId: row.room_id, eventId: row.event_id };
  return { ...toUserReport(row), roomId, eventId, sender: row.reported_user, score: row.score };
}

function toUserReport(row: Row): UserReport {
  return {
    id: row.report_id,
    receivedTs: row.received_ts,
    reporter: row.reporter,
    reportedUser: row.reported_user,
    reason: row.reason,
  };
}
