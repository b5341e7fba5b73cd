/**
 * How a room ends for all who were in it all the while, made once: the last events, and state that goes with them.
 *
 * An initial sync and a first sliding window show the ends of many rooms, and whoever else is in a room, or comes back
 * with another device, is shown the same. Kept for as long as it holds; whoever it is not true for is answered alone.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import type { LocalMembership } from "../rooms/local_memberships.ts";
import { membershipsOf } from "../rooms/pagination.ts";
import { type EventParts, type EventRenderer, joinParts, type RenderView } from "../rooms/renderer.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { StoredEvent } from "../rooms/types.ts";
import { type MembersTimelineDeps, readForMembers } from "./members_timeline.ts";
import { limitFilter, type Timeline } from "./timelines.ts";
import type { RoomPart } from "./types.ts";

/** What shared ends are made from. */
export interface SharedEndsDeps extends MembersTimelineDeps {
  readonly state: StateReader;
  readonly renderer: EventRenderer;
  readonly clock: Clock;
}

/** Events and their texts, in the same order. */
export interface SharedEvents {
  readonly events: readonly StoredEvent[];
  readonly parts: readonly EventParts[];
}

/** The end of a room, as its members see it. */
export interface RoomEnd {
  readonly timeline: Timeline;
  /** The timeline's events. */
  readonly shown: SharedEvents;
  /** The root of the room's state. */
  readonly root: number;
}

/** Who is to be shown an end. */
export interface EndReader {
  readonly userId: UserId;
  readonly entry: LocalMembership | undefined;
  readonly ignored: ReadonlySet<string>;
}

interface Made extends RoomEnd {
  readonly lastPosition: number;
  readonly revision: number;
  readonly redactedStates: number;
  /** Whose membership changed was not a member at each of the events. */
  readonly moved: ReadonlySet<string>;
  readonly senders: ReadonlySet<string>;
  readonly states: Map<string, SharedEvents>;
}

interface Held {
  readonly lastPosition: number;
  readonly revision: number;
  /** Null where each reader is answered alone. */
  readonly made: Made | null;
}

const KEPT = 100;
/** Ways of asking for state; each user who asks for their own member event asks in another way. */
const KEPT_STATES = 4;

/** Makes the ends of rooms and keeps them. */
export class SharedEnds {
  readonly #deps: SharedEndsDeps;
  readonly #held = new LruCache<string, Held>({ maxEntries: KEPT });

  constructor(deps: SharedEndsDeps) {
    this.#deps = deps;
  }

  /** Returns the last `limit` events of a room for a reader who is new to it, or null to answer them alone. */
  async of(
    { part, limit, reader }: { part: RoomPart; limit: number; reader: EndReader },
  ): Promise<RoomEnd | null> {
    const { timelines } = this.#deps;
    const { entry } = reader;
    if (part.after !== null || part.endRoot !== null || part.newlyJoined || limit < 1) return null;
    if (entry?.membership !== "join" || entry.position > part.upTo) return null;
    const lastPosition = timelines.lastPosition(part.roomNid);
    if (lastPosition === null || lastPosition > part.upTo) return null;
    const key = `${part.roomNid} ${limit}`;
    let held = this.#held.get(key);
    if (held === undefined || !this.#holds(held, lastPosition)) {
      const { revision } = timelines;
      held = { lastPosition, revision, made: await this.#make({ part, limit, lastPosition }) };
      if (!this.#holds(held, timelines.lastPosition(part.roomNid) ?? 0)) return null;
      this.#held.set(key, held);
    }
    const { made } = held;
    if (made === null || made.moved.has(reader.userId)) return null;
    if (reader.ignored.size > 0) { for (const user of made.senders) if (reader.ignored.has(user)) return null; }
    return made;
  }

  /** Returns state that goes with an end and is found by `read`, the same for all who ask by the same key. */
  async state(
    end: RoomEnd,
    { key, read }: { key: string; read: () => Promise<readonly StoredEvent[]> },
  ): Promise<SharedEvents | null> {
    const { states } = end as Made;
    const known = states.get(key);
    if (known !== undefined && this.#areCurrent(known.events)) return known;
    const events = await read();
    const parts = await this.#deps.renderer.renderParts(events, { roomId: false, previous: false });
    if (parts === null) return null;
    const state = { events, parts };
    states.delete(key);
    for (const oldest of states.keys()) if (states.size >= KEPT_STATES) states.delete(oldest);
    states.set(key, state);
    return state;
  }

  /** Returns the texts of events as they are now; only who sent an event is told its transaction. */
  async texts({ events, parts }: SharedEvents, view: RenderView): Promise<string[]> {
    const { clock, renderer } = this.#deps;
    const now = clock.now();
    const texts = parts.map((part) => joinParts(part, now));
    const userId = view.requester?.userId;
    const own = events.filter(({ event }) => event.sender === userId);
    if (own.length === 0) return texts;
    const ownTexts = await renderer.render(own, view);
    for (const [index, stored] of own.entries()) texts[events.indexOf(stored)] = ownTexts[index] ?? "";
    return texts;
  }

  #holds({ lastPosition, revision, made }: Held, last: number): boolean {
    const { events, timelines, visibility } = this.#deps;
    if (lastPosition !== last || revision !== timelines.revision) return false;
    if (made === null) return true;
    return made.redactedStates === events.redactedStates && this.#areCurrent(made.shown.events) &&
      !made.shown.events.some((stored) => visibility.isExpired(stored));
  }

  #areCurrent(events: readonly StoredEvent[]): boolean {
    return events.every((stored) => this.#deps.events.peekByNid(stored.nid) === stored);
  }

  async #make(
    { part, limit, lastPosition }: { part: RoomPart; limit: number; lastPosition: number },
  ): Promise<Made | null> {
    const { events, timelines, renderer, state } = this.#deps;
    const { redactedStates } = events;
    const { revision } = timelines;
    const timeline = await readForMembers(this.#deps, { part, filter: limitFilter(limit) });
    const last = timeline?.events[timeline.events.length - 1];
    // They follow one another up to the state of now, so who is a member now was one at each of them.
    if (timeline === null || last === undefined) return null;
    const root = await state.currentRoot(part.roomId);
    if (root === null || root !== last.stored.stateAfter) return null;
    const shown = timeline.events.map(({ stored }) => stored);
    const memberships = membershipsOf(timeline.events);
    const parts = await renderer.renderParts(shown, { roomId: false, previous: true, memberships });
    if (parts === null) return null;
    const moved = new Set<string>();
    for (const { event } of shown) {
      if (event.type === "m.room.member" && event.stateKey !== null) moved.add(event.stateKey);
    }
    return {
      ...{ timeline, shown: { events: shown, parts }, root, lastPosition, revision, redactedStates, moved },
      senders: new Set(shown.map(({ event }) => event.sender)),
      states: new Map(),
    };
  }
}
