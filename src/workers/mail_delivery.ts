/**
 * Brings what an e-mail pusher's user has not read to them by mail, not at once but when it stays unread.
 *
 * A mail waits `notif_delay_before_mail` from the event, and longer for rooms that mails went out about before: the first
 * time ten minutes from the last mail, then a day. A room that was quiet for half a day begins anew. One mail is about all
 * that is unread. What is read meanwhile is in none.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { JoinPositions } from "../rooms/join_positions.ts";
import type { LocalMemberships } from "../rooms/local_memberships.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Mailer } from "../services/mailer.ts";
import type { NotificationsService } from "../services/notifications.ts";
import type { Database } from "../storage/database.ts";
import { type MailThrottle, selectMailThrottles, upsertMailThrottle } from "../storage/mail_throttles.ts";
import { type ListedNotification, selectNotifications } from "../storage/notifications.ts";
import { type Pusher, updatePusherProgress } from "../storage/pushers.ts";
import type { MailContent } from "./mail_content.ts";
import type { PusherState } from "./push_delivery.ts";

/** What deliveries are made with. */
export interface MailDeliveryDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Null where the server sends no mail about messages; then pushers wait. */
  readonly mailer: Mailer | null;
  readonly events: EventStore;
  readonly memberships: LocalMemberships;
  readonly joinPositions: JoinPositions;
  readonly notifications: Pick<NotificationsService, "readUpTo">;
  readonly content: MailContent;
  readonly displayName: (pusher: Pusher) => Promise<string>;
  readonly unsubscribeUrl: (pusher: Pusher) => string;
  readonly delayMs: number;
}

interface Unread {
  readonly notification: ListedNotification;
  readonly stored: StoredEvent;
}

const THROTTLE_START_MS = 600_000;
const THROTTLE_FACTOR = 144;
const THROTTLE_MAX_MS = 86_400_000;
const THROTTLE_RESET_MS = 43_200_000;
const RETRY_MS = 900_000;
/** A mail is about no more than so many messages. */
const MAX_UNREAD = 200;

/** Delivers by mail. */
export class MailDelivery {
  readonly #deps: MailDeliveryDeps;

  constructor(deps: MailDeliveryDeps) {
    this.#deps = deps;
  }

  /** Sends a mail if one is due, or notes when it will be; as `PushDelivery.run`. */
  async run(state: PusherState, { upTo }: { upTo: number }): Promise<boolean> {
    const { mailer, clock } = this.#deps;
    const rooms = state.rooms;
    state.badgeDue = false;
    state.rooms = new Set();
    if (mailer === null) return true;
    try {
      const unread = await this.#unread(state, { rooms, upTo });
      if (unread.length === 0) {
        state.progress = { ...state.progress, cursor: Math.max(state.progress.cursor, upTo) };
        return true;
      }
      const throttles = await selectMailThrottles(this.#deps.db, {
        ...state.pusher,
        roomNids: [...new Set(unread.map(({ notification }) => notification.roomNid))],
      });
      const due = unread.map((entry) => ({ entry, at: this.#dueAt(entry, throttles.get(entry.notification.roomNid)) }));
      const first = due.reduce((a, b) => b.at < a.at ? b : a);
      if (first.at <= clock.now()) return await this.#send(state, { mailer, unread, cause: first.entry, throttles });
      await this.#note(state, { retryTs: first.at });
    } catch (error) {
      lookAgain(state, rooms);
      throw error;
    }
    lookAgain(state, rooms);
    return false;
  }

  #dueAt({ stored }: Unread, throttle: MailThrottle | undefined): number {
    const ready = stored.receivedTs + this.#deps.delayMs;
    return throttle === undefined ? ready : Math.max(ready, throttle.lastSentTs + throttle.throttleMs);
  }

  async #unread(
    { pusher: { userId }, progress }: PusherState,
    { rooms, upTo }: { rooms: ReadonlySet<number> | null; upTo: number },
  ): Promise<Unread[]> {
    const { db, memberships, events } = this.#deps;
    const { all } = await memberships.forUser(userId);
    const roomNids = [...rooms ?? all.keys()].filter((roomNid) => isPresent(all.get(roomNid)?.membership));
    const range = { after: progress.cursor, before: upTo + 1, oldestFirst: true, limit: MAX_UNREAD };
    const found: Unread[] = [];
    for (const notification of await selectNotifications(db, { userId, roomNids, ...range })) {
      if (await this.#isRead(userId, notification)) continue;
      const stored = await events.getByNid(notification.eventNid);
      if (stored !== null && stored.redactedByNid === null) found.push({ notification, stored });
    }
    return found;
  }

  async #isRead(
    userId: Pusher["userId"],
    { roomNid, position, threadId }: ListedNotification,
  ): Promise<boolean> {
    const { memberships, joinPositions, notifications } = this.#deps;
    const entry = (await memberships.forUser(userId)).all.get(roomNid);
    if (entry?.membership !== "join") return false;
    const joinedAt = await joinPositions.of(userId, entry.eventNid);
    return position <= await notifications.readUpTo({ userId, roomNid, joinedAt, threadId });
  }

