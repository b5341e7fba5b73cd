/**
 * Everything the server has on a user, for a request under the GDPR: what Synapse's `export-data` gives, and the media
 * themselves.
 */
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { LocalMembership, LocalMemberships } from "../rooms/local_memberships.ts";
import type { EventRenderer } from "../rooms/renderer.ts";
import type { RoomAccess, RoomReaders } from "../rooms/room_access.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import { strippedState } from "../rooms/stripped_state.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Visibility } from "../rooms/visibility.ts";
import { type AccountDataRow, selectAccountDataBetween } from "../storage/account_data.ts";
import type { Database } from "../storage/database.ts";
import { selectDevices, selectSightings } from "../storage/devices.ts";
import type { MediaRow } from "../storage/media.ts";
import { selectMediaOfUser } from "../storage/media_removal.ts";
import { selectProfile } from "../storage/profiles.ts";
import { MAX_POSITION, selectHistoryForward, WHOLE_ROOM } from "../storage/timeline.ts";
import { selectThreepids, selectUser } from "../storage/users.ts";

/** What is written where; each call adds to what it has. */
export interface ExportWriter {
  events(roomId: RoomId, events: readonly string[]): Promise<void>;
  /** The state at an event before which events are missing. */
  state(roomId: RoomId, at: { eventId: EventId; events: readonly string[] }): Promise<void>;
  strippedState(roomId: RoomId, state: { kind: "invite" | "knock"; events: readonly string[] }): Promise<void>;
  userData(name: "profile" | "devices" | "connections", rows: readonly JsonObject[]): Promise<void>;
  accountData(name: string, content: JsonObject): Promise<void>;
  media(media: MediaRow): Promise<void>;
}

/** What an export reads from. */
export interface UserExportDeps {
  readonly db: Database;
  readonly events: EventStore;
  readonly memberships: LocalMemberships;
  readonly readers: RoomReaders;
  readonly renderer: EventRenderer;
  readonly state: StateReader;
  readonly visibility: Visibility;
}

const PAGE = 100;

/** Writes all data of a user; returns false when there is no such user. */
export async function exportUser(deps: UserExportDeps, { userId, writer }: {
  userId: UserId;
  writer: ExportWriter;
}): Promise<boolean> {
  const user = await selectUser(deps.db, userId);
  if (user === null) return false;
  for (const entry of (await deps.memberships.forUser(userId)).all.values()) {
    if (!entry.forgotten) await exportRoom(deps, { userId, entry, writer });
  }
  await exportAccount(deps.db, { userId, writer });
  await exportAccountData(deps.db, { userId, writer });
  for (let skip = "";;) {
    const page = await selectMediaOfUser(deps.db, { userId, after: skip, limit: PAGE });
    for (const media of page) await writer.media(media);
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return true;
    skip = last.mediaId;
  }
}

interface RoomTask {
  readonly userId: UserId;
  readonly entry: LocalMembership;
  readonly writer: ExportWriter;
}

async function exportRoom(deps: UserExportDeps, { userId, entry, writer }: RoomTask): Promise<void> {
  const { membership, roomId } = entry;
  if (membership === "invite" || membership === "knock") {
    const stored = await deps.events.getByNid(entry.eventNid);
    if (stored !== null) await writer.events(roomId, [stored.json]);
    const stripped: readonly JsonObject[] = JSON.parse(await strippedState(deps, entry));
    await writer.strippedState(roomId, { kind: membership, events: stripped.map((event) => JSON.stringify(event)) });
    return;
  }
  const access = await deps.readers.find(userId, roomId);
  if (access === null || access.kind === "peeking") return;
  const gaps = new Gaps();
  for await (const page of readHistory(deps, { userId, access })) {
    await writer.events(roomId, page.map(({ json }) => json));
    for (const stored of page) gaps.note(stored);
  }
  for (const { event, stateBefore } of gaps.list()) {
    if (stateBefore === null) continue;
    const events = (await deps.state.entries(stateBefore)).map(({ json }) => json);
    await writer.state(roomId, { eventId: event.eventId, events });
  }
}

