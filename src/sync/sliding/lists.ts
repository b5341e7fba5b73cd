/** Which rooms the lists and subscriptions of a request match. Spec: MSC4186, "Lists and subscriptions". */
import { LruCache } from "../../lib/lru.ts";
import type { RoomId, UserId } from "../../protocol/ids.ts";
import type { EventStore } from "../../rooms/event_store.ts";
import type { LocalMembership, UserRooms } from "../../rooms/local_memberships.ts";
import type { StateReader } from "../../rooms/state_reader.ts";
import type { RoomTraits, RoomTraitsReader } from "./room_traits.ts";
import { type StateClause, StateSelection } from "./state_selection.ts";
import type { ListConfig, ListFilters, RoomConfig, SlidingRequest, WantedRoom } from "./types.ts";
import type { TagsByRoom, UserFacts } from "./user_facts.ts";

/** What lists are evaluated with. */
export interface ListDeps {
  readonly events: EventStore;
  readonly state: StateReader;
  readonly traits: RoomTraitsReader;
  readonly userFacts: UserFacts;
}

/** A list as the response tells of it. */
export interface ListResult {
  readonly count: number;
  /** The rooms in each range, in order. */
  readonly windows: readonly { readonly range: readonly [number, number]; readonly rooms: readonly RoomId[] }[];
}

/** What a request matches. */
export interface Matches {
  readonly lists: ReadonlyMap<string, ListResult>;
  /** By the room's numeric id, in the order of the lists. */
  readonly wanted: ReadonlyMap<number, WantedRoom>;
}

interface Gathered {
  readonly entry: LocalMembership;
  timelineLimit: number;
  readonly clauses: Set<StateClause>;
  readonly lists: string[];
  isSubscribed: boolean;
}

const CACHED_SPACES = 500;

/** Evaluates lists and subscriptions. */
export class ListMatcher {
  readonly #deps: ListDeps;
  /** The rooms of a space, by the root of its state. */
  readonly #children = new LruCache<number, ReadonlySet<string>>({ maxEntries: CACHED_SPACES });

  constructor(deps: ListDeps) {
    this.#deps = deps;
  }

  /** Returns what a request matches of a user's rooms, of which `ordered` are those that lists can show. */
  async match(
    request: SlidingRequest,
    { ordered, rooms, accountDataAt }: {
      ordered: readonly LocalMembership[];
      rooms: UserRooms;
      /** Position of the account data stream. */
      accountDataAt: number;
    },
  ): Promise<Matches> {
    const gathered = new Map<number, Gathered>();
    const lists = new Map<string, ListResult>();
    const { requester: { userId } } = request;
    for (const [name, config] of request.lists) {
      const filtered = config.filters === null
        ? ordered
        : await this.#filter(config.filters, { userId, ordered, rooms, accountDataAt });
      lists.set(name, window(name, { config, filtered, gathered }));
    }
    for (const [roomId, config] of request.subscriptions) {
      const room = await this.#deps.events.roomById(roomId);
      const entry = room === null ? undefined : rooms.all.get(room.roomNid);
      if (entry !== undefined && !isForgotten(entry)) gather(gathered, { entry, config }).isSubscribed = true;
    }
    return { lists, wanted: finish(gathered) };
  }

  async #filter(
    filters: ListFilters,
    { userId, ordered, rooms, accountDataAt }: {
      userId: UserId;
      ordered: readonly LocalMembership[];
      rooms: UserRooms;
      accountDataAt: number;
    },
  ): Promise<readonly LocalMembership[]> {
    const { userFacts, traits } = this.#deps;
    const direct = filters.isDm === null ? null : await userFacts.directRooms(userId, accountDataAt);
    const needsTags = filters.tags !== null || filters.notTags !== null;
    const tags = needsTags ? await userFacts.tags(userId, accountDataAt) : null;
    const spaces = filters.spaces === null ? null : await this.#childrenOf(filters.spaces, rooms);
    const inSpaces = spaces === null ? ordered : ordered.filter(({ roomId }) => spaces.has(roomId));
    const known = needsTraits(filters) ? await traits.of(inSpaces) : null;
    return inSpaces.filter((entry) => {
      if (direct !== null && direct.has(entry.roomId) !== filters.isDm) return false;
      if (filters.isInvited !== null && (entry.membership === "invite") !== filters.isInvited) return false;
      if (tags !== null && !passesTags(filters, { tags, entry })) return false;
      return known === null || passesTraits(filters, known.get(entry.roomNid));
    });
  }

  async #childrenOf(spaces: readonly RoomId[], rooms: UserRooms): Promise<ReadonlySet<string>> {
    const { events, state } = this.#deps;
    const found = new Set<string>();
    for (const spaceId of spaces) {
      const room = await events.roomById(spaceId);
      if (room === null || !rooms.joined.has(room.roomNid)) continue;
      const root = await state.currentRoot(spaceId);
      if (root === null) continue;
      for (const child of this.#children.get(root) ?? await this.#readChildren(root)) found.add(child);
    }
    return found;
  }

  async #readChildren(root: number): Promise<ReadonlySet<string>> {
    const children = new Set<string>();
    for (const { event, redactedByNid } of await this.#deps.state.entries(root, "others")) {
      if (event.type !== "m.space.child" || event.stateKey === null || redactedByNid !== null) continue;
      if (Array.isArray(event.content.via)) children.add(event.stateKey);
    }
    this.#children.set(root, children);
    return children;
  }
}

