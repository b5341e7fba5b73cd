/** Profiles of local users, their changes on the way into rooms, and departures of deactivated users. */
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** A profile. `fields` is the text of a JSON object with what is neither name nor avatar. */
export interface ProfileRow {
  readonly displayname: string | null;
  readonly avatarUrl: string | null;
  readonly fields: string;
}

/** Returns a user's profile, or null. */
export async function selectProfile(db: Db, userId: UserId): Promise<ProfileRow | null> {
  const row = await db.get<{ displayname: string | null; avatar_url: string | null; fields: string }>(sql`
    SELECT displayname, avatar_url, fields FROM profiles WHERE user_id = ${userId}`);
  return row === null ? null : { displayname: row.displayname, avatarUrl: row.avatar_url, fields: row.fields };
}

/** Writes a user's whole profile. */
export async function upsertProfile(tx: Tx, { userId, ...profile }: ProfileRow & { userId: UserId }): Promise<void> {
  await tx.run(sql`
    INSERT INTO profiles (user_id, displayname, avatar_url, fields)
    VALUES (${userId}, ${profile.displayname}, ${profile.avatarUrl}, ${profile.fields})
    ON CONFLICT (user_id) DO UPDATE
    SET displayname = excluded.displayname, avatar_url = excluded.avatar_url, fields = excluded.fields`);
}

/** Notes that a user's rooms must learn of the profile, from the first room on. */
export async function insertProfileUpdate(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`
    INSERT INTO profile_updates (user_id, version, done_room_id) VALUES (${userId}, ${1}, ${""})
    ON CONFLICT (user_id) DO UPDATE SET version = profile_updates.version + 1, done_room_id = ''`);
}

/** A profile change under way. */
export interface ProfileUpdate {
  readonly userId: UserId;
  readonly version: number;
  /** Rooms up to this id, in order, have it. */
  readonly doneRoomId: RoomId | "";
}

/** Returns a user's change under way, or null. */
export async function selectProfileUpdate(db: Db, userId: UserId): Promise<ProfileUpdate | null> {
  const row = await db.get<{ user_id: string; version: number; done_room_id: string }>(sql`
    SELECT user_id, version, done_room_id FROM profile_updates WHERE user_id = ${userId}`);
  if (row === null) return null;
  return { userId: row.user_id as UserId, version: row.version, doneRoomId: row.done_room_id as RoomId };
}

/** Returns users with a change under way, at most 1,000. */
export async function selectProfileUpdateUsers(db: Db): Promise<UserId[]> {
  const rows = await db.all<{ user_id: string }>(sql`SELECT user_id FROM profile_updates ORDER BY user_id LIMIT 1000`);
  return rows.map((row) => row.user_id as UserId);
}

/** Notes how far a change has come, unless a newer one has started over. */
export async function updateProfileUpdate(tx: Tx, { userId, version, doneRoomId }: ProfileUpdate): Promise<void> {
  await tx.run(sql`
    UPDATE profile_updates SET done_room_id = ${doneRoomId} WHERE user_id = ${userId} AND version = ${version}`);
}

/** Ends a change, unless a newer one has started over; returns whether it ended. */
export async function deleteProfileUpdate(
  tx: Tx,
  { userId, version }: { userId: UserId; version: number },
): Promise<boolean> {
  return await tx.run(sql`DELETE FROM profile_updates WHERE user_id = ${userId} AND version = ${version}`) === 1;
}

/** Returns rooms in which a local user has one of the memberships join, invite and knock, by id, after `after`. */
export async function selectRoomsOf(
  db: Db,
  { userId, after, joinedOnly, limit }: { userId: UserId; after: string; joinedOnly: boolean; limit: number },
): Promise<RoomId[]> {
  const rows = await db.all<{ room_id: string }>(sql`
    SELECT r.room_id
    FROM local_memberships m
    JOIN rooms r ON r.room_nid = m.room_nid
    WHERE m.user_id = ${userId} AND r.room_id > ${after}
      AND (m.membership = 'join' OR (NOT ${joinedOnly} AND m.membership IN ('invite', 'knock')))
    ORDER BY r.room_id
    LIMIT ${limit}`);
  return rows.map((row) => row.room_id as RoomId);
}

/** Notes that a user is to leave all rooms. */
export async function insertDeparture(tx: Tx, { userId, reason }: Departure): Promise<void> {
  await tx.run(sql`
    INSERT INTO pending_departures (user_id, reason) VALUES (${userId}, ${reason}) ON CONFLICT (user_id) DO NOTHING`);
}

/** A user who is to leave all rooms, and why, for the membership events. */
export interface Departure {
  readonly userId: UserId;
  readonly reason: string;
}

/** Returns users who are to leave all rooms, at most 1,000. */
export async function selectDepartures(db: Db): Promise<Departure[]> {
  const rows = await db.all<{ user_id: string; reason: string }>(sql`
    SELECT user_id, reason FROM pending_departures ORDER BY user_id LIMIT 1000`);
  return rows.map((row) => ({ userId: row.user_id as UserId, reason: row.reason }));
}

/** Notes that a user has left all rooms. */
export async function deleteDeparture(tx: Tx, userId: UserId): Promise<void> {
  await tx.run(sql`DELETE FROM pending_departures WHERE user_id = ${userId}`);
}
