/** Single events and what surrounds them. Spec: client-server API, `GET /rooms/{roomId}/event` and `/context`. */
import type { EventFilter } from "../protocol/filter.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import { stateKeyOf } from "../protocol/event.ts";
import type { EventId } from "../protocol/ids.ts";
import { getActionLevel, getUserLevel } from "../protocol/power_levels.ts";
import type { Db } from "../storage/database.ts";
import { selectIsPruned } from "../storage/redacted_events.ts";
import { formatRoomToken, type RoomToken } from "../streams/tokens.ts";
import type { EventStore } from "./event_store.ts";
import type { MemberLoader } from "./lazy_members.ts";
import {
  type Bundler,
  membershipsOf,
  type Page,
  type Pagination,
  type RemoteHistory,
  tokenAfter,
  tokenBefore,
} from "./pagination.ts";
import type { EventRenderer } from "./renderer.ts";
import type { Reading, RoomAccess, RoomReaders } from "./room_access.ts";
import type { StateReader } from "./state_reader.ts";
import type { Sender } from "./transaction_ids.ts";
import type { StoredEvent } from "./types.ts";
import type { Viewer, Visibility, VisibleEvent } from "./visibility.ts";

const CREATE = stateKeyOf("m.room.create", "");
const POWER_LEVELS = stateKeyOf("m.room.power_levels", "");

/** What reading around an event is built from. */
export interface ContextDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
  readonly visibility: Visibility;
  readonly readers: RoomReaders;
  readonly renderer: EventRenderer;
  readonly members: MemberLoader;
  readonly pagination: Pagination;
  /** Null while other servers cannot be reached. */
  readonly history: { current: RemoteHistory | null };
  readonly bundle?: Bundler;
}

/** Reads events and their surroundings. */
export class EventContext {
  readonly #deps: ContextDeps;

  constructor(deps: ContextDeps) {
    this.#deps = deps;
  }

  /**
   * Returns one event as text; with `unredacted`, as it was before its redaction (MSC2815), which is for those who
   * `mayReadRedacted`. Throws 404 when it is not in the room or may not be seen.
   */
  async event(
    reading: Reading,
    { eventId, unredacted = false }: { eventId: EventId; unredacted?: boolean },
  ): Promise<string> {
    const viewer = this.#deps.readers.viewer(reading);
    const found = await this.#find(reading.access, { viewer, eventId });
    if (unredacted && await selectIsPruned(this.#deps.db, found.stored.nid)) {
      throw new MatrixError(404, "FI.MAU.MSC2815_UNREDACTED_CONTENT_DELETED", "The content is deleted for good");
    }
    // What hides the messages of an erased account is no redaction and stays.
    const shown = unredacted ? { ...found, stored: { ...found.stored, redactedByNid: null } } : found;
    const [text] = await this.#render(reading.requester, [shown]);
    return text ?? "null";
  }

  /** Tells whether a user could redact the events of others in a room, and so may see what was redacted. */
  async mayReadRedacted({ requester, access }: Reading): Promise<boolean> {
    if (access.kind !== "joined") return false;
    const found = await this.#deps.state.getMany(access.root, [CREATE, POWER_LEVELS]);
    const create = found.get(CREATE)?.event;
    if (create === undefined) return false;
    const levels = { create, powerLevels: found.get(POWER_LEVELS)?.event };
    return getUserLevel(levels, requester.userId) >= getActionLevel(levels, "redact");
  }

  /** Returns the response body of `/context`, as text; `limit` counts the events around the one asked for. */
  async around(
    reading: Reading,
    { eventId, limit, filter }: { eventId: EventId; limit: number; filter: EventFilter | null },
  ): Promise<string> {
    const { requester, access } = reading;
    const viewer = this.#deps.readers.viewer(reading);
    const found = await this.#find(access, { viewer, eventId });
    const place = placeOf(found.stored);
    const before = Math.floor(limit / 2);
    const { pagination } = this.#deps;
    const [earlier, later] = await Promise.all([
      pagination.pageWithoutHoles(access, {
        viewer,
        request: { direction: "b", from: tokenBefore(place), to: null, limit: before, filter },
      }),
      pagination.pageWithoutHoles(access, {
        viewer,
        request: { direction: "f", from: tokenAfter(place), to: null, limit: limit - before, filter },
      }),
    ]);
    const [[event], eventsBefore, eventsAfter, state] = await Promise.all([
      this.#render(requester, [found]),
      this.#render(requester, earlier.events),
      this.#render(requester, later.events),
      this.#state(requester, { shown: [...earlier.events].reverse().concat(found, later.events), filter }),
    ]);
    const start = formatRoomToken(edge(earlier, { backward: true, found }));
    const end = formatRoomToken(edge(later, { backward: false, found }));
    return `{"start":"${start}","end":"${end}","event":${event},"events_before":[${eventsBefore.join(",")}],` +
      `"events_after":[${eventsAfter.join(",")}],"state":[${state.join(",")}]}`;
  }

  async #find(access: RoomAccess, { viewer, eventId }: { viewer: Viewer; eventId: EventId }): Promise<VisibleEvent> {
    const found = await this.#known(access, { viewer, eventId });
    if (found !== undefined) return found;
    const history = access.kind === "joined" ? this.#deps.history.current : null;
    if (history !== null && await history.event(access.room, eventId)) {
      const fetched = await this.#known(access, { viewer, eventId });
      if (fetched !== undefined) return fetched;
    }
    throw notFound("Event not found");
  }

  async #known(
    access: RoomAccess,
    { viewer, eventId }: { viewer: Viewer; eventId: EventId },
  ): Promise<VisibleEvent | undefined> {
    const stored = await this.#deps.events.getById(eventId);
    if (stored === null || stored.roomNid !== access.room.roomNid) return undefined;
    return (await this.#deps.visibility.filter([stored], viewer))[0];
  }

  async #render(requester: Sender, events: readonly VisibleEvent[]): Promise<string[]> {
    const stored = events.map((event) => event.stored);
    const relations = await this.#deps.bundle?.(stored, requester.userId);
    return this.#deps.renderer.render(stored, {
      requester,
      roomId: true,
      previous: true,
      memberships: membershipsOf(events),
      ...(relations && { relations }),
    });
  }

  /** Returns the state at the last event shown; under lazy loading with the members who sent what is shown. */
  async #state(
    requester: Sender,
    { shown, filter }: { shown: readonly VisibleEvent[]; filter: EventFilter | null },
  ): Promise<string[]> {
    const { state, members, renderer } = this.#deps;
    const root = shown[shown.length - 1]?.stored.stateAfter ?? 0;
    const lazy = filter?.lazyLoadMembers ?? false;
    let events = await state.entries(root, lazy ? "others" : undefined);
    if (lazy) events = events.concat(await members.at(root, new Set(shown.map(({ stored }) => stored.event.sender))));
    if (filter !== null) events = events.filter(({ event }) => filter.matches(event));
    return renderer.render(events, { requester, roomId: true, previous: false });
  }
}

function placeOf({ event, position }: StoredEvent): { depth: number; position: number } {
  return { depth: event.depth, position: position ?? 0 };
}

/** Returns where to go on from a page, or from its last event when nothing lies beyond yet. */
function edge(page: Page, { backward, found }: { backward: boolean; found: VisibleEvent }): RoomToken {
  if (page.end !== null) return page.end;
  const last = placeOf((page.events[page.events.length - 1] ?? found).stored);
  return backward ? tokenBefore(last) : tokenAfter(last);
}
