/**
 * What sliding sync keeps of each connection: which state the client has, and what it was sent of each room.
 *
 * A response that changes what is kept writes a new state beside the old one, because nobody knows whether the client
 * will get it. When the client comes back with one of the two, the other goes.
 */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { inList, numberTable, raw, type Sql, sql } from "./sql.ts";
import { bigints, booleans, texts } from "./together.ts";

/** Whose connection it is, and which of theirs. */
export interface ConnectionOwner {
  readonly userId: UserId;
  /** Empty for a requester without a device. */
  readonly deviceId: string;
  readonly connId: string;
}

/** A connection as stored. */
export interface ConnectionRow extends ConnectionOwner {
  readonly connKey: string;
  readonly ackedState: number;
  readonly lastState: number;
  readonly lastUsedTs: number;
}

/** What was sent of a room. */
export interface SlidingRoomRow {
  readonly roomNid: number;
  readonly events: number;
  readonly receipts: number;
  readonly accountData: number;
  readonly shown: string;
  readonly timelineLimit: number;
  readonly isDm: boolean;
  readonly selectionNid: number;
  readonly profiles: number;
}

interface RoomRow {
  room_nid: number;
  state: number;
  events: number;
  receipts: number;
  account_data: number;
  shown: string;
  timeline_limit: number;
  is_dm: boolean;
  selection_nid: number;
  profiles: number;
}

const PAGE = 5_000;

/** Returns a connection, or null. */
export async function selectConnection(db: Db, connKey: string): Promise<ConnectionRow | null> {
  const row = await db.get<{
    user_id: UserId;
    device_id: string;
    conn_id: string;
    acked_state: number;
    last_state: number;
    last_used_ts: number;
  }>(sql`
    SELECT user_id, device_id, conn_id, acked_state, last_state, last_used_ts FROM sliding_connections
    WHERE conn_key = ${connKey}`);
  return row && {
    connKey,
    userId: row.user_id,
    deviceId: row.device_id,
    connId: row.conn_id,
    ackedState: row.acked_state,
    lastState: row.last_state,
    lastUsedTs: row.last_used_ts,
  };
}

/** Returns what was sent of each room of a connection, in one of its states. */
export async function selectSlidingRooms(
  db: Db,
  { connKey, state }: { connKey: string; state: number },
): Promise<SlidingRoomRow[]> {
  const newest = new Map<number, SlidingRoomRow>();
  let from = { room: -1, state: -1 };
  while (true) {
    const rows = await db.all<RoomRow>(sql`
      SELECT room_nid, state, events, receipts, account_data, shown, timeline_limit, is_dm, selection_nid,
        profiles
      FROM sliding_rooms
      WHERE conn_key = ${connKey} AND (room_nid, state) > (${from.room}, ${from.state}) AND state <= ${state}
      ORDER BY room_nid, state LIMIT ${PAGE}`);
    for (const row of rows) newest.set(row.room_nid, toSlidingRoom(row));
    const last = rows[rows.length - 1];
    if (rows.length < PAGE || last === undefined) return [...newest.values()];
    from = { room: last.room_nid, state: last.state };
  }
}

function toSlidingRoom(row: RoomRow): SlidingRoomRow {
  return {
    roomNid: row.room_nid,
    events: row.events,
    receipts: row.receipts,
    accountData: row.account_data,
    shown: row.shown,
    timelineLimit: row.timeline_limit,
    isDm: row.is_dm,
    selectionNid: row.selection_nid,
    profiles: row.profiles,
  };
}

/** Returns the selections of a connection, by number. */
export async function selectSelections(db: Db, connKey: string): Promise<Map<number, string>> {
  const rows = await db.all<{ selection_nid: number; text: string }>(sql`
    SELECT selection_nid, text FROM sliding_selections WHERE conn_key = ${connKey}`);
  return new Map(rows.map((row) => [row.selection_nid, row.text]));
}

/**
 * Starts a connection in state 1, of which no client knows yet, in place of the one of the same owner. Returns the keys of
 * the connections that ended by it.
 */
