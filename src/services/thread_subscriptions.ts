/**
 * Following threads (MSC4306), and listing what changed (MSC4308).
 *
 * Changes take positions of the account_data stream, whose readers they wake: like account data they are a user's own.
 */
import { invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import { relationOf } from "../rooms/relation.ts";
import type { RoomReaders } from "../rooms/room_access.ts";
import type { Sender } from "../rooms/transaction_ids.ts";
import type { Visibility } from "../rooms/visibility.ts";
import type { Database, Tx } from "../storage/database.ts";
import { advanceStream } from "../storage/streams.ts";
import {
  selectThreadSubscription,
  selectThreadSubscriptionChanges,
  type ThreadSubscription,
  upsertThreadSubscription,
} from "../storage/thread_subscriptions.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What the service is built from. */
export interface ThreadSubscriptionsDeps {
  readonly db: Database;
  readonly notifier: Notifier;
  readonly events: EventStore;
  readonly readers: RoomReaders;
  readonly visibility: Visibility;
}

/** A thread by its root. */
export interface ThreadKey {
  readonly roomId: RoomId;
  readonly rootId: EventId;
}

/** What changed since a position. */
export interface ThreadSubscriptionsRange {
  readonly after: number;
  readonly upTo: number;
  readonly limit: number;
}

/** Keeps which threads users follow. */
export class ThreadSubscriptions {
  readonly #deps: ThreadSubscriptionsDeps;

  constructor(deps: ThreadSubscriptionsDeps) {
    this.#deps = deps;
  }

  /** Returns the response body. Throws 404 when the user does not follow the thread. */
  async get(sender: Sender, thread: ThreadKey): Promise<JsonObject> {
    const roomNid = await this.#requireThread(sender, thread);
    const key = { userId: sender.userId, roomNid, rootId: thread.rootId };
    const found = await selectThreadSubscription(this.#deps.db, key);
    if (found === null || !found.isSubscribed) throw notFound("You are not subscribed to this thread");
    return { automatic: found.isAutomatic };
  }

  /**
   * Subscribes a user. With `cause`, an event of the thread, by the client itself: that does not undo that the user
   * ended the subscription after the event. Throws 400 for a cause outside of the thread, 409 when it came too early.
   */
  async subscribe(sender: Sender, { cause, ...thread }: ThreadKey & { cause: EventId | null }): Promise<void> {
    const roomNid = await this.#requireThread(sender, thread);
    const causedAt = cause === null ? null : await this.#positionIn(thread, { roomNid, cause });
    await this.#change({ userId: sender.userId, roomNid, rootId: thread.rootId }, (before) => {
      if (causedAt === null) {
        if (before?.isSubscribed && !before.isAutomatic) return null;
        return { isSubscribed: true, isAutomatic: false, endedAt: before?.endedAt ?? 0 };
      }
      if (before?.isSubscribed) return null;
      if (before !== null && causedAt <= before.endedAt) {
        throw new MatrixError(
          409,
          "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION",
          "The user ended the subscription after this event",
        );
      }
      return { isSubscribed: true, isAutomatic: true, endedAt: before?.endedAt ?? 0 };
    });
  }

  /** Ends a subscription; doing so without one is no error. */
  async unsubscribe(sender: Sender, thread: ThreadKey): Promise<void> {
    const roomNid = await this.#requireThread(sender, thread);
    const endedAt = this.#deps.notifier.position("events");
    await this.#change(
      { userId: sender.userId, roomNid, rootId: thread.rootId },
      (before) => before?.isSubscribed ? { isSubscribed: false, isAutomatic: false, endedAt } : null,
    );
  }

  /** Returns changes in `(after, upTo]` of the account_data stream as MSC4308 shows them, and how far that goes back. */
  async changes(
    { userId }: Sender,
    { after, upTo, limit }: ThreadSubscriptionsRange,
  ): Promise<{ subscribed: JsonObject; unsubscribed: JsonObject; goesOnBefore: number | null }> {
    const rows = await selectThreadSubscriptionChanges(this.#deps.db, { userId, after, upTo, limit: limit + 1 });
    const subscribed: Record<string, JsonObject> = {};
    const unsubscribed: Record<string, JsonObject> = {};
    for (const { roomId, rootId, position, isSubscribed, isAutomatic } of rows.slice(0, limit)) {
      const room = (isSubscribed ? subscribed : unsubscribed)[roomId] ??= {};
      room[rootId] = { ...(isSubscribed ? { automatic: isAutomatic } : {}), bump_stamp: position };
    }
    const last = rows.slice(0, limit).at(-1);
    return { subscribed, unsubscribed, goesOnBefore: rows.length > limit && last ? last.position - 1 : null };
  }

  async #change(
    key: { readonly userId: UserId; readonly roomNid: number; readonly rootId: EventId },
    next: (before: ThreadSubscription | null) => ThreadSubscription | null,
  ): Promise<void> {
    const { db, notifier } = this.#deps;
    await db.transaction(async (tx: Tx) => {
      const after = next(await selectThreadSubscription(tx, key));
      if (after === null) return;
      const position = await advanceStream(tx, "account_data");
      await upsertThreadSubscription(tx, { ...key, ...after, position });
      tx.afterCommit(() => notifier.publish("account_data", position, [key.userId]));
    });
  }

  /** Returns the room's number. Throws 404 when the root is not there for the user. */
  async #requireThread(sender: Sender, { roomId, rootId }: ThreadKey): Promise<number> {
    const { events, readers, visibility } = this.#deps;
    const access = await readers.find(sender.userId, roomId);
    const root = access === null ? null : await events.getById(rootId);
    if (access === null || root === null || root.roomNid !== access.room.roomNid) throw notFound("No such thread");
    const viewer = readers.viewer({ requester: sender, access });
    if ((await visibility.filter([root], viewer)).length === 0) throw notFound("No such thread");
    return access.room.roomNid;
  }

  async #positionIn(
    { rootId }: ThreadKey,
    { roomNid, cause }: { roomNid: number; cause: EventId },
  ): Promise<number> {
    const stored = await this.#deps.events.getById(cause);
    const relation = stored === null ? null : relationOf(stored.event);
    const isInThread = stored?.roomNid === roomNid && relation?.relType === "m.thread" &&
      relation.relatesToId === rootId;
    if (!isInThread || stored === null || stored.position === null) {
      throw new MatrixError(400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "The event is not in the thread");
    }
    return stored.position;
  }
}

/** Parses a token of `changes`. Throws 400 for one that this server did not make. */
export function parseSubscriptionToken(text: string): number {
  const match = /^ts1_([0-9]{1,15})$/.exec(text);
  if (match === null) throw invalidParam("Invalid token");
  return Number(match[1]);
}

/** Returns the token for a position. */
export function formatSubscriptionToken(position: number): string {
  return `ts1_${position}`;
}
