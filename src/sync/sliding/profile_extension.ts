/**
 * The extension that tells of profiles. Spec: MSC4262.
 *
 * A client has the whole profiles of whom a room is about from when it is first asked for: of all members, or of whom the
 * response speaks where members are loaded lazily. After that it is told each change by anybody it shares a room with. A
 * room's record says with which fields it was told of, so a restart or another set of fields changes nothing about that;
 * whose profile was sent with a lazily loaded room is kept in memory, and sent again when forgotten.
 */
import { createHash } from "node:crypto";
import { serverNameOf, type UserId } from "../../protocol/ids.ts";
import type { JsonObject, JsonValue } from "../../protocol/json.ts";
import type { EventStore } from "../../rooms/event_store.ts";
import { NEVER, type ProfilesTold } from "./connections.ts";
import type { SlidingProviders } from "./providers.ts";
import { change, choose, recordOf, type RoomExtensionQuery } from "./room_extensions.ts";
import type { RoomResult } from "./room_result.ts";
import type { ProfileFields, WantedRoom } from "./types.ts";
import type { SlidingView } from "./view.ts";

/** What it is read from. */
export interface ProfileExtensionDeps {
  readonly providers: SlidingProviders;
  readonly events: EventStore;
}

const NAME = "org.matrix.msc4262.profiles";
/** Whole profiles in one response; a client asks for the others when it shows them. */
const MAX_WHOLE_PROFILES = 1_000;
const ALL_FIELDS = -1;
const KEY_BYTES = 6;
const NOTHING_ASKED: ProfilesTold = { fields: NEVER, sent: [], dropped: [] };

/** What the extension says; `part` is null when that is nothing. */
export interface ProfilesExtension {
  readonly part: { readonly name: string; readonly text: string; readonly isNews: boolean } | null;
  readonly told: ProfilesTold;
}

/** Returns the fields that a client names; null for all. */
export function profileFields(names: readonly string[] | null): ProfileFields {
  if (names === null) return { names, key: ALL_FIELDS };
  const set = new Set(names);
  const key = createHash("sha256").update(JSON.stringify([...set].sort())).digest().readUIntBE(0, KEY_BYTES);
  return { names: set, key };
}

/** Reads the extension. */
export async function readProfiles(deps: ProfileExtensionDeps, query: RoomExtensionQuery): Promise<ProfilesExtension> {
  const { view } = query;
  const { requester: { userId }, extensions: { profiles: asked } } = view.request;
  if (asked === null) {
    forgetRooms(query);
    return { part: null, told: NOTHING_ASKED };
  }
  const { fields } = asked;
  const whole = await wholeProfiles(deps, query);
  const changed = await changedFields(deps, view);
  const left = await leftUsers(deps, view);
  for (const user of left) {
    whole.delete(user);
    changed.delete(user);
  }
  const users: JsonObject = {};
  for (const user of left) users[user] = null;
  const concerned = [...new Set([...whole, ...changed.keys()])];
  const profiles = concerned.length === 0 ? new Map() : await deps.providers.profiles.profiles(userId, concerned);
  for (const user of concerned) {
    const update = { profile: profiles.get(user) ?? {}, isWhole: whole.has(user), changed: changed.get(user) ?? [] };
    const entry = entryOf(fields, update);
    if (entry !== null) users[user] = entry;
  }
  const isNews = Object.keys(users).length > 0;
  const part = isNews ? { name: NAME, text: JSON.stringify({ users }), isNews } : null;
  return { part, told: { fields: fields.key, sent: [...whole], dropped: left } };
}

/** What changes while nobody asks is not noted: rooms are told of anew when somebody does. */
function forgetRooms({ view: { connection }, rooms: { records } }: RoomExtensionQuery): void {
  for (const [roomNid, known] of connection.rooms) {
    const record = records.get(roomNid) ?? known;
    if (record.profiles !== NEVER) records.set(roomNid, { ...record, profiles: NEVER });
  }
}

