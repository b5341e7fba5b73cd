/**
 * Lists of what relates to an event, and of threads.
 * Spec: client-server API, `GET /rooms/{roomId}/relations/…` and `GET /rooms/{roomId}/threads`.
 */
import { notFound } from "../protocol/errors.ts";
import type { EventId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { type RelationRange, selectRelations } from "../storage/relations.ts";
import { selectThreads } from "../storage/threads.ts";
import { MAX_POSITION, MIN_POSITION, type TimelineRow } from "../storage/timeline.ts";
import { formatRoomToken, type RoomToken } from "../streams/tokens.ts";
import type { EventStore } from "./event_store.ts";
import { type Bundler, membershipsOf, tokenAfter, tokenBefore } from "./pagination.ts";
import type { EventRenderer } from "./renderer.ts";
import type { Reading, RoomReaders } from "./room_access.ts";
import type { StoredEvent } from "./types.ts";
import type { Visibility, VisibleEvent } from "./visibility.ts";

/** What lists of relations are built from. */
export interface RelationsDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly readers: RoomReaders;
  readonly visibility: Visibility;
  readonly renderer: EventRenderer;
  readonly bundle: Bundler;
}

/** A page of relations as asked for. */
export interface RelationsRequest {
  readonly eventId: EventId;
  readonly relType: string | null;
  readonly eventType: string | null;
  readonly direction: "b" | "f";
  readonly from: RoomToken | null;
  readonly to: RoomToken | null;
  readonly limit: number;
  readonly recurse: boolean;
}

/** A page of threads as asked for. */
export interface ThreadsRequest {
  readonly from: RoomToken | null;
  readonly limit: number;
  readonly participated: boolean;
}

/** How far relations of relations are followed. */
const RECURSION_DEPTH = 3;
/** How many pages one request looks through for events that may be seen. */
const MAX_ROUNDS = 5;

/** Reads lists of relations. */
export class Relations {
  readonly #deps: RelationsDeps;

  constructor(deps: RelationsDeps) {
    this.#deps = deps;
  }

  /** Returns the response body of `/relations`, as text. Throws 404 when the event may not be seen. */
  async relations(reading: Reading, request: RelationsRequest): Promise<string> {
    const { db, events, readers, visibility } = this.#deps;
    const viewer = await readers.viewer(reading);
    const parent = await events.getById(request.eventId);
    const inRoom = parent !== null && parent.roomNid === reading.access.room.roomNid;
    if (!inRoom || (await visibility.filter([parent], { ...viewer, ignored: new Set() })).length === 0) {
      throw notFound("Unknown parent event");
    }
    const range = { ...bounds(request), roomNid: reading.access.room.roomNid };
    const shown: VisibleEvent[] = [];
    let end: TimelineRow | undefined;
    for (let round = 0; round < MAX_ROUNDS && request.limit > 0; round++) {
      const limit = request.limit - shown.length;
      const rows = await selectRelations(db, { ...range, ...(end && startingAfter(end, range)), limit: limit + 1 });
      const page = rows.slice(0, limit);
      const stored = await events.byNid(page.map(({ nid }) => nid));
      shown.push(...await visibility.filter(page.flatMap(({ nid }) => stored.get(nid) ?? []), viewer));
      end = rows.length > limit ? page.at(-1) : undefined;
      if (end === undefined || shown.length >= request.limit) break;
    }
    let text = `{"chunk":[${(await this.#render(reading, shown)).join(",")}]`;
    if (end !== undefined) {
      text += `,"next_batch":"${formatRoomToken(range.backward ? tokenBefore(end) : tokenAfter(end))}"`;
    }
    if (request.from !== null) text += `,"prev_batch":"${formatRoomToken(request.from)}"`;
    if (request.recurse) text += `,"recursion_depth":${RECURSION_DEPTH}`;
    return `${text}}`;
  }

  /** Returns the response body of `/threads`, as text. */
  async threads(reading: Reading, request: ThreadsRequest): Promise<string> {
    const { db, events, readers, visibility } = this.#deps;
    const viewer = await readers.viewer(reading);
    const { roomNid } = reading.access.room;
    const participant = request.participated ? reading.requester.userId : null;
    const shown: VisibleEvent[] = [];
    let before = request.from === null ? MAX_POSITION : request.from.position;
    let more = true;
    for (let round = 0; round < MAX_ROUNDS && more && shown.length < request.limit; round++) {
      const limit = request.limit - shown.length;
      const rows = await selectThreads(db, { roomNid, before, participant, limit: limit + 1 });
      const page = rows.slice(0, limit);
      more = rows.length > limit;
      before = page.at(-1)?.latestPosition ?? before;
      const stored = await events.byId(page.map(({ rootId }) => rootId));
      const roots = page.flatMap(({ rootId }) => stored.get(rootId) ?? [])
        .filter((root) => root.roomNid === roomNid && !viewer.ignored.has(root.event.sender));
      shown.push(...await visibility.filter(roots, viewer));
    }
    const next = more && request.limit > 0
      ? `,"next_batch":"${formatRoomToken({ kind: "stream", position: before })}"`
      : "";
    return `{"chunk":[${(await this.#render(reading, shown)).join(",")}]${next}}`;
  }

  async #render({ requester }: Reading, shown: readonly VisibleEvent[]): Promise<string[]> {
    const stored: StoredEvent[] = shown.map((event) => event.stored);
    const relations = await this.#deps.bundle(stored, requester.userId);
    return await this.#deps.renderer.render(stored, {
      requester,
      roomId: true,
      previous: true,
      memberships: membershipsOf(shown),
      relations,
    });
  }
}

const FIRST = { depth: MIN_POSITION, position: MIN_POSITION } as const;
const LAST = { depth: MAX_POSITION, position: MAX_POSITION } as const;

/** Turns the tokens of a request into bounds. */
function bounds(request: RelationsRequest): Omit<RelationRange, "roomNid" | "limit"> {
  const backward = request.direction === "b";
  const { from, to } = request;
  let [minPosition, maxPosition] = [MIN_POSITION, MAX_POSITION];
  if (from?.kind === "stream" && backward) maxPosition = from.position;
  if (from?.kind === "stream" && !backward) minPosition = from.position + 1;
  if (to?.kind === "stream" && backward) minPosition = to.position + 1;
  if (to?.kind === "stream" && !backward) maxPosition = to.position;
  const place = (
    token: RoomToken | null,
    { otherwise, after }: { otherwise: typeof FIRST | typeof LAST; after: boolean },
  ) => token?.kind === "topological" ? { depth: token.depth, position: token.position + Number(after) } : otherwise;
  return {
    eventId: request.eventId,
    relType: request.relType,
    eventType: request.eventType,
    depth: request.recurse ? RECURSION_DEPTH : 1,
    // A token stands after its event: what lies beyond begins one further, going on.
    from: place(from, { otherwise: backward ? LAST : FIRST, after: !backward }),
    to: place(to, { otherwise: backward ? FIRST : LAST, after: backward }),
    minPosition,
    maxPosition,
    backward,
  };
}

function startingAfter(
  { depth, position }: TimelineRow,
  { backward }: { backward: boolean },
): Pick<RelationRange, "from"> {
  return { from: { depth, position: backward ? position - 1 : position + 1 } };
}
