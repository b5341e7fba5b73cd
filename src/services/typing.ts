/**
 * Who is typing where. Spec: client-server API, "Typing Notifications". Lives in memory only.
 */
import type { Clock } from "../lib/clock.ts";
import { getLogger } from "../lib/log.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { Notifier } from "../streams/notifier.ts";

/** A user of this server started or stopped typing, or goes on. */
export interface TypingChange {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly typing: boolean;
}

/** What the service is built from. */
export interface TypingDeps {
  readonly clock: Clock;
  readonly notifier: Notifier;
  /** Returns the local users joined to a room: those to wake. */
  readonly localJoinedUsers: (roomId: RoomId) => Promise<Iterable<UserId>>;
  readonly isLocal: (userId: UserId) => boolean;
  /** Other servers in the room are told by this. */
  readonly onLocalChange?: (change: TypingChange) => void;
}

interface RoomTyping {
  readonly until: Map<UserId, number>;
  position: number;
}

const log = getLogger("synapse.handlers.typing");
/** The longest a client may ask for, in milliseconds. */
const MAX_TIMEOUT_MS = 120_000;
const DEFAULT_TIMEOUT_MS = 30_000;
/** How many later changes a quiet room is remembered for, so that slow readers still learn that it went quiet. */
const FORGET_AFTER = 1_000;

/** Keeps typing notifications and lets them expire. */
export class TypingService implements AsyncDisposable {
  readonly #deps: TypingDeps;
  readonly #rooms = new Map<RoomId, RoomTyping>();
  readonly #stop = new AbortController();
  /** When the expiry looks next, and how to wake it earlier. */
  #alarm: { readonly at: number; readonly wake: AbortController } | null = null;
  #expiry: Promise<void> | null = null;

  constructor(deps: TypingDeps) {
    this.#deps = deps;
  }

  /** Sets or clears a user's typing; `timeoutMs` counts only while typing. */
  async set(
    { roomId, userId, typing, timeoutMs }: { roomId: RoomId; userId: UserId; typing: boolean; timeoutMs?: number },
  ): Promise<void> {
    const room = this.#rooms.get(roomId) ?? { until: new Map(), position: 0 };
    const wasTyping = room.until.has(userId);
    if (typing) {
      const timeout = Math.min(Math.max(timeoutMs ?? DEFAULT_TIMEOUT_MS, 0), MAX_TIMEOUT_MS);
      const until = this.#deps.clock.now() + timeout;
      room.until.set(userId, until);
      this.#rooms.set(roomId, room);
      this.#expireBy(until);
    } else {
      room.until.delete(userId);
    }
    if (typing || wasTyping) this.#tellOthers({ roomId, userId, typing });
    if (typing !== wasTyping) await this.#publish(roomId, room);
  }

  #tellOthers(change: TypingChange): void {
    if (this.#deps.isLocal(change.userId)) this.#deps.onLocalChange?.(change);
  }

  /** Ends the typing of local users who are no longer joined to a room. */
  async keepOnly(roomId: RoomId, joined: ReadonlySet<UserId>): Promise<void> {
    const room = this.#rooms.get(roomId);
    if (room === undefined || room.until.size === 0) return;
    let changed = false;
    for (const userId of room.until.keys()) {
      if (this.#deps.isLocal(userId) && !joined.has(userId)) changed = room.until.delete(userId) || changed;
    }
    if (changed) await this.#publish(roomId, room);
  }

  /** Returns who is typing in a room, sorted. */
  typingIn(roomId: RoomId): UserId[] {
    return [...this.#rooms.get(roomId)?.until.keys() ?? []].sort();
  }

  /** Returns the rooms, among those given, whose typing changed in `(after, upTo]`. */
  changedRooms({ roomIds, after, upTo }: { roomIds: ReadonlySet<RoomId>; after: number; upTo: number }): RoomId[] {
    if (upTo <= after) return [];
    const changed: RoomId[] = [];
    for (const [roomId, room] of this.#rooms) {
      if (room.position > after && room.position <= upTo && roomIds.has(roomId)) changed.push(roomId);
    }
    return changed;
  }

  /** Returns the rooms whose typing changed in `(after, upTo]`. */
  changedBetween({ after, upTo }: { after: number; upTo: number }): RoomId[] {
    if (upTo <= after) return [];
    return [...this.#rooms].filter(([, { position }]) => position > after && position <= upTo).map(([roomId]) =>
      roomId
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#alarm?.wake.abort();
    await this.#expiry;
  }

  async #publish(roomId: RoomId, room: RoomTyping): Promise<void> {
    const users = await this.#audience(roomId);
    // The position is set before anyone wakes, so that a reader that sees it also sees the change.
    room.position = this.#deps.notifier.position("typing") + 1;
    this.#deps.notifier.advance("typing", users);
  }

  /** Who is in the room learns of it with the next thing that wakes them, where the room cannot be read now. */
  async #audience(roomId: RoomId): Promise<Iterable<UserId>> {
    try {
      return await this.#deps.localJoinedUsers(roomId);
    } catch (error) {
      log.warn("Who is to be told of typing could not be read", { roomId, error });
      return [];
    }
  }

  #expireBy(at: number): void {
    if (this.#alarm !== null && at < this.#alarm.at) this.#alarm.wake.abort();
    this.#expiry ??= this.#expireLoop();
  }

  /** Runs while anyone types; sleeps until the next of them is to end. */
  async #expireLoop(): Promise<void> {
    const { clock } = this.#deps;
    while (!this.#stop.signal.aborted) {
      await this.#expireDue();
      // From here to the sleep nothing waits, so that whoever starts to type meanwhile is not overlooked.
      const at = this.#nextEnd();
      if (at === Infinity) break;
      this.#alarm = { at, wake: new AbortController() };
      await clock.sleep(Math.max(at - clock.now(), 0), this.#alarm.wake.signal);
      this.#alarm = null;
    }
    this.#expiry = null;
  }

  async #expireDue(): Promise<void> {
    const now = this.#deps.clock.now();
    for (const [roomId, room] of this.#rooms) {
      let changed = false;
      for (const [userId, until] of room.until) {
        if (until <= now) changed = room.until.delete(userId) || changed;
      }
      if (changed) await this.#publish(roomId, room);
      else if (room.until.size === 0 && this.#deps.notifier.position("typing") - room.position > FORGET_AFTER) {
        this.#rooms.delete(roomId);
      }
    }
  }

  #nextEnd(): number {
    let next = Infinity;
    for (const { until } of this.#rooms.values()) for (const at of until.values()) next = Math.min(next, at);
    return next;
  }
}