export async function insertConnection(
  tx: Tx,
  { connKey, userId, deviceId, connId, now, maxPerDevice }: ConnectionOwner & {
    connKey: string;
    now: number;
    /** Connections of the device beyond this number end, the longest unused first. */
    maxPerDevice: number;
  },
): Promise<string[]> {
  const ended: string[] = [];
  while (true) {
    const old = await tx.all<{ conn_key: string; conn_id: string }>(sql`
      SELECT conn_key, conn_id FROM sliding_connections
      WHERE user_id = ${userId} AND device_id = ${deviceId}
      ORDER BY last_used_ts DESC LIMIT ${PAGE}`);
    const others = old.filter((row) => row.conn_id !== connId);
    const going = [...old.filter((row) => row.conn_id === connId), ...others.slice(maxPerDevice - 1)]
      .map((row) => row.conn_key);
    await deleteConnections(tx, going);
    ended.push(...going);
    const inserted = await tx.run(sql`
      INSERT INTO sliding_connections (conn_key, user_id, device_id, conn_id, acked_state, last_state, last_used_ts)
      VALUES (${connKey}, ${userId}, ${deviceId}, ${connId}, 0, 1, ${now})
      ON CONFLICT (user_id, device_id, conn_id) DO NOTHING`);
    // Another request may have begun the same connection at the same time: the later one counts.
    if (inserted > 0) return ended;
  }
}

/**
 * Notes that the client has `state` and adds the next one, whose number is returned; what is neither goes. Null when the
 * connection is gone or the client's state is out of date.
 */
export async function advanceConnection(
  tx: Tx,
  { connKey, state, now }: { connKey: string; state: number; now: number },
): Promise<number | null> {
  const row = await tx.get<{ last_state: number }>(sql`
    UPDATE sliding_connections
    SET acked_state = ${state}, last_state = last_state + 1, last_used_ts = ${now}
    WHERE conn_key = ${connKey} AND (acked_state = ${state} OR last_state = ${state})
    RETURNING last_state`);
  if (row === null) return null;
  await tx.run(sql`DELETE FROM sliding_rooms WHERE conn_key = ${connKey} AND state > ${state}`);
  await tx.run(sql`
    DELETE FROM sliding_rooms
    WHERE conn_key = ${connKey} AND state < ${state}
      AND room_nid IN (SELECT room_nid FROM sliding_rooms WHERE conn_key = ${connKey} AND state = ${state})`);
  return row.last_state;
}

/** Writes what was sent of rooms as part of a state. */
export async function insertSlidingRooms(
  tx: Tx,
  { connKey, state, rooms }: { connKey: string; state: number; rooms: readonly SlidingRoomRow[] },
): Promise<void> {
  if (rooms.length === 0) return;
  await tx.run(sql`
    INSERT INTO sliding_rooms (conn_key, state, room_nid, events, receipts, account_data, shown, timeline_limit, is_dm,
      selection_nid, profiles)
    SELECT ${connKey}, ${state}, ${tx.dialect === "sqlite" ? columnsOfSqlite(rooms) : columnsOfPostgres(rooms)}`);
}

function columnsOfSqlite(rooms: readonly SlidingRoomRow[]): Sql {
  const rows = rooms.map((room) => [
    ...[room.roomNid, room.events, room.receipts, room.accountData, room.shown, room.timelineLimit],
    ...[room.isDm ? 1 : 0, room.selectionNid, room.profiles],
  ]);
  return sql`value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
    value ->> 8 FROM json_each(${JSON.stringify(rows)})`;
}

function columnsOfPostgres(rooms: readonly SlidingRoomRow[]): Sql {
  return sql`rows.* FROM unnest(${bigints(rooms.map(({ roomNid }) => roomNid))},
    ${bigints(rooms.map(({ events }) => events))}, ${bigints(rooms.map(({ receipts }) => receipts))},
    ${bigints(rooms.map(({ accountData }) => accountData))}, ${texts(rooms.map(({ shown }) => shown))},
    ${bigints(rooms.map(({ timelineLimit }) => timelineLimit))}, ${booleans(rooms.map(({ isDm }) => isDm))},
    ${bigints(rooms.map(({ selectionNid }) => selectionNid))}, ${
    bigints(rooms.map(({ profiles }) => profiles))
  }) AS rows`;
}

