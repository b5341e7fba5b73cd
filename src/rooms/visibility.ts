/**
 * Who may see which event. Spec: client-server API, "Room History Visibility" and "Ignoring Users".
 *
 * The rules ask for the state at each event. Events in a row share their state's root, and roots never change, so what
 * is found out per root is kept: a page of messages costs a few look-ups in memory.
 */
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import type { JsonValue } from "../protocol/json.ts";
import { redactPdu } from "../protocol/redaction.ts";
import type { EventStore } from "./event_store.ts";
import type { StateReader } from "./state_reader.ts";
import type { Membership, StoredEvent } from "./types.ts";

/** The values of `m.room.history_visibility`. */
export type HistoryVisibility = "world_readable" | "shared" | "invited" | "joined";

/** Reads the setting; anything not understood means `shared`. */
export function parseHistoryVisibility(value: JsonValue | undefined): HistoryVisibility {
  return value === "world_readable" || value === "invited" || value === "joined" ? value : "shared";
}

/** Reads a membership; anything not understood means `leave`. */
export function parseMembership(value: JsonValue | undefined): Membership {
  return value === "join" || value === "invite" || value === "ban" || value === "knock" ? value : "leave";
}

/** The rules of the spec for one state: what was set, and what the user was, at the event. */
export function mayRead(
  { visibility, membership, joinedSince }: {
    visibility: HistoryVisibility;
    membership: Membership;
    /** The user was joined at some time after the event. */
    joinedSince: boolean;
  },
): boolean {
  if (visibility === "world_readable" || membership === "join") return true;
  if (visibility === "shared") return joinedSince;
  return visibility === "invited" && membership === "invite";
}

/** For whom events are filtered. */
export interface Viewer {
  /** Null for someone without an account in the room's sense: sees what is world-readable. */
  readonly userId: UserId | null;
  /** The user is, or at the end of what they may see was, joined. People who peek are not. */
  readonly isMember: boolean;
  /** Events later in the stream than this are hidden; null when there is no end. */
  readonly upTo: number | null;
  /** Senders whose messages are hidden; their state events are not. */
  readonly ignored: ReadonlySet<string>;
  /** An administrator, who may see whatever has its place in a room. */
  readonly seesAll?: boolean;
  /** An administrator who asked for events that the room's state at their arrival did not allow. */
  readonly showsSoftFailed?: boolean;
}

/** An event that may be shown, with what the viewer was at that event (`unsigned.membership`). */
export interface VisibleEvent {
  readonly stored: StoredEvent;
  readonly membership: Membership;
}

const CACHED_ROOTS = 20_000;
const CACHED_MEMBERSHIPS = 100_000;