function isForgotten({ membership, forgotten }: LocalMembership): boolean {
  return forgotten && (membership === "leave" || membership === "ban");
}

function window(
  name: string,
  { config, filtered, gathered }: {
    config: ListConfig;
    filtered: readonly LocalMembership[];
    gathered: Map<number, Gathered>;
  },
): ListResult {
  const windows: { range: readonly [number, number]; rooms: RoomId[] }[] = [];
  for (const [from, to] of config.ranges ?? [[0, Math.max(filtered.length - 1, 0)] as const]) {
    const shown = filtered.slice(from, to + 1);
    for (const entry of shown) {
      const { lists } = gather(gathered, { entry, config });
      if (!lists.includes(name)) lists.push(name);
    }
    windows.push({ range: [from, to], rooms: shown.map(({ roomId }) => roomId) });
  }
  return { count: filtered.length, windows };
}

function gather(
  gathered: Map<number, Gathered>,
  { entry, config }: { entry: LocalMembership; config: RoomConfig },
): Gathered {
  let room = gathered.get(entry.roomNid);
  if (room === undefined) {
    room = { entry, timelineLimit: 0, clauses: new Set(), lists: [], isSubscribed: false };
    gathered.set(entry.roomNid, room);
  }
  room.timelineLimit = Math.max(room.timelineLimit, config.timelineLimit);
  room.clauses.add(config.state);
  return room;
}

/** Rooms that the same lists match share one selection. */
function finish(gathered: ReadonlyMap<number, Gathered>): Map<number, WantedRoom> {
  const made: { readonly clauses: ReadonlySet<StateClause>; readonly state: StateSelection }[] = [];
  const wanted = new Map<number, WantedRoom>();
  for (const [roomNid, { clauses, ...room }] of gathered) {
    let same = made.find((other) => isSameSet(other.clauses, clauses));
    if (same === undefined) {
      same = { clauses, state: StateSelection.of([...clauses]) };
      made.push(same);
    }
    wanted.set(roomNid, { ...room, state: same.state });
  }
  return wanted;
}

function isSameSet<T>(left: ReadonlySet<T>, right: ReadonlySet<T>): boolean {
  return left.size === right.size && [...left].every((item) => right.has(item));
}

function needsTraits({ isEncrypted, roomTypes, notRoomTypes, roomNameLike }: ListFilters): boolean {
  return isEncrypted !== null || roomTypes !== null || notRoomTypes !== null || roomNameLike !== null;
}

function passesTags(filters: ListFilters, { tags, entry }: { tags: TagsByRoom; entry: LocalMembership }): boolean {
  const own = tags.get(entry.roomId);
  if (filters.notTags?.some((tag) => own?.has(tag)) === true) return false;
  return filters.tags === null || filters.tags.some((tag) => own?.has(tag));
}

function passesTraits(filters: ListFilters, traits: RoomTraits | undefined): boolean {
  if (traits === undefined) return false;
  const { isEncrypted, roomTypes, notRoomTypes, roomNameLike } = filters;
  if (isEncrypted !== null && traits.isEncrypted !== isEncrypted) return false;
  if (notRoomTypes?.includes(traits.roomType) === true) return false;
  if (roomTypes !== null && !roomTypes.includes(traits.roomType)) return false;
  return roomNameLike === null || traits.name?.includes(roomNameLike) === true;
}