/** Writes selections that rooms of a connection refer to; those known already stay. */
export async function insertSelections(
  tx: Tx,
  { connKey, selections }: { connKey: string; selections: ReadonlyMap<number, string> },
): Promise<void> {
  await tx.runMany([...selections].map(([nid, text]) =>
    sql`
    INSERT INTO sliding_selections (conn_key, selection_nid, text) VALUES (${connKey}, ${nid}, ${text})
    ON CONFLICT (conn_key, selection_nid) DO NOTHING`
  ));
}

/** Deletes the selections of a connection that no room refers to any more. */
export async function deleteUnusedSelections(tx: Tx, connKey: string): Promise<void> {
  await tx.run(sql`
    DELETE FROM sliding_selections
    WHERE conn_key = ${connKey} AND selection_nid NOT IN (
      SELECT selection_nid FROM sliding_rooms WHERE conn_key = ${connKey})`);
}

/** Notes that a connection is in use. */
export async function touchConnection(tx: Tx, { connKey, now }: { connKey: string; now: number }): Promise<void> {
  await tx.run(sql`UPDATE sliding_connections SET last_used_ts = ${now} WHERE conn_key = ${connKey}`);
}

/** Deletes all connections of a device. */
export async function deleteConnectionsOfDevice(
  tx: Tx,
  { userId, deviceId }: { userId: UserId; deviceId: string },
): Promise<void> {
  const rows = await tx.all<{ conn_key: string }>(sql`
    SELECT conn_key FROM sliding_connections WHERE user_id = ${userId} AND device_id = ${deviceId} LIMIT ${PAGE}`);
  await deleteConnections(tx, rows.map((row) => row.conn_key));
}

/** Deletes up to `limit` connections that were not used since `before`; returns how many. */
export async function deleteUnusedConnections(
  tx: Tx,
  { before, limit }: { before: number; limit: number },
): Promise<number> {
  const rows = await tx.all<{ conn_key: string }>(sql`
    SELECT conn_key FROM sliding_connections WHERE last_used_ts < ${before} ORDER BY last_used_ts LIMIT ${limit}`);
  await deleteConnections(tx, rows.map((row) => row.conn_key));
  return rows.length;
}

async function deleteConnections(tx: Tx, connKeys: readonly string[]): Promise<void> {
  if (connKeys.length === 0) return;
  for (const table of ["sliding_rooms", "sliding_selections", "sliding_connections"] as const) {
    await tx.run(sql`DELETE FROM ${raw(table)} WHERE ${inList(sql`conn_key`, connKeys)}`);
  }
}

/** Returns the position of the last event of a room, up to a position, that is of one of these types; or null. */
export async function selectLastPositionOfTypes(
  db: Db,
  { roomNid, types, upTo }: { roomNid: number; types: readonly string[]; upTo: number },
): Promise<number | null> {
  const row = await db.get<{ position: number }>(sql`
    SELECT position FROM events
    WHERE room_nid = ${roomNid} AND position <= ${upTo} AND NOT is_rejected AND NOT is_soft_failed
      AND ${inList(sql`type`, types)}
    ORDER BY position DESC LIMIT 1`);
  return row?.position ?? null;
}

/** A piece of state that lists are filtered by. */
export interface TraitRow {
  readonly roomNid: number;
  readonly type: string;
  readonly json: string;
}

/** Returns what rooms are filtered by: their creation, encryption and name, as far as these are set and not redacted. */
export async function selectRoomTraits(db: Db, roomNids: readonly number[]): Promise<TraitRow[]> {
  if (roomNids.length === 0) return [];
  const rows = await db.all<{ room_nid: number; type: string; json: string }>(sql`
    SELECT c.room_nid, c.type, j.json
    FROM ${numberTable(roomNids)} AS wanted
    CROSS JOIN state_keys k
    JOIN current_state c ON c.room_nid = wanted.value AND c.state_key_nid = k.state_key_nid
    JOIN events e ON e.event_nid = c.event_nid
    JOIN event_json j ON j.event_nid = c.event_nid
    WHERE k.type IN ('m.room.create', 'm.room.encryption', 'm.room.name') AND k.state_key = ''
      AND (e.redacted_by_nid IS NULL OR c.type <> 'm.room.name')`);
  return rows.map((row) => ({ roomNid: row.room_nid, type: row.type, json: row.json }));
}