/** Finds events that come after something that was not written: the user could not see it, or it is not here. */
class Gaps {
  readonly #written = new Set<EventId>();
  /** Events with the parents that have not come yet. */
  readonly #waiting = new Map<EventId, { readonly stored: StoredEvent; readonly parents: Set<EventId> }>();
  readonly #children = new Map<EventId, EventId[]>();

  note(stored: StoredEvent): void {
    const { eventId, prevEvents } = stored.event;
    this.#written.add(eventId);
    const parents = new Set(prevEvents.filter((parent) => !this.#written.has(parent)));
    if (parents.size > 0) this.#waiting.set(eventId, { stored, parents });
    for (const parent of parents) this.#children.set(parent, [...this.#children.get(parent) ?? [], eventId]);
    for (const child of this.#children.get(eventId) ?? []) {
      const waiting = this.#waiting.get(child);
      waiting?.parents.delete(eventId);
      if (waiting?.parents.size === 0) this.#waiting.delete(child);
    }
    this.#children.delete(eventId);
  }

  list(): StoredEvent[] {
    return [...this.#waiting.values()].map(({ stored }) => stored);
  }
}

async function* readHistory(
  { db, events, visibility, readers }: UserExportDeps,
  { userId, access }: { userId: UserId; access: RoomAccess },
): AsyncIterableIterator<StoredEvent[]> {
  const viewer = readers.viewer({ requester: { userId, deviceId: null }, access });
  let from: { depth: number; position: number } = WHOLE_ROOM.from;
  for (;;) {
    const rows = await selectHistoryForward(db, { ...WHOLE_ROOM, roomNid: access.room.roomNid, from, limit: PAGE });
    const found = await events.byNid(rows.map(({ nid }) => nid));
    const stored = rows.map(({ nid }) => found.get(nid)).filter((event) => event !== undefined);
    yield (await visibility.filter(stored, viewer)).map((visible) => visible.stored);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return;
    from = { depth: last.depth, position: last.position + 1 };
  }
}

async function exportAccount(
  db: Database,
  { userId, writer }: { userId: UserId; writer: ExportWriter },
): Promise<void> {
  const [user, profile] = [await selectUser(db, userId), await selectProfile(db, userId)];
  const threepids = await selectThreepids(db, userId);
  await writer.userData("profile", [{
    name: userId,
    displayname: profile?.displayname ?? null,
    avatar_url: profile?.avatarUrl ?? null,
    is_guest: user?.isGuest ?? false,
    admin: user?.isAdmin ?? false,
    deactivated: user?.isDeactivated ?? false,
    locked: user?.isLocked ?? false,
    suspended: user?.isSuspended ?? false,
    user_type: user?.userType ?? null,
    appservice_id: user?.appserviceId ?? null,
    creation_ts: Math.floor((user?.createdTs ?? 0) / 1000),
    threepids: threepids.map(({ medium, address, validatedTs, addedTs }) => {
      return { medium, address, validated_at: validatedTs, added_at: addedTs };
    }),
  }]);
  await writer.userData(
    "devices",
    (await selectDevices(db, userId)).map((device) => ({
      user_id: userId,
      device_id: device.deviceId,
      display_name: device.displayName,
      last_seen_ip: device.lastSeenIp,
      last_seen_ts: device.lastSeenTs,
      last_seen_user_agent: device.lastSeenUserAgent,
    })),
  );
  await writer.userData(
    "connections",
    (await selectSightings(db, userId)).map(({ ip, userAgent, seenTs }) => {
      return { ip, last_seen: seenTs, user_agent: userAgent };
    }),
  );
}

async function exportAccountData(
  db: Database,
  { userId, writer }: { userId: UserId; writer: ExportWriter },
): Promise<void> {
  const rows: AccountDataRow[] = await selectAccountDataBetween(db, { userId, after: 0, upTo: MAX_POSITION });
  const byRoom = new Map<string, Record<string, JsonObject>>([["global", {}]]);
  for (const { roomId, type, content } of rows) {
    const name = roomId === "" ? "global" : roomId;
    const found = byRoom.get(name) ?? {};
    found[type] = JSON.parse(content);
    byRoom.set(name, found);
  }
  for (const [name, content] of byRoom) await writer.accountData(name, content);
}
