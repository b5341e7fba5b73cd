/** The user directory: who can be found, by which words, and by whom. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { perDialect, type Sql, sql } from "./sql.ts";

/** A user in the directory. */
export interface DirectoryUser {
  readonly userId: UserId;
  readonly displayName: string | null;
  readonly avatarUrl: string | null;
}

/** A change of state that concerns the directory. */
export interface DirectoryDelta {
  readonly position: number;
  readonly roomId: RoomId;
  readonly roomNid: number;
  readonly type: string;
  readonly stateKey: string;
  readonly eventNid: number | null;
}

/** Returns changes of members, join rules and history visibility in `(after, upTo]`, oldest first. */
export async function selectDirectoryDeltas(
  db: Db,
  { after, upTo, limit }: { after: number; upTo: number; limit: number },
): Promise<DirectoryDelta[]> {
  const rows = await db.all<
    { position: number; room_id: RoomId; room_nid: number; type: string; state_key: string; event_nid: number | null }
  >(sql`
    SELECT d.position, r.room_id, d.room_nid, d.type, d.state_key, d.event_nid
    FROM state_deltas d JOIN rooms r ON r.room_nid = d.room_nid
    WHERE d.position > ${after} AND d.position <= ${upTo}
      AND d.type IN ('m.room.member', 'm.room.join_rules', 'm.room.history_visibility')
    ORDER BY d.position, d.state_key_nid
    LIMIT ${limit}`);
  return rows.map((row) => ({
    position: row.position,
    roomId: row.room_id,
    roomNid: row.room_nid,
    type: row.type,
    stateKey: row.state_key,
    eventNid: row.event_nid,
  }));
}

/** A place in the current states of all rooms. */
export interface StatePlace {
  readonly roomNid: number;
  readonly stateKeyNid: number;
}

/** Returns what of the rooms' current states concerns the directory, after a place in them. */
export async function selectDirectoryState(
  db: Db,
  { after, limit }: { after: StatePlace; limit: number },
): Promise<(DirectoryDelta & StatePlace)[]> {
  const rows = await db.all<
    { room_id: RoomId; room_nid: number; state_key_nid: number; type: string; state_key: string; event_nid: number }
  >(sql`
    SELECT r.room_id, c.room_nid, c.state_key_nid, c.type, c.state_key, c.event_nid
    FROM current_state c JOIN rooms r ON r.room_nid = c.room_nid
    WHERE (c.room_nid, c.state_key_nid) > (${after.roomNid}, ${after.stateKeyNid})
      AND c.type IN ('m.room.member', 'm.room.join_rules', 'm.room.history_visibility')
    ORDER BY c.room_nid, c.state_key_nid LIMIT ${limit}`);
  return rows.map((row) => ({
    ...{ position: 0, roomId: row.room_id, roomNid: row.room_nid, stateKeyNid: row.state_key_nid },
    ...{ type: row.type, stateKey: row.state_key, eventNid: row.event_nid },
  }));
}

/** Returns local accounts that can be found, after a user. */
export async function selectFindableAccounts(
  db: Db,
  { after, limit }: { after: string; limit: number },
): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT user_id FROM users WHERE user_id > ${after} AND NOT is_deactivated AND NOT is_guest
    ORDER BY user_id LIMIT ${limit}`);
  return rows.map((row) => row.user_id);
}

/** Returns users of the directory who are in no room and have no account that can be used. */
export async function selectLostUsers(db: Db, limit: number): Promise<UserId[]> {
  const rows = await db.all<{ user_id: UserId }>(sql`
    SELECT d.user_id FROM user_directory d
    WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.user_id = d.user_id AND NOT u.is_deactivated)
      AND NOT EXISTS (SELECT 1 FROM current_state c WHERE c.state_key = d.user_id AND c.membership = 'join')
    ORDER BY d.user_id LIMIT ${limit}`);
  return rows.map((row) => row.user_id);
}

/** Puts a user into the directory, or brings the entry up to date. */
export async function upsertDirectoryUser(
  tx: Tx,
  { userId, displayName, avatarUrl, words }: DirectoryUser & { readonly words: readonly string[] },
): Promise<void> {
  const known = await tx.get<{ display_name: string | null; avatar_url: string | null }>(sql`
    SELECT display_name, avatar_url FROM user_directory WHERE user_id = ${userId}`);
  if (known !== null && known.display_name === displayName && known.avatar_url === avatarUrl) return;
  await tx.run(sql`
    INSERT INTO user_directory (user_id, display_name, avatar_url) VALUES (${userId}, ${displayName}, ${avatarUrl})
    ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name, avatar_url = excluded.avatar_url`);
  if (known !== null && known.display_name === displayName) return;
  await tx.run(sql`DELETE FROM user_directory_words WHERE user_id = ${userId}`);
  await tx.runMany(
    words.map((word) =>
      sql`INSERT INTO user_directory_words (word, user_id) VALUES (${word}, ${userId}) ON CONFLICT DO NOTHING`
    ),
  );
}

/** Takes a user out of the directory. */
export async function deleteDirectoryUser(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM user_directory_words WHERE user_id = ${userId}`);
  await tx.run(sql`DELETE FROM user_directory WHERE user_id = ${userId}`);
}