  async #send(
    state: PusherState,
    { mailer, unread, cause, throttles }: {
      mailer: Mailer;
      unread: readonly Unread[];
      cause: Unread;
      throttles: ReadonlyMap<number, MailThrottle>;
    },
  ): Promise<boolean> {
    const { content, displayName, unsubscribeUrl, clock, log, db } = this.#deps;
    const { pusher } = state;
    const { subject, vars } = await content.of(pusher.userId, unread.map(({ stored }) => stored));
    const unsubscribe = unsubscribeUrl(pusher);
    const now = clock.now();
    try {
      await mailer.send({
        to: pusher.pushkey,
        subject,
        template: "notif_mail",
        vars: {
          ...vars,
          user_display_name: await displayName(pusher),
          unsubscribe_link: unsubscribe,
          reason: {
            room_id: cause.stored.event.roomId,
            now,
            received_at: cause.stored.receivedTs,
            delay_before_mail_ms: this.#deps.delayMs,
          },
        },
        unsubscribeUrl: unsubscribe,
      });
    } catch (error) {
      log.warn("A mail about missed messages will be tried again", { user: pusher.userId, error: String(error) });
      state.rooms = null;
      await this.#note(state, { retryTs: now + RETRY_MS });
      return false;
    }
    const throttleMs = await this.#nextThrottle(pusher, cause, throttles.get(cause.notification.roomNid));
    await db.transaction((tx) =>
      upsertMailThrottle(tx, { ...pusher, roomNid: cause.notification.roomNid, lastSentTs: now, throttleMs })
    );
    const cursor = Math.max(state.progress.cursor, ...unread.map(({ notification }) => notification.position));
    await this.#note(state, { retryTs: null, cursor });
    return true;
  }

  async #nextThrottle(
    pusher: Pusher,
    { notification, stored }: Unread,
    current: MailThrottle | undefined,
  ): Promise<number> {
    const { db, events } = this.#deps;
    const [before] = await selectNotifications(db, {
      userId: pusher.userId,
      roomNids: [notification.roomNid],
      ...{ after: 0, before: notification.position, limit: 1 },
    });
    const previous = before === undefined ? null : await events.getByNid(before.eventNid);
    const isFresh = previous !== null && stored.receivedTs - previous.receivedTs > THROTTLE_RESET_MS;
    if (current === undefined || isFresh) return THROTTLE_START_MS;
    return Math.min(current.throttleMs * THROTTLE_FACTOR, THROTTLE_MAX_MS);
  }

  async #note(state: PusherState, { retryTs, cursor }: { retryTs: number | null; cursor?: number }): Promise<void> {
    state.progress = { cursor: cursor ?? state.progress.cursor, failingSince: null, failures: 0, retryTs };
    const remains = await this.#deps.db.transaction((tx) =>
      updatePusherProgress(tx, { ...state.pusher, ...state.progress })
    );
    if (!remains) state.isGone = true;
  }
}

/** Has rooms looked at again that were not done. */
function lookAgain(state: PusherState, rooms: ReadonlySet<number> | null): void {
  state.rooms = rooms === null || state.rooms === null ? null : new Set([...rooms, ...state.rooms]);
}

function isPresent(membership: string | undefined): boolean {
  return membership === "join" || membership === "invite";
}
