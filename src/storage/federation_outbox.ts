/** What is ours to send to other servers, and how far each of them has got it. */
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { notInRooms } from "./shared_rooms.ts";
import { inList, sql } from "./sql.ts";

/** An event to send. */
export interface OutboxEvent {
  readonly position: number;
  readonly eventNid: number;
}

/** How far a server has got what is ours to send. */
export interface FederationCursor {
  readonly events: number;
  readonly deviceLists: number;
}

/** An EDU that must arrive. */
export interface QueuedEdu {
  readonly position: number;
  readonly json: string;
}

const MAX_DESTINATIONS = 100_000;

/** Changes the number of joined members of servers in a room. */
export async function updateRoomServers(
  tx: Tx,
  { roomNid, changes }: { roomNid: number; changes: ReadonlyMap<string, number> },
): Promise<void> {
  await tx.runMany([...changes].flatMap(([server, by]) => [
    sql`
    INSERT INTO room_servers (room_nid, server_name, joined_members) VALUES (${roomNid}, ${server}, ${by})
    ON CONFLICT (room_nid, server_name)
    DO UPDATE SET joined_members = room_servers.joined_members + excluded.joined_members`,
    sql`
    DELETE FROM room_servers WHERE room_nid = ${roomNid} AND server_name = ${server} AND joined_members <= 0`,
  ]));
}

/** Returns the other servers with joined members in a room, and those that a room whose members are not all here has. */
export async function selectRoomServers(db: Db, roomNid: number): Promise<ServerName[]> {
  const rows = await db.all<{ server_name: ServerName }>(sql`
    SELECT server_name FROM room_servers WHERE room_nid = ${roomNid} ORDER BY server_name LIMIT ${MAX_DESTINATIONS}`);
  return rows.map((row) => row.server_name);
}

/** Tells whether another server has joined members in a room. */
export async function isServerJoined(
  db: Db,
  { roomNid, server }: { roomNid: number; server: string },
): Promise<boolean> {
  const row = await db.get<{ joined_members: number }>(sql`
    SELECT joined_members FROM room_servers WHERE room_nid = ${roomNid} AND server_name = ${server}`);
  return row !== null && row.joined_members > 0;
}

/** Returns the servers that share a room with any of some local users. */
export async function selectServersOfUser(
  db: Db,
  { userId, except = [] }: {
    userId: string;
    /** Rooms that do not count. */
    except?: readonly RoomId[];
  },
): Promise<string[]> {
  const rows = await db.all<{ server_name: string }>(sql`
    SELECT DISTINCT s.server_name FROM local_memberships m JOIN room_servers s ON s.room_nid = m.room_nid
    WHERE m.user_id = ${userId} AND m.membership = 'join'${notInRooms(sql`m.room_nid`, except)}
    LIMIT ${MAX_DESTINATIONS}`);
  return rows.map((row) => row.server_name);
}

/** Adds events to send. */
export async function insertOutbox(
  tx: Tx,
  { roomNid, events, extra }: {
    roomNid: number;
    events: readonly (OutboxEvent & { readonly origin: string | null })[];
    extra: readonly { readonly destination: string; readonly position: number }[];
  },
): Promise<void> {
  await tx.runMany([
    ...events.map(({ position, eventNid, origin }) =>
      sql`
      INSERT INTO federation_outbox (position, room_nid, event_nid, origin)
      VALUES (${position}, ${roomNid}, ${eventNid}, ${origin})`
    ),
    ...extra.map(({ destination, position }) =>
      sql`
      INSERT INTO federation_outbox_extra (destination, position) VALUES (${destination}, ${position})
      ON CONFLICT DO NOTHING`
    ),
  ]);
}

/** Starts to keep track of servers; those that are known go on from where they are. */
export async function insertFederationCursors(
  tx: Tx,
  { destinations, events }: { destinations: readonly string[]; events: number },
): Promise<void> {
  await tx.runMany(destinations.map((destination) =>
    sql`
    INSERT INTO federation_cursors (destination, events, device_lists)
    SELECT CAST(${destination} AS TEXT), CAST(${events} AS BIGINT), position FROM stream_positions
    WHERE stream = 'device_lists'
    ON CONFLICT (destination) DO NOTHING`
  ));
}

/** Returns how far a server has come; null for one that was never owed anything. */
export async function selectFederationCursor(db: Db, destination: string): Promise<FederationCursor | null> {
  const row = await db.get<{ events: number; device_lists: number }>(sql`
    SELECT events, device_lists FROM federation_cursors WHERE destination = ${destination}`);
  return row === null ? null : { events: row.events, deviceLists: row.device_lists };
}

/** Notes what a server has got, and forgets what it does not need any more. */
export async function updateFederationCursor(
  tx: Tx,
  { destination, cursor, edusUpTo }: { destination: string; cursor: FederationCursor; edusUpTo: number },
): Promise<void> {
  await tx.runMany([
    sql`
    UPDATE federation_cursors SET events = ${cursor.events}, device_lists = ${cursor.deviceLists}
    WHERE destination = ${destination}`,
    sql`DELETE FROM federation_outbox_extra WHERE destination = ${destination} AND position <= ${cursor.events}`,
    sql`DELETE FROM federation_edus WHERE destination = ${destination} AND position <= ${edusUpTo}`,
  ]);
}

