/**
 * The rooms of a space, and of the spaces in it. Spec: client-server API, `GET /rooms/{roomId}/hierarchy`.
 *
 * Rooms come depth first, children in the order of the spec. A token names the last room of a page: the next page walks
 * the same way again and goes on after it, so nothing is kept between requests.
 */
import { forbidden, invalidParam } from "../protocol/errors.ts";
import { parseRoomId, type RoomId, type ServerName, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { StoredEvent } from "../rooms/types.ts";
import { type RemoteSpaceCache, type RemoteSpaces, viaOf } from "./remote_spaces.ts";
import { renderSummary, type RoomPreviews } from "./room_previews.ts";

/** What the service is built from. */
export interface SpaceHierarchyDeps {
  readonly previews: RoomPreviews;
  readonly state: StateReader;
  readonly remote: RemoteSpaces;
}

/** A page as asked for. */
export interface HierarchyRequest {
  readonly roomId: RoomId;
  readonly suggestedOnly: boolean;
  /** Null for no bound. */
  readonly maxDepth: number | null;
  readonly limit: number;
  readonly from: string | null;
  /** For an administrator: all that is known here, and nothing from other servers. */
  readonly showsAll?: boolean;
}

interface Token {
  readonly shown: number;
  readonly suggestedOnly: boolean;
  readonly maxDepth: number | null;
  readonly last: string;
}

/** Rooms that one request looks at. */
const MAX_WALKED = 5_000;
const MAX_CHILDREN = 1_000;
const MAX_ORDER_LENGTH = 50;
const ORDER = /^[\x20-\x7e]*$/;

/** Walks through spaces. */
export class SpaceHierarchy {
  readonly #deps: SpaceHierarchyDeps;

  constructor(deps: SpaceHierarchyDeps) {
    this.#deps = deps;
  }

  /** Returns the response body. Throws 403 when the user may not know of the space, 400 for a token that does not fit. */
  async page(userId: UserId, request: HierarchyRequest): Promise<JsonObject> {
    const { roomId, suggestedOnly, maxDepth, limit } = request;
    const token = request.from === null ? null : parseToken(request.from);
    if (token !== null && (token.suggestedOnly !== suggestedOnly || token.maxDepth !== maxDepth)) {
      throw invalidParam('"suggested_only" and "max_depth" must not change between pages');
    }
    if (request.showsAll !== true && await this.#deps.previews.find(userId, roomId) === null) {
      throw forbidden("You are not allowed to view this space");
    }
    // One more than wanted tells whether there is another page.
    const wanted = (token?.shown ?? 0) + limit + 1;
    const rooms: JsonObject[] = [];
    for await (const room of this.#walk(userId, request)) {
      rooms.push(room);
      if (rooms.length >= wanted) break;
    }
    const start = token === null ? 0 : placeAfter(rooms, token);
    const page = rooms.slice(start, start + limit);
    const last = page.at(-1)?.room_id;
    const isMore = rooms.length > start + page.length && typeof last === "string";
    if (!isMore) return { rooms: page };
    const next = { shown: start + page.length, suggestedOnly, maxDepth, last };
    return { rooms: page, next_batch: formatToken(next) };
  }

  async *#walk(userId: UserId, request: HierarchyRequest): AsyncGenerator<JsonObject> {
    const { roomId, suggestedOnly, maxDepth, showsAll = false } = request;
    const { previews } = this.#deps;
    const stack: { roomId: RoomId; depth: number; via: ServerName[] }[] = [{ roomId, depth: 0, via: [] }];
    const cache: RemoteSpaceCache = new Map();
    const seen = new Set<RoomId>();
    while (seen.size < MAX_WALKED) {
      const next = stack.pop();
      if (next === undefined) return;
      if (seen.has(next.roomId)) continue;
      seen.add(next.roomId);
      const summary = showsAll ? await previews.any(next.roomId) : await previews.find(userId, next.roomId);
      if (summary === null) {
        if (showsAll) continue;
        const found = await this.#deps.remote.find(userId, { ...next, suggestedOnly, cache });
        if (found === null) continue;
        yield { ...found.room, children_state: [...found.children] };
        if (maxDepth !== null && next.depth >= maxDepth) continue;
        for (const { state_key: key, content } of found.children.toReversed()) {
          const child = parseRoomId(String(key));
          if (child !== null) stack.push({ roomId: child, depth: next.depth + 1, via: viaOf(content as JsonObject) });
        }
        continue;
      }
      const children = summary.roomType === "m.space"
        ? await childrenOf(this.#deps.state, { roomId: next.roomId, suggestedOnly })
        : [];
      yield { ...renderSummary(summary), children_state: children.map(renderChild) };
      if (maxDepth !== null && next.depth >= maxDepth) continue;
      for (const { event } of children.toReversed()) {
        const child = parseRoomId(event.stateKey ?? "");
        if (child !== null) stack.push({ roomId: child, depth: next.depth + 1, via: viaOf(event.content) });
      }
    }
  }
}

/** Returns the children of a space in the order of the spec: "Ordering of children within a space". */
export async function childrenOf(
  state: StateReader,
  { roomId, suggestedOnly }: { roomId: RoomId; suggestedOnly: boolean },
): Promise<StoredEvent[]> {
  const root = await state.currentRoot(roomId);
  if (root === null) return [];
  const events = await state.entries(root, "others");
  return events
    .filter((stored) => isChild(stored) && (!suggestedOnly || stored.event.content.suggested === true))
    .sort(compareChildren)
    .slice(0, MAX_CHILDREN);
}

function isChild({ event, redactedByNid }: StoredEvent): boolean {
  if (event.type !== "m.space.child" || redactedByNid !== null) return false;
  const { via } = event.content;
  return Array.isArray(via) && via.length > 0 && via.every((server) => typeof server === "string");
}

function compareChildren({ event: a }: StoredEvent, { event: b }: StoredEvent): number {
  const [orderA, orderB] = [orderOf(a.content.order), orderOf(b.content.order)];
  if (orderA !== orderB) {
    if (orderA === null) return 1;
    if (orderB === null) return -1;
    return orderA < orderB ? -1 : 1;
  }
  if (a.originServerTs !== b.originServerTs) return a.originServerTs - b.originServerTs;
  return (a.stateKey ?? "") < (b.stateKey ?? "") ? -1 : 1;
}

function orderOf(order: unknown): string | null {
  return typeof order === "string" && order.length <= MAX_ORDER_LENGTH && ORDER.test(order) ? order : null;
}

/** Renders a child as `children_state` has it. */
export function renderChild({ event }: StoredEvent): JsonObject {
  return {
    type: event.type,
    state_key: event.stateKey,
    content: { ...event.content },
    sender: event.sender,
    origin_server_ts: event.originServerTs,
  };
}

/** The last room shown may have moved meanwhile: then the number of those shown counts. */
function placeAfter(rooms: readonly JsonObject[], { last, shown }: Token): number {
  const index = rooms.findIndex((room) => room.room_id === last);
  return index < 0 ? shown : index + 1;
}

function formatToken({ shown, suggestedOnly, maxDepth, last }: Token): string {
  return `h1_${shown}_${suggestedOnly ? 1 : 0}_${maxDepth ?? ""}_${last}`;
}

function parseToken(text: string): Token {
  const match = /^h1_([0-9]{1,6})_([01])_([0-9]{0,15})_(.{1,255})$/.exec(text);
  if (match === null) throw invalidParam("Unknown pagination token");
  const [, shown, suggested, depth, last = ""] = match;
  return { shown: Number(shown), suggestedOnly: suggested === "1", maxDepth: depth ? Number(depth) : null, last };
}
