/**
 * Brings what one pusher has not seen to its gateway, in order.
 *
 * A notification that was taken moves the pusher's cursor, in the database; after a crash the last one may come twice,
 * which gateways must tell by its event id. While the gateway does not answer, the cursor stays and the next attempt is
 * put off, further each time; after a day the notification is given up, lest a gateway that comes back drowns in old ones.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { JoinPositions } from "../rooms/join_positions.ts";
import type { LocalMemberships } from "../rooms/local_memberships.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Badges } from "../services/badges.ts";
import type { NotificationsService } from "../services/notifications.ts";
import type { Database } from "../storage/database.ts";
import { type ListedNotification, selectNotifications } from "../storage/notifications.ts";
import { deletePusher, type Pusher, type PusherProgress, updatePusherProgress } from "../storage/pushers.ts";
import type { PushGateways } from "./push_gateway.ts";
import type { PushPayloads } from "./push_payload.ts";

/** What deliveries are made with. */
export interface PushDeliveryDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  readonly events: EventStore;
  readonly memberships: LocalMemberships;
  readonly joinPositions: JoinPositions;
  readonly notifications: Pick<NotificationsService, "readUpTo">;
  readonly badges: Badges;
  readonly payloads: PushPayloads;
  readonly gateways: Pick<PushGateways, "notify">;
  /** Synapse's `push.jitter_delay`: pushes are put off by up to so many milliseconds from the event. */
  readonly jitterMs: number;
}

/** How a pusher stands, in memory. */
export interface PusherState {
  pusher: Pusher;
  progress: PusherProgress;
  /** The badge that the gateway knows; null when that is not known. */
  badge: number | null;
  /** Rooms that may hold news since the cursor; null means all of them. */
  rooms: Set<number> | null;
  /** The badge may have changed without an event. */
  badgeDue: boolean;
  isRunning: boolean;
  isGone: boolean;
}

const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 3_600_000;
const GIVE_UP_MS = 86_400_000;
const STEP = 50;

/** Delivers. */
export class PushDelivery {
  readonly #deps: PushDeliveryDeps;
  /** What gateways took, and what they did not. */
  readonly pushes = { taken: 0, failed: 0 };
  readonly badgeUpdates = { taken: 0, failed: 0 };

  constructor(deps: PushDeliveryDeps) {
    this.#deps = deps;
  }

  /** Pushes what is new up to a position; returns whether the gateway took all. */
  async run(state: PusherState, { upTo, signal }: { upTo: number; signal: AbortSignal }): Promise<boolean> {
    const rooms = state.rooms;
    state.rooms = new Set();
    try {
      const isDone = await this.#pushAll(state, { rooms, upTo, signal });
      if (isDone) return !state.badgeDue || await this.#updateBadge(state, { upTo, signal });
    } catch (error) {
      lookAgain(state, rooms);
      throw error;
    }
    lookAgain(state, rooms);
    return false;
  }