/** Returns the local users whose whole profile is told. */
async function wholeProfiles(deps: ProfileExtensionDeps, query: RoomExtensionQuery): Promise<Set<UserId>> {
  const { view, rooms } = query;
  const { connection: { sentProfiles }, request: { requester: { userId }, extensions: { profiles: asked } } } = view;
  const whole = new Set<UserId>();
  if (asked === null) return whole;
  const { key } = asked.fields;
  const own = serverNameOf(userId);
  const add = (users: Iterable<UserId>) => {
    for (const user of users) {
      if (whole.size >= MAX_WHOLE_PROFILES) return;
      if (sentProfiles.fields === key && sentProfiles.users.has(user)) continue;
      if (serverNameOf(user) === own) whole.add(user);
    }
  };
  if (view.since === null) add([userId]);
  for (const [roomNid, room] of choose(asked, rooms.wanted)) {
    const record = recordOf(view, { rooms, room });
    if (room.entry.membership !== "join" || record === undefined) continue;
    const result = rooms.results.get(roomNid);
    if (record.profiles !== key) {
      add(await peopleOf(deps, { view, room, result }));
      change(view, { rooms, room, to: { profiles: key } });
    }
    if (result !== undefined && result.text !== null) add(result.speakers);
  }
  return whole;
}

/** Returns whom a room is about: all members, or those the client knows where they are loaded lazily. */
async function peopleOf(
  { providers, events }: ProfileExtensionDeps,
  { view, room, result }: { view: SlidingView; room: WantedRoom; result: RoomResult | undefined },
): Promise<Iterable<UserId>> {
  const { roomNid } = room.entry;
  if (!room.state.lazyMembers) return await providers.profiles.localJoined(roomNid, MAX_WHOLE_PROFILES);
  if (result?.isInitial === true) return result.speakers;
  const known = await events.byNid([...view.connection.sentMembers.get(roomNid) ?? []]);
  return [...known.values()].map(({ event }) => event.stateKey as UserId);
}

async function changedFields({ providers }: ProfileExtensionDeps, view: SlidingView): Promise<Map<UserId, string[]>> {
  const { since, now, request: { requester: { userId } } } = view;
  if (since === null || now.account_data <= since.account_data) return new Map();
  const range = { after: since.account_data, upTo: now.account_data };
  const changed = await providers.profiles.changedFields(userId, range);
  return new Map([...changed].map(([user, names]) => [user, [...names]]));
}

/** Returns the local users with whom the client's user shares no room any more. */
async function leftUsers({ providers }: ProfileExtensionDeps, view: SlidingView): Promise<UserId[]> {
  const { since, now, request: { requester: { userId } } } = view;
  if (since === null || now.events <= since.events) return [];
  const nothing = { after: now.device_lists, upTo: now.device_lists };
  const events = { after: since.events, upTo: now.events };
  const { left } = await providers.deviceLists.changes(userId, { deviceLists: nothing, events });
  const own = serverNameOf(userId);
  return left.filter((user) => serverNameOf(user) === own);
}

function entryOf(
  { names }: ProfileFields,
  { profile, isWhole, changed }: { profile: JsonObject; isWhole: boolean; changed: readonly string[] },
): JsonObject | null {
  const isAsked = (name: string) => names === null || names.has(name);
  const updated: Record<string, JsonValue> = {};
  for (const name of isWhole ? Object.keys(profile) : changed) {
    const value = Object.hasOwn(profile, name) ? profile[name] : undefined;
    if (isAsked(name) && value !== undefined) updated[name] = value;
  }
  const removed = changed.filter((name) => isAsked(name) && !Object.hasOwn(profile, name));
  const hasUpdated = Object.keys(updated).length > 0;
  if (!hasUpdated && removed.length === 0) return null;
  return { ...(hasUpdated ? { updated } : {}), ...(removed.length > 0 ? { removed } : {}) };
}