/** Notes whether anybody may join or read a room, if it was not deleted meanwhile. */
export async function setRoomOpen(tx: Tx, { roomNid, isOpen }: { roomNid: number; isOpen: boolean }): Promise<void> {
  if (!isOpen) {
    await tx.run(sql`DELETE FROM open_rooms WHERE room_nid = ${roomNid}`);
    return;
  }
  // The lock keeps the room until this is committed: its deletion then finds the row.
  const keep = perDialect({ sqlite: sql``, postgres: sql`FOR KEY SHARE` });
  await tx.run(sql`
    INSERT INTO open_rooms (room_nid) SELECT room_nid FROM rooms WHERE room_nid = ${roomNid} ${keep}
    ON CONFLICT DO NOTHING`);
}

/** Who is looked for, by whom. */
export interface DirectoryQuery {
  readonly searcher: UserId;
  /** How words begin; each must fit. */
  readonly words: readonly string[];
  readonly searchAllUsers: boolean;
  readonly excludeRemote: boolean;
  readonly showLocked: boolean;
  /** Ends the ids of local users, colon included. */
  readonly localSuffix: string;
  readonly limit: number;
}

/** Returns users whom the searcher may find, those with the whole first word before others. */
export async function selectDirectoryMatches(db: Db, query: DirectoryQuery): Promise<DirectoryUser[]> {
  const { searcher, words: [first = "", ...rest], limit } = query;
  const isLocal = sql`SUBSTR(w.user_id, LENGTH(w.user_id) - ${query.localSuffix.length - 1}) = ${query.localSuffix}`;
  const sameRoom = sql`EXISTS (
    SELECT 1 FROM current_state theirs JOIN current_state mine ON mine.room_nid = theirs.room_nid
    WHERE theirs.state_key = w.user_id AND theirs.membership = 'join'
      AND mine.state_key = ${searcher} AND mine.membership = 'join')`;
  const openRoom = sql`EXISTS (
    SELECT 1 FROM current_state theirs JOIN open_rooms o ON o.room_nid = theirs.room_nid
    WHERE theirs.state_key = w.user_id AND theirs.membership = 'join')`;
  const everybody = query.searchAllUsers ? sql`OR ${isLocal}` : sql``;
  // As in Synapse: who is in a room that is open to all finds himself too, unless all users are searched.
  const oneself = query.searchAllUsers ? sql`` : sql`OR ${openRoom}`;
  const onlyLocal = query.excludeRemote ? sql`AND ${isLocal}` : sql``;
  const unlocked = query.showLocked ? sql`` : sql`AND (u.is_locked IS NULL OR NOT u.is_locked)`;
  const rows = await db.all<{ user_id: UserId; display_name: string | null; avatar_url: string | null }>(sql`
    SELECT d.user_id, d.display_name, d.avatar_url FROM (
      SELECT w.user_id, MAX(CASE WHEN w.word = ${first} THEN 1 ELSE 0 END) AS exact
      FROM user_directory_words w
      LEFT JOIN users u ON u.user_id = w.user_id
      WHERE ${begins(sql`w.word`, first)} ${others(rest)}
        AND (w.user_id <> ${searcher} ${oneself})
        AND (u.user_id IS NULL OR (NOT u.is_deactivated AND u.appservice_id IS NULL
          AND (u.user_type IS NULL OR u.user_type <> 'support')))
        ${unlocked} ${onlyLocal}
        AND (${sameRoom} OR ${openRoom} ${everybody})
      GROUP BY w.user_id
    ) AS found JOIN user_directory d ON d.user_id = found.user_id
    ORDER BY found.exact DESC, d.user_id
    LIMIT ${limit}`);
  return rows.map((row) => ({ userId: row.user_id, displayName: row.display_name, avatarUrl: row.avatar_url }));
}

/** Both databases compare text by its bytes, so that everything with a beginning lies in one range. */
function begins(column: Sql, start: string): Sql {
  return sql`${column} >= ${start} AND ${column} < ${`${start}\u{10FFFF}`}`;
}

function others(words: readonly string[]): Sql {
  return words.reduce(
    (all, word) =>
      sql`${all} AND EXISTS (
        SELECT 1 FROM user_directory_words o WHERE o.user_id = w.user_id AND ${begins(sql`o.word`, word)})`,
    sql``,
  );
}