/** Returns the next events for a server, in order. */
export async function selectOutboxFor(
  db: Db,
  { destination, after, limit }: { destination: string; after: number; limit: number },
): Promise<OutboxEvent[]> {
  const rows = await db.all<{ position: number; event_nid: number }>(sql`
    SELECT o.position, o.event_nid FROM room_servers s
    JOIN federation_outbox o ON o.room_nid = s.room_nid AND o.position > ${after}
    WHERE s.server_name = ${destination} AND (o.origin IS NULL OR o.origin <> ${destination})
    UNION
    SELECT o.position, o.event_nid FROM federation_outbox_extra x
    JOIN federation_outbox o ON o.position = x.position
    WHERE x.destination = ${destination} AND x.position > ${after}
    ORDER BY 1
    LIMIT ${limit}`);
  return rows.map((row) => ({ position: row.position, eventNid: row.event_nid }));
}

/** Returns the last event of each room that has some for a server, in order: enough to let it fetch the rest. */
export async function selectLatestOutboxFor(
  db: Db,
  { destination, after, limit }: { destination: string; after: number; limit: number },
): Promise<OutboxEvent[]> {
  const rows = await db.all<{ position: number; event_nid: number }>(sql`
    SELECT o.position, o.event_nid FROM federation_outbox o WHERE o.position IN (
      SELECT MAX(own.position) FROM room_servers s
      JOIN federation_outbox own ON own.room_nid = s.room_nid AND own.position > ${after}
      WHERE s.server_name = ${destination} AND (own.origin IS NULL OR own.origin <> ${destination})
      GROUP BY own.room_nid
    ) OR o.position IN (
      SELECT x.position FROM federation_outbox_extra x WHERE x.destination = ${destination} AND x.position > ${after}
    )
    ORDER BY o.position
    LIMIT ${limit}`);
  return rows.map((row) => ({ position: row.position, eventNid: row.event_nid }));
}

/** Returns the servers that are owed something: events, changes of device lists or EDUs. */
export async function selectOwedDestinations(db: Db): Promise<string[]> {
  const rows = await db.all<{ destination: string }>(sql`
    SELECT destination FROM federation_cursors c WHERE EXISTS (
      SELECT 1 FROM room_servers s JOIN federation_outbox o ON o.room_nid = s.room_nid AND o.position > c.events
      WHERE s.server_name = c.destination
    )
    UNION SELECT destination FROM federation_outbox_extra
    UNION SELECT destination FROM federation_edus
    UNION SELECT c.destination FROM federation_cursors c, stream_positions p
      WHERE p.stream = 'device_lists' AND c.device_lists < p.position
    LIMIT ${MAX_DESTINATIONS}`);
  return rows.map((row) => row.destination);
}

/** Forgets events that every server has got, and of older ones all but the last of each room. */
export async function deleteOutbox(tx: Tx, { before, limit }: { before: number; limit: number }): Promise<number> {
  return await tx.run(sql`
    DELETE FROM federation_outbox WHERE position IN (
      SELECT o.position FROM federation_outbox o
      WHERE o.position < ${before}
        AND EXISTS (SELECT 1 FROM federation_outbox n WHERE n.room_nid = o.room_nid AND n.position > o.position)
        AND NOT EXISTS (SELECT 1 FROM federation_outbox_extra x WHERE x.position = o.position)
      LIMIT ${limit}
    )`);
}

/** Adds EDUs that must arrive. */
export async function insertFederationEdus(
  tx: Tx,
  edus: readonly (QueuedEdu & { readonly destination: string })[],
): Promise<void> {
  await tx.runMany(
    edus.map(({ destination, position, json }) =>
      sql`INSERT INTO federation_edus (destination, position, json) VALUES (${destination}, ${position}, ${json})`
    ),
  );
}

/** Returns the next EDUs for a server, in order. */
export async function selectFederationEdus(
  db: Db,
  { destination, limit }: { destination: string; limit: number },
): Promise<QueuedEdu[]> {
  return await db.all<QueuedEdu>(sql`
    SELECT position, json FROM federation_edus WHERE destination = ${destination} ORDER BY position LIMIT ${limit}`);
}

/** Returns which users, of those sharing a room with a server, changed their device lists; the oldest first. */
export async function selectDeviceListsFor(
  db: Db,
  { destination, after, upTo, limit }: { destination: string; after: number; upTo: number; limit: number },
): Promise<{ userId: string; position: number }[]> {
  const rows = await db.all<{ user_id: string; position: number }>(sql`
    SELECT c.user_id, c.position FROM device_list_changes c
    WHERE c.position > ${after} AND c.position <= ${upTo} AND EXISTS (
      SELECT 1 FROM local_memberships m JOIN room_servers s ON s.room_nid = m.room_nid
      WHERE m.user_id = c.user_id AND m.membership = 'join' AND s.server_name = ${destination}
    )
    ORDER BY c.position
    LIMIT ${limit}`);
  return rows.map((row) => ({ userId: row.user_id, position: row.position }));
}

/** Returns which of these users a server shares a room with. */
export async function filterUsersSharedWith(
  db: Db,
  { destination, userIds }: { destination: string; userIds: readonly string[] },
): Promise<Set<string>> {
  if (userIds.length === 0) return new Set();
  const rows = await db.all<{ user_id: string }>(sql`
    SELECT DISTINCT m.user_id FROM local_memberships m JOIN room_servers s ON s.room_nid = m.room_nid
    WHERE m.membership = 'join' AND s.server_name = ${destination} AND ${inList(sql`m.user_id`, userIds)}`);
  return new Set(rows.map((row) => row.user_id));
}

/** Returns the origins of events that we pass on for others. */
export async function selectRelayed(db: Db, eventIds: readonly EventId[]): Promise<Set<EventId>> {
  if (eventIds.length === 0) return new Set();
  const rows = await db.all<{ event_id: EventId }>(sql`
    SELECT event_id FROM relayed_events WHERE ${inList(sql`event_id`, eventIds)}`);
  return new Set(rows.map((row) => row.event_id));
}
