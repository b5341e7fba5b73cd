/**
 * What is new in a room for all who were in it all the while and ask in the same way, made once.
 *
 * A message in a large room wakes thousands, whose answers differ in little: how much they have not read, and whether
 * they know the sender's name. All else is kept for as long as it holds; whoever it is not true for is answered alone.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import type { SyncFilter } from "../protocol/filter.ts";
import type { LocalMembership } from "../rooms/local_memberships.ts";
import { membershipsOf } from "../rooms/pagination.ts";
import { type EventParts, joinParts } from "../rooms/renderer.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Visibility } from "../rooms/visibility.ts";
import { formatRoomToken } from "../streams/tokens.ts";
import { readForMembers } from "./members_timeline.ts";
import type { RoomEntryDeps } from "./room_entry.ts";
import { readSharedState, takeUnsent } from "./room_states.ts";
import type { RoomPart, SyncView } from "./types.ts";

/** What shared news is made from. */
export interface SharedNewsDeps extends Omit<RoomEntryDeps, "visibility" | "unread"> {
  readonly visibility: Visibility;
  readonly clock: Clock;
}

/** The news of one room. */
interface News {
  /** All events that are told of: as long as these are the ones in the store, the texts hold. */
  readonly events: readonly StoredEvent[];
  readonly revision: number;
  readonly redactedStates: number;
  /** Whoever sent one of them is told more. */
  readonly senders: ReadonlySet<string>;
  readonly isEmpty: boolean;
  readonly timeline: readonly EventParts[];
  /** What follows the timeline's events, up to the first event of the state. */
  readonly middle: string;
  readonly changed: readonly EventParts[];
  readonly members: ReadonlyMap<StoredEvent, EventParts>;
}

interface Held {
  /** Null where each reader is answered alone. */
  news: News | null;
  /** Set while the news is being made. */
  making: Promise<void> | null;
}

/** The timeline and the state of a room, as members of its entry. */
export interface SharedText {
  readonly text: string;
  readonly isEmpty: boolean;
}

const KEPT = 200;

/** Makes the news of rooms and keeps them. */
export class SharedNews {
  readonly #deps: SharedNewsDeps;
  readonly #held = new LruCache<string, Held>({ name: "shared_news", maxEntries: KEPT });
  readonly #filters = new WeakMap<SyncFilter, number>();
  #nextFilter = 0;

  constructor(deps: SharedNewsDeps) {
    this.#deps = deps;
  }

