/**
 * Sliding sync. Spec: MSC4186, and the form of it that clients used before.
 *   POST /_matrix/client/v4/sync
 *   POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync
 *
 * Both paths take both forms: `required_state` as an object or as a list of pairs with `*`, `$LAZY` and `$ME`, `range` or
 * `ranges`, and what is not specific to a room in the body or in the query.
 */
import { z } from "zod";
import { invalidParam, unrecognized } from "../../protocol/errors.ts";
import { parseRoomId, type RoomId, type UserId } from "../../protocol/ids.ts";
import { parseSlidingPos } from "../../streams/tokens.ts";
import { unknownPos } from "../../sync/sliding/connections.ts";
import { profileFields } from "../../sync/sliding/profile_extension.ts";
import type { SlidingSyncService } from "../../sync/sliding/sliding_sync.ts";
import type { StateClause, StatePattern } from "../../sync/sliding/state_selection.ts";
import type {
  ExtensionRequests,
  ExtensionRooms,
  ListConfig,
  ListFilters,
  RoomConfig,
  SlidingRequest,
} from "../../sync/sliding/types.ts";
import { type App, client, type Ctx, type Guard, plain, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";
import { intParam, query } from "../middleware/params.ts";
import { jsonText } from "../middleware/responses.ts";

/** What the routes are built from. */
export interface SlidingSyncRoutesDeps {
  readonly auth: Auth;
  readonly slidingSync: SlidingSyncService;
  /** Whether a user has sliding sync: it may be off for all but some. */
  readonly isOnFor: (userId: UserId) => Promise<boolean>;
}

const MAX_LISTS = 100;
const MAX_SUBSCRIPTIONS = 100;
const MAX_LIST_NAME = 64;
const MAX_CONN_ID = 255;
const MAX_TEXT = 255;
const MAX_ITEMS = 500;
const MAX_RANGES = 100;
const MAX_TIMELINE_LIMIT = 1_000;
const DEFAULT_EXTENSION_LIMIT = 100;
const MEMBER = "m.room.member";
const POSITION_TOKEN = /^[0-9]{1,15}$/;

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const text = z.string().max(MAX_TEXT);
const range = z.tuple([count, count]).refine(([from, to]) => from <= to);
const element = z.looseObject({ type: text.optional(), state_key: text.optional() });
const RequiredState = z.union([
  z.array(z.tuple([text, text])).max(MAX_ITEMS),
  z.looseObject({
    include: z.array(element).max(MAX_ITEMS).optional(),
    exclude: z.array(element).max(MAX_ITEMS).optional(),
    lazy_members: z.boolean().optional(),
  }),
]);
const roomConfig = {
  timeline_limit: count.max(MAX_TIMELINE_LIMIT),
  required_state: RequiredState,
};
const Filters = z.looseObject({
  is_dm: z.boolean().nullish(),
  spaces: z.array(text).max(MAX_ITEMS).nullish(),
  is_encrypted: z.boolean().nullish(),
  is_invite: z.boolean().nullish(),
  is_invited: z.boolean().nullish(),
  room_types: z.array(text.nullable()).max(MAX_ITEMS).nullish(),
  not_room_types: z.array(text.nullable()).max(MAX_ITEMS).nullish(),
  room_name_like: text.nullish(),
  tags: z.array(text).max(MAX_ITEMS).nullish(),
  not_tags: z.array(text).max(MAX_ITEMS).nullish(),
});
const List = z.looseObject({
  ...roomConfig,
  ranges: z.array(range).max(MAX_RANGES).nullish(),
  range: range.nullish(),
  filters: Filters.nullish(),
});
const enabled = { enabled: z.boolean().nullish() };
const ofRooms = {
  ...enabled,
  lists: z.array(text).max(MAX_ITEMS).nullish(),
  rooms: z.array(text).max(MAX_ITEMS).nullish(),
};
const OfRooms = z.looseObject(ofRooms).nullish();
const Extensions = z.looseObject({
  to_device: z.looseObject({ ...enabled, since: z.string().nullish(), limit: count.nullish() }).nullish(),
  e2ee: z.looseObject(enabled).nullish(),
  account_data: OfRooms,
  receipts: OfRooms,
  typing: OfRooms,
  "org.matrix.msc4262.profiles": z.looseObject({
    ...ofRooms,
    fields: z.array(text).max(MAX_ITEMS).nullish(),
  }).nullish(),
  "org.matrix.msc4354.sticky_events": z.looseObject({
    ...enabled,
    since: z.string().nullish(),
    limit: count.nullish(),
  }).nullish(),
  "io.element.msc4308.thread_subscriptions": z.looseObject({ ...enabled, limit: count.nullish() }).nullish(),
});
const PRESENCE = ["online", "unavailable", "offline"] as const;
const Body = z.looseObject({
  conn_id: z.string().max(MAX_CONN_ID).nullish(),
  pos: z.string().nullish(),
  timeout: count.nullish(),
  set_presence: z.string().nullish(),
  lists: z.record(z.string(), List).nullish(),
  room_subscriptions: z.record(z.string(), z.looseObject(roomConfig)).nullish(),
  extensions: Extensions.nullish(),
});
const SlidingQuery = z.object({
  pos: z.string().optional(),
  timeout: intParam().optional(),
  set_presence: z.enum(PRESENCE).optional(),
});

type BodyValue = z.output<typeof Body>;
type ExtensionsValue = z.output<typeof Extensions>;

/** Registers sliding sync. */
export function slidingSyncRoutes(app: App, { auth, slidingSync, isOnFor }: SlidingSyncRoutesDeps): void {
  const isThere: Guard = async (c) => {
    if (!await isOnFor(requester(c).userId)) throw unrecognized();
  };
  const syncer = auth.syncer({ guests: false });
  const answer = (stateStubs: boolean) => async (c: Ctx) =>
    jsonText(await slidingSync.sync(await readRequest(c, stateStubs), c.req.raw.signal));
  client(app, ["unstable/org.matrix.simplified_msc3575"]).post("/sync", syncer, isThere, answer(false));
  plain(app).post("/_matrix/client/v4/sync", syncer, isThere, answer(true));
}

async function readRequest(c: Ctx, stateStubs: boolean): Promise<SlidingRequest> {
  const params = query(c, SlidingQuery);
  const body = await readJson(c, Body);
  const { userId, deviceId, isAdmin } = requester(c);
  return {
    requester: { userId, deviceId, isAdmin },
    connId: body.conn_id ?? "",
    pos: posOf(params.pos ?? body.pos ?? ""),
    timeoutMs: params.timeout ?? body.timeout ?? 0,
    setPresence: params.set_presence ?? presenceOf(body),
    lists: listsOf(body, userId),
    subscriptions: subscriptionsOf(body, userId),
    extensions: extensionsOf(body.extensions ?? {}),
    stateStubs,
  };
}

function posOf(given: string): SlidingRequest["pos"] {
  if (given === "") return null;
  const pos = parseSlidingPos(given);
  if (pos === null) throw unknownPos();
  return { pos, text: given };
}

function presenceOf({ set_presence: given }: BodyValue): SlidingRequest["setPresence"] {
  const known = PRESENCE.find((state) => state === (given ?? "online"));
  if (known === undefined) throw invalidParam('Invalid value for "set_presence"');
  return known;
}

function listsOf(body: BodyValue, userId: UserId): Map<string, ListConfig> {
  const entries = Object.entries(body.lists ?? {});
  if (entries.length > MAX_LISTS) throw invalidParam(`More than ${MAX_LISTS} lists`);
  const lists = new Map<string, ListConfig>();
  for (const [name, list] of entries) {
    if (name === "" || name.length > MAX_LIST_NAME) throw invalidParam("The name of a list is empty or too long");
    const ranges = list.ranges ?? (list.range ? [list.range] : null);
    lists.set(name, { ...configOf(list, userId), ranges, filters: list.filters ? filtersOf(list.filters) : null });
  }
  return lists;
}

/** Rooms that cannot exist are ignored like those that do not. */
function subscriptionsOf(body: BodyValue, userId: UserId): Map<RoomId, RoomConfig> {
  const entries = Object.entries(body.room_subscriptions ?? {});
  if (entries.length > MAX_SUBSCRIPTIONS) throw invalidParam(`More than ${MAX_SUBSCRIPTIONS} room subscriptions`);
  const subscriptions = new Map<RoomId, RoomConfig>();
  for (const [roomId, config] of entries) {
    const parsed = parseRoomId(roomId);
    if (parsed !== null) subscriptions.set(parsed, configOf(config, userId));
  }
  return subscriptions;
}

function configOf(
  config: { timeline_limit: number; required_state: z.output<typeof RequiredState> },
  userId: UserId,
): RoomConfig {
  const state = config.required_state;
  return {
    timelineLimit: config.timeline_limit,
    state: Array.isArray(state) ? clauseOfPairs(state, userId) : {
      include: (state.include ?? []).map(patternOf),
      exclude: (state.exclude ?? []).map(patternOf),
      lazyMembers: state.lazy_members ?? false,
    },
  };
}

function patternOf({ type, state_key: stateKey }: z.output<typeof element>): StatePattern {
  return { type: type ?? null, stateKey: stateKey ?? null };
}

function clauseOfPairs(pairs: readonly (readonly [string, string])[], userId: UserId): StateClause {
  const include: StatePattern[] = [];
  let lazyMembers = false;
  for (const [type, stateKey] of pairs) {
    if (stateKey === "$LAZY" && type === MEMBER) lazyMembers = true;
    else {
      const key = stateKey === "$ME" ? userId : stateKey;
      include.push({ type: type === "*" ? null : type, stateKey: key === "*" ? null : key });
    }
  }
  return { include, exclude: [], lazyMembers };
}

function filtersOf(filters: z.output<typeof Filters>): ListFilters {
  const spaces = filters.spaces ?? null;
  return {
    isDm: filters.is_dm ?? null,
    spaces: spaces === null ? null : spaces.map(parseRoomId).filter((roomId) => roomId !== null),
    isEncrypted: filters.is_encrypted ?? null,
    isInvited: filters.is_invited ?? filters.is_invite ?? null,
    roomTypes: filters.room_types ?? null,
    notRoomTypes: filters.not_room_types ?? null,
    roomNameLike: filters.room_name_like?.toLowerCase() ?? null,
    tags: filters.tags ?? null,
    notTags: filters.not_tags ?? null,
  };
}

function extensionsOf(extensions: ExtensionsValue): ExtensionRequests {
  const toDevice = extensions.to_device;
  const sticky = extensions["org.matrix.msc4354.sticky_events"];
  const threads = extensions["io.element.msc4308.thread_subscriptions"];
  return {
    toDevice: toDevice?.enabled !== true ? null : {
      since: positionSince(toDevice.since ?? "", "to_device"),
      limit: toDevice.limit ?? DEFAULT_EXTENSION_LIMIT,
    },
    e2ee: extensions.e2ee?.enabled === true,
    accountData: roomsOf(extensions.account_data),
    receipts: roomsOf(extensions.receipts),
    typing: roomsOf(extensions.typing),
    profiles: profilesOf(extensions),
    stickyEvents: sticky?.enabled !== true ? null : {
      since: positionSince(sticky.since ?? "", "sticky_events"),
      limit: Math.min(Math.max(sticky.limit ?? DEFAULT_EXTENSION_LIMIT, 1), DEFAULT_EXTENSION_LIMIT),
    },
    threadSubscriptions: threads?.enabled !== true ? null : {
      limit: Math.min(Math.max(threads.limit ?? DEFAULT_EXTENSION_LIMIT, 1), DEFAULT_EXTENSION_LIMIT),
    },
  };
}

function profilesOf({ "org.matrix.msc4262.profiles": profiles }: ExtensionsValue): ExtensionRequests["profiles"] {
  const rooms = roomsOf(profiles);
  return rooms && { ...rooms, fields: profileFields(profiles?.fields ?? null) };
}

function positionSince(given: string, extension: string): number | null {
  if (given === "") return null;
  if (!POSITION_TOKEN.test(given)) throw invalidParam(`Invalid value for "extensions.${extension}.since"`);
  return Number(given);
}

function roomsOf(extension: z.output<typeof OfRooms>): ExtensionRooms | null {
  if (extension?.enabled !== true) return null;
  const { lists, rooms } = extension;
  return { lists: lists ? new Set(lists) : null, rooms: rooms ? new Set(rooms) : null };
}