  async #pushAll(
    state: PusherState,
    { rooms, upTo, signal }: { rooms: ReadonlySet<number> | null; upTo: number; signal: AbortSignal },
  ): Promise<boolean> {
    while (!signal.aborted && !state.isGone) {
      const found = await this.#next(state, { rooms, upTo });
      for (const notification of found) {
        if (!await this.#deliver(state, { notification, upTo, signal })) return false;
      }
      if (found.length < STEP) break;
    }
    if (signal.aborted || state.isGone) return false;
    if (upTo > state.progress.cursor) state.progress = { ...state.progress, cursor: upTo };
    return true;
  }

  async #next(
    { pusher: { userId }, progress }: PusherState,
    { rooms, upTo }: { rooms: ReadonlySet<number> | null; upTo: number },
  ): Promise<ListedNotification[]> {
    const { all } = await this.#deps.memberships.forUser(userId);
    const roomNids = [...rooms ?? all.keys()].filter((roomNid) => isPresent(all.get(roomNid)?.membership));
    const range = { after: progress.cursor, before: upTo + 1, oldestFirst: true, limit: STEP };
    return await selectNotifications(this.#deps.db, { userId, roomNids, ...range });
  }

  /** Pushes one notification unless there is no need any more; returns false when the gateway did not take it. */
  async #deliver(
    state: PusherState,
    { notification, upTo, signal }: { notification: ListedNotification; upTo: number; signal: AbortSignal },
  ): Promise<boolean> {
    const { badges, payloads, gateways, log } = this.#deps;
    const { pusher } = state;
    const stored = await this.#eventOf(pusher, notification);
    if (stored === null) {
      state.progress = { ...state.progress, cursor: notification.position };
      return true;
    }
    await this.#putOff(stored, signal);
    if (signal.aborted || state.isGone) return false;
    const badge = await badges.of(pusher.userId, upTo);
    const { actions, position } = notification;
    try {
      const payload = await payloads.ofEvent({ pusher, stored, actions, badge });
      const rejected = await gateways.notify(urlOf(pusher), payload);
      state.badge = badge;
      this.pushes.taken++;
      await this.#settle(state, { rejected, cursor: position });
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.pushes.failed++;
      log.warn("A push gateway did not take a notification", { user: pusher.userId, error: String(error) });
      return await this.#noteFailure(state, position);
    }
  }

  /** Returns the event while the user has it unread, else null. */
  async #eventOf(
    { userId }: Pusher,
    { eventNid, roomNid, position, threadId }: ListedNotification,
  ): Promise<StoredEvent | null> {
    const { events, memberships, joinPositions, notifications } = this.#deps;
    const entry = (await memberships.forUser(userId)).all.get(roomNid);
    if (entry === undefined || !isPresent(entry.membership)) return null;
    if (entry.membership === "join") {
      const joinedAt = await joinPositions.of(userId, entry.eventNid);
      if (position <= await notifications.readUpTo({ userId, roomNid, joinedAt, threadId })) return null;
    }
    const stored = await events.getByNid(eventNid);
    return stored === null || stored.redactedByNid !== null ? null : stored;
  }

  /** Waits until a moment chosen by chance within the jitter after the event, so that a crowd is not pushed at once. */
  async #putOff({ receivedTs }: StoredEvent, signal: AbortSignal): Promise<void> {
    const { clock, jitterMs, random } = this.#deps;
    if (jitterMs <= 0) return;
    const wait = receivedTs + random() * jitterMs - clock.now();
    if (wait > 0) await clock.sleep(wait, signal);
  }

  async #updateBadge(
    state: PusherState,
    { upTo, signal }: { upTo: number; signal: AbortSignal },
  ): Promise<boolean> {
    const { badges, payloads, gateways, log } = this.#deps;
    const { pusher } = state;
    state.badgeDue = false;
    const badge = await badges.of(pusher.userId, upTo);
    if (badge === state.badge) return true;
    try {
      const notification = payloads.ofBadge(pusher, badge);
      const rejected = await gateways.notify(urlOf(pusher), notification);
      state.badge = badge;
      this.badgeUpdates.taken++;
      await this.#settle(state, { rejected, cursor: state.progress.cursor });
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      state.badgeDue = true;
      this.badgeUpdates.failed++;
      log.warn("A push gateway did not take a badge", { user: pusher.userId, error: String(error) });
      return await this.#noteFailure(state, state.progress.cursor);
    }
  }

  /** Notes success. A push key that the gateway rejects is of no use any more. */
  async #settle(
    state: PusherState,
    { rejected, cursor }: { rejected: readonly string[]; cursor: number },
  ): Promise<void> {
    const { db } = this.#deps;
    const { pusher } = state;
    state.progress = { cursor, failingSince: null, failures: 0, retryTs: null };
    if (rejected.includes(pusher.pushkey)) {
      state.isGone = true;
      await db.transaction((tx) => deletePusher(tx, pusher));
    } else {
      state.isGone = !await db.transaction((tx) => updatePusherProgress(tx, { ...pusher, ...state.progress }));
    }
  }

  /** Puts the next attempt off, or gives up on what is too old; returns whether to go on. */
  async #noteFailure(state: PusherState, position: number): Promise<boolean> {
    const { db, clock } = this.#deps;
    const { cursor, failures, failingSince } = state.progress;
    const now = clock.now();
    const isHopeless = failingSince !== null && now - failingSince > GIVE_UP_MS;
    const delay = Math.min(FIRST_DELAY_MS * 2 ** Math.min(failures, 30), MAX_DELAY_MS);
    if (isHopeless) state.badgeDue = false;
    state.progress = isHopeless
      ? { cursor: Math.max(cursor, position), failingSince: null, failures: 0, retryTs: null }
      : { cursor, failingSince: failingSince ?? now, failures: failures + 1, retryTs: now + delay };
    const remains = await db.transaction((tx) => updatePusherProgress(tx, { ...state.pusher, ...state.progress }));
    if (!remains) state.isGone = true;
    return isHopeless;
  }
}

/** Has rooms looked at again that were not done. */
function lookAgain(state: PusherState, rooms: ReadonlySet<number> | null): void {
  state.rooms = rooms === null ? null : new Set([...rooms, ...state.rooms ?? []]);
}

function isPresent(membership: string | undefined): boolean {
  return membership === "join" || membership === "invite";
}

function urlOf({ data }: Pusher): string {
  return typeof data.url === "string" ? data.url : "";
}
