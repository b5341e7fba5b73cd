/**
 * Searching messages. Spec: client-server API, "Server-side search".
 *
 * The index gives candidates from the rooms that the user is or was in; filter and visibility decide. By time the walk
 * goes on until the page is full; by rank only the best are shown, without a next page.
 */
import { wordsToFind } from "../lib/words.ts";
import { MatrixError } from "../protocol/errors.ts";
import { matchesRoom } from "../protocol/filter.ts";
import type { RoomId } from "../protocol/ids.ts";
import { isJsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { LocalMemberships } from "../rooms/local_memberships.ts";
import type { Reading, RoomReaders } from "../rooms/room_access.ts";
import type { Requester } from "../rooms/types.ts";
import type { Viewer, Visibility, VisibleEvent } from "../rooms/visibility.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { Db } from "../storage/database.ts";
import {
  countMatches,
  planSearch,
  type SearchMatch,
  type SearchQuery,
  selectClosestMatches,
  selectNewestMatches,
} from "../storage/search.ts";
import { MAX_POSITION } from "../storage/timeline.ts";
import { formatSearchPlace, type SearchCriteria, type SearchPlace } from "./search_criteria.ts";
import { type FoundEvent, type SearchPages, searchText } from "./search_results.ts";

/** What the service is built from. */
export interface SearchDeps extends SearchPages {
  readonly db: Db;
  readonly isEnabled: boolean;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly memberships: LocalMemberships;
  readonly readers: RoomReaders;
  readonly visibility: Visibility;
  /** Resolves once what was written so far can be found. */
  readonly catchUp: () => Promise<void>;
}

/** A room the user may search in. */
interface SearchedRoom {
  readonly reading: Reading;
  readonly viewer: Viewer;
}

const MAX_WORDS = 20;
const MAX_ROOMS = 10_000;
/** How many candidates one request looks at when most of them may not be shown. */
const MAX_SCANNED = 2_000;
const MIN_CHUNK = 50;
const MAX_PREDECESSORS = 20;

/** Searches messages. */
export class SearchService {
  readonly #deps: SearchDeps;

  constructor(deps: SearchDeps) {
    this.#deps = deps;
  }

  /** Returns the response body, as text. */
  async search(
    requester: Requester,
    { criteria, place }: { criteria: SearchCriteria | null; place: SearchPlace | null },
  ): Promise<string> {
    if (!this.#deps.isEnabled) throw new MatrixError(400, "M_UNKNOWN", "Search is disabled on this homeserver");
    if (criteria === null) return '{"search_categories":{}}';
    await this.#deps.catchUp();
    const roomIds = await this.#rooms(requester, { criteria, place });
    const words = wordsToFind(criteria.term, { max: MAX_WORDS });
    const highlights = words;
    if (words.length === 0 || roomIds.size === 0 || criteria.filter.matchesNone) {
      return searchText(this.#deps, { requester, criteria, highlights, count: 0, found: [], next: null });
    }
    const query: SearchQuery = await planSearch(this.#deps.db, {
      words,
      roomNids: [...roomIds.keys()],
      fields: criteria.fields,
      senders: place?.group?.key === "sender" ? [place.group.value] : null,
    });
    const [count, { found, next }] = await Promise.all([
      countMatches(this.#deps.db, query),
      this.#collect(requester, { criteria, query, roomIds, before: place?.before ?? MAX_POSITION }),
    ]);
    const nextPlace = next === null ? null : formatSearchPlace({ before: next, group: place?.group ?? null });
    return searchText(this.#deps, { requester, criteria, highlights, count, found, next: nextPlace });
  }

  async #collect(
    requester: Requester,
    { criteria, query, roomIds, before }: {
      criteria: SearchCriteria;
      query: SearchQuery;
      roomIds: ReadonlyMap<number, RoomId>;
      before: number;
    },
  ): Promise<{ found: FoundEvent[]; next: number | null }> {
    const { db } = this.#deps;
    const { limit, orderBy } = criteria;
    if (limit === 0) return { found: [], next: null };
    const rooms = new Map<number, SearchedRoom | null>();
    const found: FoundEvent[] = [];
    const chunk = Math.max(limit, MIN_CHUNK);
    let from = before;
    for (let scanned = 0; scanned < MAX_SCANNED; scanned += chunk) {
      const matches = orderBy === "recent"
        ? await selectNewestMatches(db, { ...query, before: from, limit: chunk })
        : await selectClosestMatches(db, { ...query, limit: chunk });
      for (const event of await this.#visible(requester, { matches, criteria, roomIds, rooms })) {
        found.push(event);
        // A full page has a token even if it may be the last: clients, and Complement, go on until one is missing.
        if (found.length === limit) return { found, next: orderBy === "recent" ? lastPosition(found) : null };
      }
      const last = matches.at(-1);
      if (last === undefined || matches.length < chunk || orderBy === "rank") return { found, next: null };
      from = last.position;
    }
    return { found, next: from };
  }

  /** Returns those of the matches that may be shown, in their order. */
  async #visible(
    requester: Requester,
    { matches, criteria, roomIds, rooms }: {
      matches: readonly SearchMatch[];
      criteria: SearchCriteria;
      roomIds: ReadonlyMap<number, RoomId>;
      rooms: Map<number, SearchedRoom | null>;
    },
  ): Promise<FoundEvent[]> {
    const { events, visibility } = this.#deps;
    const stored = await events.byNid(matches.map(({ eventNid }) => eventNid));
    const shown: FoundEvent[] = [];
    for (const { eventNid, rank } of matches) {
      const event = stored.get(eventNid);
      const roomId = event === undefined ? undefined : roomIds.get(event.roomNid);
      if (event === undefined || roomId === undefined || event.redactedByNid !== null) continue;
      if (!criteria.filter.matches(event.event)) continue;
      const room = rooms.get(event.roomNid) ?? await this.#room(requester, roomId);
      rooms.set(event.roomNid, room);
      if (room === null) continue;
      const [visible]: VisibleEvent[] = await visibility.filter([event], room.viewer);
      if (visible !== undefined) shown.push({ event: visible, rank, reading: room.reading });
    }
    return shown;
  }

  async #room(requester: Requester, roomId: RoomId): Promise<SearchedRoom | null> {
    const { readers } = this.#deps;
    const access = await readers.find(requester.userId, roomId);
    if (access === null) return null;
    const reading = { requester, access };
    return { reading, viewer: readers.viewer(reading) };
  }

  /** Returns the rooms to search: those the user is or was in, as far as the filter lets them through. */
  async #rooms(
    { userId }: Requester,
    { criteria: { filter }, place }: { criteria: SearchCriteria; place: SearchPlace | null },
  ): Promise<Map<number, RoomId>> {
    const { all } = await this.#deps.memberships.forUser(userId);
    const rooms = filter.rooms === null ? null : await this.#withPredecessors(filter.rooms);
    const found = new Map<number, RoomId>();
    for (const { roomNid, roomId, membership, forgotten } of all.values()) {
      if (found.size >= MAX_ROOMS) break;
      const isReadable = membership === "join" || ((membership === "leave" || membership === "ban") && !forgotten);
      if (!isReadable || !matchesRoom({ rooms, notRooms: filter.notRooms }, roomId)) continue;
      if (place?.group?.key === "room_id" && place.group.value !== roomId) continue;
      found.set(roomNid, roomId);
    }
    return found;
  }

  /** Adds the rooms that the given ones are upgrades of. */
  async #withPredecessors(roomIds: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    const all = new Set(roomIds);
    for (const roomId of roomIds) {
      let current: string | null = roomId;
      for (let step = 0; step < MAX_PREDECESSORS && current !== null; step++) {
        all.add(current);
        current = await this.#predecessor(current as RoomId);
        if (current !== null && all.has(current)) break;
      }
    }
    return all;
  }

  async #predecessor(roomId: RoomId): Promise<string | null> {
    const { state } = this.#deps;
    const root = await state.currentRoot(roomId);
    const create = root === null ? null : await state.get(root, "m.room.create", "");
    const predecessor = create?.event.content.predecessor;
    return isJsonObject(predecessor) && typeof predecessor.room_id === "string" ? predecessor.room_id : null;
  }
}

function lastPosition(found: readonly FoundEvent[]): number | null {
  return found.at(-1)?.event.stored.position ?? null;
}
