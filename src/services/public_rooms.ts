/**
 * The public room list. Spec: client-server API, "Listing rooms".
 *
 * Rooms come largest first. A token names a place in that order, so pages stay in step while rooms come and go.
 */
import { invalidParam } from "../protocol/errors.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { countPublicRooms, type PublicRoomRow, type RoomList, selectPublicRooms } from "../storage/directory.ts";
import { renderPublicRoom, type RoomSummaries, type RoomSummary } from "./room_summaries.ts";

/** What a caller asks for. */
export interface PublicRoomsQuery {
  readonly limit: number | null;
  readonly since: string | null;
  readonly searchTerm: string | null;
  /** Room types to keep; null stands for rooms without a type. No list keeps all. */
  readonly roomTypes: readonly (string | null)[] | null;
  /** By default the server's own list. */
  readonly list?: RoomList;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 500;
/** How many rooms one request looks at in search of matches. */
const MAX_SCANNED = 5_000;

interface Place {
  readonly backwards: boolean;
  readonly joinedMembers: number;
  readonly roomNid: number;
}

/** Answers queries of the public room list. */
export class PublicRoomsService {
  readonly #db: Database;
  readonly #summaries: RoomSummaries;
  readonly #isSearchEnabled: boolean;

  constructor(deps: { db: Database; summaries: RoomSummaries; isSearchEnabled: boolean }) {
    this.#db = deps.db;
    this.#summaries = deps.summaries;
    this.#isSearchEnabled = deps.isSearchEnabled;
  }

  /** Returns one page. Throws 400 for a malformed token. */
  async list(query: PublicRoomsQuery): Promise<JsonObject> {
    const total = await countPublicRooms(this.#db, query.list ?? "own");
    if (!this.#isSearchEnabled) return { chunk: [], total_room_count_estimate: 0 };
    const start = query.since === null ? null : parsePlace(query.since);
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT);
    const { found, hasMore } = await this.#collect(query, { start, limit });
    const backwards = start?.backwards ?? false;
    const rooms = backwards ? found.reverse() : found;
    const page: JsonObject = {
      chunk: rooms.map(({ summary }) => renderPublicRoom(summary)),
      total_room_count_estimate: total,
    };
    const [first, last] = [rooms.at(0)?.row, rooms.at(-1)?.row];
    if (last && (hasMore || backwards)) page.next_batch = formatPlace({ ...last, backwards: false });
    if (first && (backwards ? hasMore : start !== null)) page.prev_batch = formatPlace({ ...first, backwards: true });
    return page;
  }

  async #collect(
    query: PublicRoomsQuery,
    { start, limit }: { start: Place | null; limit: number },
  ): Promise<{ found: { row: PublicRoomRow; summary: RoomSummary }[]; hasMore: boolean }> {
    const found: { row: PublicRoomRow; summary: RoomSummary }[] = [];
    let after: { joinedMembers: number; roomNid: number } | null = start;
    for (let scanned = 0; scanned < MAX_SCANNED;) {
      const size = Math.max(limit + 1, 100);
      const rows = await selectPublicRooms(this.#db, {
        ...{ list: query.list ?? "own", after, limit: size },
        backwards: start?.backwards ?? false,
      });
      for (const row of rows) {
        const summary = await this.#summaries.get(row.roomId);
        if (!summary || !matches(summary, query)) continue;
        if (found.length === limit) return { found, hasMore: true };
        found.push({ row, summary });
      }
      const last = rows.at(-1);
      if (!last || rows.length < size) return { found, hasMore: false };
      after = last;
      scanned += rows.length;
    }
    return { found, hasMore: false };
  }
}

function matches(room: RoomSummary, { searchTerm, roomTypes }: PublicRoomsQuery): boolean {
  if (roomTypes !== null && !roomTypes.includes(room.roomType)) return false;
  if (searchTerm === null || searchTerm === "") return true;
  const term = searchTerm.toLowerCase();
  return [room.name, room.topic, room.canonicalAlias].some((text) => text?.toLowerCase().includes(term) ?? false);
}

function formatPlace({ backwards, joinedMembers, roomNid }: Place): string {
  return `p1_${backwards ? "b" : "f"}_${joinedMembers}_${roomNid}`;
}

function parsePlace(token: string): Place {
  const match = /^p1_([bf])_([0-9]{1,15})_([0-9]{1,15})$/.exec(token);
  if (!match) throw invalidParam("Invalid pagination token");
  return { backwards: match[1] === "b", joinedMembers: Number(match[2]), roomNid: Number(match[3]) };
}
