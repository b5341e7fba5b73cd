/** What takes how much of the disk, and what could be freed. These queries read whole tables: for commands only. */
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** Bytes of one table with its indexes. */
export interface TableUsage {
  readonly table: string;
  readonly bytes: number;
}

/** Bytes of one room in the database. */
export interface RoomUsage {
  readonly roomId: string;
  readonly alias: string | null;
  readonly joinedMembers: number;
  /** Whether a local user is in it, or has not forgotten it. */
  readonly isWanted: boolean;
  readonly events: number;
  readonly eventBytes: number;
  readonly stateBytes: number;
}

/** Bytes of media of one kind. */
export interface MediaUsage {
  readonly kind: "local" | "remote" | "url previews" | "thumbnails";
  readonly files: number;
  readonly bytes: number;
}

/** Bytes of each table, biggest first. */
export async function selectTableUsage(db: Db): Promise<TableUsage[]> {
  const rows = db.dialect === "sqlite"
    ? await db.all<{ name: string; bytes: number }>(sql`
        SELECT COALESCE(m.tbl_name, s.name) AS name, SUM(s.pgsize) AS bytes
        FROM dbstat AS s LEFT JOIN sqlite_master AS m ON m.name = s.name
        GROUP BY COALESCE(m.tbl_name, s.name) ORDER BY bytes DESC, name LIMIT 1000`)
    : await db.all<{ name: string; bytes: number }>(sql`
        SELECT relname::TEXT AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
        WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY bytes DESC, name LIMIT 1000`);
  return rows.map(({ name, bytes }) => ({ table: name, bytes }));
}

/** Bytes of SQLite's file that hold nothing; 0 on PostgreSQL, which does not tell. */
export async function selectFreeBytes(db: Db): Promise<number> {
  if (db.dialect !== "sqlite") return 0;
  const row = await db.get<{ bytes: number }>(sql`
    SELECT f.freelist_count * p.page_size AS bytes FROM pragma_freelist_count AS f, pragma_page_size AS p`);
  return row?.bytes ?? 0;
}

/** The rooms that take most, biggest first. */
export async function selectRoomUsage(db: Db, limit: number): Promise<RoomUsage[]> {
  const rows = await db.all<{
    room_id: string;
    alias: string | null;
    joined_members: number;
    is_wanted: boolean;
    events: number;
    event_bytes: number;
    state_bytes: number;
  }>(sql`
    SELECT rooms.room_id, (SELECT MIN(alias) FROM room_aliases WHERE room_aliases.room_id = rooms.room_id) AS alias,
      rooms.joined_members,
      EXISTS (SELECT 1 FROM local_memberships AS m WHERE m.room_nid = rooms.room_nid AND NOT m.forgotten) AS is_wanted,
      COALESCE(e.events, 0) AS events, COALESCE(e.bytes, 0) AS event_bytes, COALESCE(s.bytes, 0) AS state_bytes
    FROM rooms
    LEFT JOIN (SELECT events.room_nid, COUNT(*) AS events, SUM(LENGTH(event_json.json)) AS bytes
      FROM events JOIN event_json ON event_json.event_nid = events.event_nid GROUP BY events.room_nid) AS e
      ON e.room_nid = rooms.room_nid
    LEFT JOIN (SELECT room_nid, SUM(LENGTH(data)) AS bytes FROM state_nodes GROUP BY room_nid) AS s
      ON s.room_nid = rooms.room_nid
    ORDER BY COALESCE(e.bytes, 0) + COALESCE(s.bytes, 0) DESC, rooms.room_id LIMIT ${limit}`);
  return rows.map((row) => ({
    roomId: row.room_id,
    alias: row.alias,
    joinedMembers: row.joined_members,
    isWanted: row.is_wanted,
    events: row.events,
    eventBytes: row.event_bytes,
    stateBytes: row.state_bytes,
  }));
}

/** Rooms that every local user has left and forgotten. */
export async function countForgottenRooms(db: Db): Promise<number> {
  const row = await db.get<{ n: number }>(sql`
    SELECT COUNT(*) AS n FROM rooms WHERE NOT EXISTS (
      SELECT 1 FROM local_memberships AS m WHERE m.room_nid = rooms.room_nid AND NOT m.forgotten)`);
  return row?.n ?? 0;
}

/** Media by kind. */
export async function selectMediaUsage(db: Db, serverName: string): Promise<MediaUsage[]> {
  const media = await db.get<Record<string, number>>(sql`
    SELECT
      SUM(CASE WHEN NOT is_url_cache AND origin = ${serverName} THEN 1 ELSE 0 END) AS local_files,
      SUM(CASE WHEN NOT is_url_cache AND origin = ${serverName} THEN length ELSE 0 END) AS local_bytes,
      SUM(CASE WHEN NOT is_url_cache AND origin <> ${serverName} THEN 1 ELSE 0 END) AS remote_files,
      SUM(CASE WHEN NOT is_url_cache AND origin <> ${serverName} THEN length ELSE 0 END) AS remote_bytes,
      SUM(CASE WHEN is_url_cache THEN 1 ELSE 0 END) AS cache_files,
      SUM(CASE WHEN is_url_cache THEN length ELSE 0 END) AS cache_bytes
    FROM media WHERE length IS NOT NULL`);
  const thumbnails = await db.get<{ n: number; bytes: number | null }>(sql`
    SELECT COUNT(*) AS n, SUM(length) AS bytes FROM media_thumbnails WHERE NOT is_original`);
  const of = (name: string) => media?.[name] ?? 0;
  return [
    { kind: "local", files: of("local_files"), bytes: of("local_bytes") },
    { kind: "remote", files: of("remote_files"), bytes: of("remote_bytes") },
    { kind: "url previews", files: of("cache_files"), bytes: of("cache_bytes") },
    { kind: "thumbnails", files: thumbnails?.n ?? 0, bytes: thumbnails?.bytes ?? 0 },
  ];
}

/** Copies of other servers' media that nobody has asked for since a time. */
export async function selectUnusedRemoteMedia(
  db: Db,
  { serverName, before }: { serverName: string; before: number },
): Promise<{ files: number; bytes: number }> {
  const row = await db.get<{ n: number; bytes: number | null }>(sql`
    SELECT COUNT(*) AS n, SUM(length) AS bytes FROM media
    WHERE origin <> ${serverName} AND NOT is_url_cache AND last_access_ts < ${before} AND length IS NOT NULL
      AND quarantined_by IS NULL AND NOT safe_from_quarantine`);
  return { files: row?.n ?? 0, bytes: row?.bytes ?? 0 };
}
