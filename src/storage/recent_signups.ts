/** Who registered of late, for an operator who looks for spam accounts. */
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** An account and what it has done so far. */
export interface RecentSignup {
  readonly userId: UserId;
  readonly createdTs: number;
  readonly emails: readonly string[];
  readonly ips: readonly string[];
  readonly rooms: readonly JoinedRoom[];
}

/** A room that a user is in. */
export interface JoinedRoom {
  readonly roomId: string;
  readonly isPublic: boolean;
  readonly canonicalAlias: string | null;
  readonly name: string | null;
}

const MAX_ROOMS = 1000;
const PAGE = 500;

/** Reads active accounts made since a time, oldest first, a page at a time. */
export async function* listRecentSignups(
  db: Db,
  { since, withAppservices }: { since: number; withAppservices: boolean },
): AsyncIterableIterator<RecentSignup> {
  let after = { createdTs: since, userId: "" };
  for (;;) {
    const users = await db.all<{ user_id: UserId; created_ts: number }>(sql`
      SELECT user_id, created_ts FROM users
      WHERE (created_ts, user_id) > (${after.createdTs}, ${after.userId}) AND created_ts >= ${since}
        AND NOT is_deactivated AND (${withAppservices} OR appservice_id IS NULL)
      ORDER BY created_ts, user_id LIMIT ${PAGE}`);
    for (const { user_id: userId, created_ts: createdTs } of users) {
      yield {
        userId,
        createdTs,
        emails: await selectEmails(db, userId),
        ips: await selectIps(db, userId),
        rooms: await selectJoinedRooms(db, userId),
      };
      after = { createdTs, userId };
    }
    if (users.length < PAGE) return;
  }
}

async function selectEmails(db: Db, userId: UserId): Promise<string[]> {
  const rows = await db.all<{ address: string }>(sql`
    SELECT address FROM user_threepids WHERE user_id = ${userId} AND medium = 'email' ORDER BY address LIMIT 100`);
  return rows.map(({ address }) => address);
}

async function selectIps(db: Db, userId: UserId): Promise<string[]> {
  const rows = await db.all<{ ip: string }>(sql`
    SELECT DISTINCT ip FROM user_ips WHERE user_id = ${userId} ORDER BY ip LIMIT 1000`);
  return rows.map(({ ip }) => ip);
}

async function selectJoinedRooms(db: Db, userId: UserId): Promise<JoinedRoom[]> {
  const rows = await db.all<{ room_id: string; type: string | null; json: string | null }>(sql`
    SELECT rooms.room_id, current_state.type, event_json.json
    FROM (SELECT room_nid FROM local_memberships WHERE user_id = ${userId} AND membership = 'join'
      ORDER BY room_nid LIMIT ${MAX_ROOMS}) AS joined
    JOIN rooms ON rooms.room_nid = joined.room_nid
    LEFT JOIN current_state ON current_state.room_nid = joined.room_nid AND current_state.state_key = ''
      AND current_state.type IN ('m.room.join_rules', 'm.room.canonical_alias', 'm.room.name')
    LEFT JOIN event_json ON event_json.event_nid = current_state.event_nid
    ORDER BY rooms.room_nid`);
  const rooms = new Map<
    string,
    { roomId: string; isPublic: boolean; canonicalAlias: string | null; name: string | null }
  >();
  for (const { room_id: roomId, type, json } of rows) {
    const room = rooms.get(roomId) ?? { roomId, isPublic: false, canonicalAlias: null, name: null };
    rooms.set(roomId, room);
    const content: Readonly<Record<string, unknown>> = json === null ? {} : JSON.parse(json).content ?? {};
    if (type === "m.room.join_rules") room.isPublic = content.join_rule === "public";
    if (type === "m.room.canonical_alias" && typeof content.alias === "string") room.canonicalAlias = content.alias;
    if (type === "m.room.name" && typeof content.name === "string") room.name = content.name;
  }
  return [...rooms.values()];
}
