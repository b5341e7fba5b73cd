/** Which servers are in a room, and which of their users were. */
import { nextTurn } from "../lib/turn.ts";
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { numberTable, perDialect, type Sql, sql } from "./sql.ts";

/** The servers in a room with the number of their joined members, as of a state. */
export interface JoinedHosts {
  readonly root: number;
  readonly hosts: readonly (readonly [host: string, members: number])[];
}

const MAX_USERS = 5_000;
const IDS_AT_ONCE = 2_000;

const HOST: Sql = perDialect({
  sqlite: sql`substr(c.state_key, instr(c.state_key, ':') + 1)`,
  postgres: sql`substr(c.state_key, strpos(c.state_key, ':') + 1)`,
});

/** Returns the servers in the current state of a room; null for an unknown room. One statement, so both belong together. */
export async function selectJoinedHosts(db: Db, roomNid: number): Promise<JoinedHosts | null> {
  const rows = await db.all<{ state_root: number; host: string | null; members: number }>(sql`
    SELECT r.state_root, h.host, COALESCE(h.members, 0) AS members
    FROM rooms r LEFT JOIN (
      SELECT c.room_nid, ${HOST} AS host, COUNT(*) AS members FROM current_state c
      WHERE c.room_nid = ${roomNid} AND c.membership = 'join'
      GROUP BY c.room_nid, ${HOST}
    ) AS h ON h.room_nid = r.room_nid
    WHERE r.room_nid = ${roomNid}`);
  const [first] = rows;
  if (first === undefined) return null;
  const hosts = rows.flatMap(({ host, members }) => host === null ? [] : [[host, members] as const]);
  return { root: first.state_root, hosts };
}

/** Returns the users of a server that the current state of a room has a membership of, whatever it is. */
export async function selectUsersOfHost(
  db: Db,
  { roomNid, host }: { roomNid: number; host: string },
): Promise<UserId[]> {
  const rows = await db.all<{ state_key: UserId }>(sql`
    SELECT c.state_key FROM current_state c
    WHERE c.room_nid = ${roomNid} AND c.membership IS NOT NULL AND ${HOST} = ${host}
    ORDER BY c.state_key
    LIMIT ${MAX_USERS}`);
  return rows.map((row) => row.state_key);
}

/** Returns how many events the current state of a room has. */
export async function countCurrentState(db: Db, roomNid: number): Promise<number> {
  const row = await db.get<{ n: number }>(sql`SELECT COUNT(*) AS n FROM current_state WHERE room_nid = ${roomNid}`);
  return row?.n ?? 0;
}

/** Returns the ids of events by their numeric ids, in no order. */
export async function selectEventIds(db: Db, nids: readonly number[]): Promise<EventId[]> {
  const ids: EventId[] = [];
  for (let start = 0; start < nids.length; start += IDS_AT_ONCE) {
    const rows = await db.all<{ event_id: EventId }>(sql`
      SELECT e.event_id FROM ${numberTable(nids.slice(start, start + IDS_AT_ONCE))} AS wanted
      JOIN events e ON e.event_nid = wanted.value`);
    for (const row of rows) ids.push(row.event_id);
    await nextTurn();
  }
  return ids;
}

/** Counts the other servers that are in any room. */
export async function countOtherServers(db: Db): Promise<number> {
  const row = await db.get<{ count: number }>(sql`SELECT COUNT(DISTINCT server_name) AS count FROM room_servers`);
  return Number(row?.count ?? 0);
}