/** Filters events for readers. */
export class Visibility {
  readonly #state: StateReader;
  readonly #events: EventStore;
  readonly #isErased: (userId: UserId) => boolean;
  readonly #isExpired: (stored: StoredEvent) => boolean;
  readonly #pruned = new WeakMap<StoredEvent, StoredEvent>();
  readonly #settings = new LruCache<number, HistoryVisibility>({
    name: "history_visibility",
    maxEntries: CACHED_ROOTS,
  });
  readonly #memberships = new LruCache<string, Membership>({
    name: "visible_memberships",
    maxEntries: CACHED_MEMBERSHIPS,
  });

  constructor(
    { state, events, isErased, isExpired = () => false }: {
      state: StateReader;
      events: EventStore;
      isErased: (userId: UserId) => boolean;
      /** Tells whether a message is older than its room keeps messages. */
      isExpired?: (stored: StoredEvent) => boolean;
    },
  ) {
    this.#state = state;
    this.#events = events;
    this.#isErased = isErased;
    this.#isExpired = isExpired;
  }

  /** Returns the events that the viewer may see, in the same order. */
  async filter(events: readonly StoredEvent[], viewer: Viewer): Promise<VisibleEvent[]> {
    const visible: VisibleEvent[] = [];
    for (const stored of events) {
      const membership = await this.#check(stored, viewer);
      if (membership === null) continue;
      // Who was there when an erased user spoke has seen it; others see that something was said.
      const isHidden = membership !== "join" && viewer.seesAll !== true && this.#isErased(stored.event.sender);
      visible.push({ stored: isHidden ? this.#prune(stored) : stored, membership });
    }
    return visible;
  }

  #prune(stored: StoredEvent): StoredEvent {
    let pruned = this.#pruned.get(stored);
    if (pruned === undefined) {
      const { event } = stored;
      const pdu = redactPdu(event.pdu, event.rules);
      pruned = { ...stored, json: JSON.stringify(pdu), event: { ...event, pdu, content: pdu.content }, isPruned: true };
      this.#pruned.set(stored, pruned);
    }
    return pruned;
  }

  /** Tells whether a message is older than its room keeps messages. */
  isExpired(stored: StoredEvent): boolean {
    return this.#isExpired(stored);
  }

  /** Tells whether what a user said is hidden from those who were not there. */
  isErased(userId: UserId): boolean {
    return this.#isErased(userId);
  }

  /** Returns the history visibility in force in a state. */
  async settingAt(root: number): Promise<HistoryVisibility> {
    const cached = this.#settings.get(root);
    if (cached !== undefined) return cached;
    const stored = await this.#state.get(root, "m.room.history_visibility", "");
    const setting = parseHistoryVisibility(stored?.event.content.history_visibility);
    this.#settings.set(root, setting);
    return setting;
  }

  /** Returns a user's membership in a state. */
  async membershipAt(root: number, userId: UserId): Promise<Membership> {
    const key = `${root} ${userId}`;
    const cached = this.#memberships.get(key);
    if (cached !== undefined) return cached;
    const stored = await this.#state.get(root, "m.room.member", userId);
    const membership = parseMembership(stored?.event.content.membership);
    this.#memberships.set(key, membership);
    return membership;
  }

  /** Returns the viewer's membership at the event, or null when the event is hidden. */
  async #check(stored: StoredEvent, viewer: Viewer): Promise<Membership | null> {
    const { event, position, stateBefore } = stored;
    if (stored.isRejected || stored.isOutlier || position === null || stateBefore === null) return null;
    if (stored.isSoftFailed && viewer.showsSoftFailed !== true) return null;
    if (viewer.seesAll === true && viewer.userId !== null) return await this.#memo(stateBefore, viewer.userId);
    if (viewer.upTo !== null && position > viewer.upTo) return null;
    if (event.stateKey === null && viewer.ignored.has(event.sender)) return null;
    if (this.#isExpired(stored)) return null;
    if (event.type === "m.room.redaction" && !await this.#isInForce(stored)) return null;
    const before = viewer.userId === null ? "leave" : await this.#memo(stateBefore, viewer.userId);
    const setting = this.#settings.get(stateBefore) ?? await this.settingAt(stateBefore);
    const joinedSince = viewer.isMember;
    if (event.type === "m.room.member" && event.stateKey === viewer.userId && viewer.userId !== null) {
      // One's own membership is never hidden: it is what tells a client that it is out.
      return parseMembership(event.content.membership);
    }
    if (mayRead({ visibility: setting, membership: before, joinedSince })) return before;
    if (event.type !== "m.room.history_visibility" || event.stateKey !== "") return null;
    const after = parseHistoryVisibility(event.content.history_visibility);
    return mayRead({ visibility: after, membership: before, joinedSince }) ? before : null;
  }

  #memo(root: number, userId: UserId): Membership | Promise<Membership> {
    return this.#memberships.get(`${root} ${userId}`) ?? this.membershipAt(root, userId);
  }

  /**
   * Redactions of events that are not known, or that had no right to redact, are not sent to clients.
   * Spec: room version 3, "Handling redactions".
   */
  async #isInForce({ event }: StoredEvent): Promise<boolean> {
    if (event.redacts === null) return true;
    const target = await this.#events.getById(event.redacts);
    return target !== null && target.redactedByNid !== null;
  }
}