  /** Returns what a room has for a reader, or null where the reader has to be answered alone. */
  of(
    view: SyncView,
    part: RoomPart,
    entry: LocalMembership | undefined,
  ): SharedText | null | Promise<SharedText | null> {
    const { stickyEvents } = this.#deps;
    const isSimple = !view.showsSoftFailed && part.after !== null && part.endRoot === null && !part.newlyJoined &&
      !view.fullState &&
      view.filter.eventFields === null && view.filter.eventFormat === "client" && stickyEvents.hasNoneIn(part.roomNid);
    if (!isSimple || entry?.membership !== "join" || entry.position > (part.after ?? 0)) return null;
    const key = this.#keyOf(view, part);
    const held = this.#held.get(key);
    if (held?.making === null && (held.news === null || this.#holds(held.news))) {
      return this.#tell(held.news, { view, part });
    }
    return this.#make(key, { view, part });
  }

  async #make(key: string, { view, part }: { view: SyncView; part: RoomPart }): Promise<SharedText | null> {
    let held = this.#held.get(key);
    if (held === undefined || held.making === null) {
      const made: Held = { news: null, making: null };
      made.making = this.#read(view, part).then((news) => {
        made.news = news;
        made.making = null;
      });
      made.making.catch(() => this.#held.delete(key));
      this.#held.set(key, made);
      held = made;
    }
    await held.making;
    return held.news !== null && !this.#holds(held.news) ? null : this.#tell(held.news, { view, part });
  }

  #keyOf({ filter, stateAfter }: SyncView, { roomNid, after, upTo }: RoomPart): string {
    let number = this.#filters.get(filter);
    if (number === undefined) this.#filters.set(filter, number = this.#nextFilter++);
    return `${roomNid} ${after} ${upTo} ${number} ${stateAfter}`;
  }

  #holds({ events, revision, redactedStates }: News): boolean {
    const { events: store, timelines, visibility } = this.#deps;
    return revision === timelines.revision && redactedStates === store.redactedStates &&
      events.every((stored) => store.peekByNid(stored.nid) === stored && !visibility.isExpired(stored));
  }

  #tell(news: News | null, { view, part }: { view: SyncView; part: RoomPart }): SharedText | null {
    if (news === null || news.senders.has(view.requester.userId)) return null;
    if (view.ignored.size > 0) { for (const sender of news.senders) if (view.ignored.has(sender)) return null; }
    const now = this.#deps.clock.now();
    const members = takeUnsent(this.#deps, { view, part, members: [...news.members.keys()] });
    let text = '"timeline":{"events":[';
    let comma = "";
    for (const event of news.timeline) {
      text += comma + joinParts(event, now);
      comma = ",";
    }
    text += news.middle;
    comma = "";
    for (const event of news.changed) {
      text += comma + joinParts(event, now);
      comma = ",";
    }
    for (const member of members) {
      const event = news.members.get(member);
      if (event === undefined) continue;
      text += comma + joinParts(event, now);
      comma = ",";
    }
    return { text: `${text}]}`, isEmpty: news.isEmpty && members.length === 0 };
  }

  async #read(view: SyncView, part: RoomPart): Promise<News | null> {
    const deps = this.#deps;
    const { roomNid, roomId, upTo, after } = part;
    const { revision } = deps.timelines;
    const { redactedStates } = deps.events;
    if (after === null || (deps.timelines.lastPosition(roomNid) ?? Infinity) > upTo) return null;
    const deltas = await deps.timelines.deltas({ roomNid, after, upTo });
    if (deps.summaries.isAffectedBy(deltas)) return null;
    const filter = view.filter.room.timeline;
    const timeline = await readForMembers(deps, { part, filter, isAlike: isNoMember });
    if (timeline === null || timeline.limited) return null;
    // Who is in the room now, and was when the events came, was so at each of them: they follow one another.
    const end = timeline.events[timeline.events.length - 1]?.stored.stateAfter ?? null;
    if (end !== null && end !== await deps.state.currentRoot(roomId)) return null;
    if ((deps.timelines.lastPosition(roomNid) ?? Infinity) > upTo) return null;
    const state = await readSharedState(deps, { view, part, timeline, deltas });
    if (state === null) return null;
    const shown = timeline.events.map(({ stored }) => stored);
    const events = [...shown, ...state.changed, ...state.senders];
    const memberships = membershipsOf(timeline.events);
    const texts = await deps.renderer.renderParts(shown, { roomId: false, previous: true, memberships });
    const changed = await deps.renderer.renderParts(state.changed, { roomId: false, previous: false });
    const members = await deps.renderer.renderParts(state.senders, { roomId: false, previous: false });
    if (texts === null || changed === null || members === null) return null;
    return {
      ...{ events, revision, redactedStates, changed, timeline: texts },
      senders: new Set(events.map(({ event }) => event.sender)),
      isEmpty: shown.length === 0 && state.changed.length === 0,
      middle: `],"limited":false,"prev_batch":"${formatRoomToken(timeline.prev)}"},` +
        `"${view.stateAfter ?? "state"}":{"events":[`,
      members: new Map(state.senders.flatMap((stored, index) => {
        const parts = members[index];
        return parts === undefined ? [] : [[stored, parts]];
      })),
    };
  }
}

/** Memberships are not the same for all. */
function isNoMember({ event }: StoredEvent): boolean {
  return event.type !== "m.room.member";
}
