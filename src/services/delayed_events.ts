/**
 * Events that are sent later unless they are cancelled (MSC4140): how a call notices that somebody is gone.
 *
 * They are in the database until their time has come, so they outlive restarts. Who knows a delay id may manage it.
 */
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { PersistedBatch } from "../rooms/pending.ts";
import type { Requester } from "../rooms/types.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  type DelayedEvent,
  endDelayedEvent,
  endDelayedState,
  hasDelayedState,
  insertDelayedEvent,
  restartDelayedEvent,
  selectDelayedEvent,
  selectDelayedEventsOf,
  selectDelayIdOfTransaction,
} from "../storage/delayed_events.ts";
import { selectUser } from "../storage/users.ts";

/** What the service is built from. */
export interface DelayedEventsDeps {
  readonly db: Database;
  readonly clock: Clock;
  /** Milliseconds; null when the server does not offer it. */
  readonly maxDelayMs: number | null;
  readonly maxPerUser: number;
  readonly isJoined: (userId: UserId, roomId: RoomId) => Promise<boolean>;
  readonly send: (
    requester: Requester,
    event: {
      roomId: RoomId;
      type: string;
      stateKey: string | null;
      content: JsonObject;
      txnId: string;
      stickyMs?: number;
    },
  ) => Promise<unknown>;
}

/** What is to be sent, and when. */
export interface DelayRequest {
  readonly roomId: RoomId;
  readonly type: string;
  readonly stateKey: string | null;
  readonly txnId: string | null;
  readonly delayMs: number;
  /** For how long the event is sticky once it is sent (MSC4354), in milliseconds. */
  readonly stickyMs?: number;
  readonly readContent: () => Promise<JsonObject>;
}

const DELAY_ID_LENGTH = 24;
const KEEP_ENDED_MS = 86_400_000;

/** Keeps events until they are due. */
export class DelayedEvents {
  readonly #deps: DelayedEventsDeps;
  #onChange: () => void = () => {};

  constructor(deps: DelayedEventsDeps) {
    this.#deps = deps;
  }

  /** Sets what is called when the next due time may have changed. */
  set onChange(callback: () => void) {
    this.#onChange = callback;
  }

  /** What a user may ask for at most, as `/capabilities` says; null where the server does not offer it. */
  get bounds(): JsonObject | null {
    const { maxDelayMs, maxPerUser } = this.#deps;
    return maxDelayMs === null ? null : { max_delay_ms: maxDelayMs, max_scheduled: maxPerUser };
  }

  /** Keeps an event for later; returns its delay id, the same for a repeated request. */
  async schedule(requester: Requester, request: DelayRequest): Promise<string> {
    const { db, clock, isJoined } = this.#deps;
    const { userId, deviceId } = requester;
    const { roomId, type, stateKey, txnId, delayMs, stickyMs = null } = request;
    this.#assertDelay(delayMs);
    const key = txnId === null || deviceId === null ? null : { userId, deviceId, roomId, txnId };
    const known = key === null ? null : await selectDelayIdOfTransaction(db, key);
    if (known !== null) return known;
    const content = JSON.stringify(await request.readContent());
    if (!await isJoined(userId, roomId)) throw new MatrixError(403, "M_FORBIDDEN", "You are not in the room");
    const delayId = `syd_${randomString(DELAY_ID_LENGTH)}`;
    const now = clock.now();
    const event = {
      delayId,
      userId,
      deviceId,
      txnId,
      roomId,
      type,
      stateKey,
      content,
      delayMs,
      stickyMs,
      runningSince: now,
    };
    const isNew = await db.transaction(async (tx) => {
      await this.#assertRoom(tx, userId);
      return await insertDelayedEvent(tx, { ...event, forgetBefore: now - KEEP_ENDED_MS });
    });
    if (!isNew && key !== null) return await selectDelayIdOfTransaction(db, key) ?? delayId;
    this.#onChange();
    return delayId;
  }

  /** Returns a user's waiting events. */
  async list(userId: UserId): Promise<JsonObject> {
    const events = await selectDelayedEventsOf(this.#deps.db, { userId, limit: this.#deps.maxPerUser });
    return {
      // The last two as earlier versions of the proposal had them.
      delayed_events: events.map((event) => ({
        ...render(event),
        delay: event.delayMs,
        running_since: event.runningSince,
      })),
    };
  }

  /** Returns one of a user's waiting events. Throws 404 when it is somebody else's or does not wait any more. */
  async get(userId: UserId, delayId: string): Promise<JsonObject> {
    const event = await selectDelayedEvent(this.#deps.db, delayId);
    if (event?.userId !== userId) throw unknown();
    return render(event);
  }

  /** Starts a timer again. Throws 404 when the event does not wait any more. */
  async restart(delayId: string): Promise<void> {
    const { db, clock } = this.#deps;
    if (!await db.transaction((tx) => restartDelayedEvent(tx, { delayId, now: clock.now() }))) throw unknown();
    this.#onChange();
  }

  /** Gives an event up. Throws 404 when it does not wait any more. */
  async cancel(delayId: string): Promise<void> {
    if (!await this.#end(delayId)) throw unknown();
  }

  /** Sends an event now. Throws 404 when it does not wait any more. */
  async sendNow(delayId: string): Promise<void> {
    const event = await selectDelayedEvent(this.#deps.db, delayId);
    if (event === null) throw unknown();
    await this.deliver(event);
  }

  /** Sends an event and ends it; what refuses it ends it too. The transaction id keeps a second try from sending twice. */
  async deliver(event: DelayedEvent): Promise<void> {
    const { delayId, roomId, type, stateKey, content, stickyMs } = event;
    const requester = await this.#requester(event);
    try {
      if (requester !== null) {
        const txnId = `org.matrix.msc4140.${delayId}`;
        await this.#deps.send(requester, {
          ...{ roomId, type, stateKey, content: JSON.parse(content), txnId },
          ...(stickyMs === null ? {} : { stickyMs }),
        });
      }
    } catch (error) {
      if (error instanceof MatrixError) await this.#end(delayId);
      throw error;
    }
    await this.#end(delayId);
  }

  /** The engine's handler: state that somebody sets meanwhile cancels what others wanted to set there. */
  readonly onPersist = async (tx: Tx, { room, events }: PersistedBatch): Promise<void> => {
    if (this.#deps.maxDelayMs === null) return;
    const states = events.filter(({ stored }) => stored.event.stateKey !== null && !stored.isOutlier);
    if (states.length === 0 || !await hasDelayedState(tx, room.roomId)) return;
    const now = this.#deps.clock.now();
    for (const { stored: { event: { type, stateKey, sender } } } of states) {
      await endDelayedState(tx, { roomId: room.roomId, type, stateKey: stateKey ?? "", sender, now });
    }
  };

  async #end(delayId: string): Promise<boolean> {
    const { db, clock } = this.#deps;
    return await db.transaction((tx) => endDelayedEvent(tx, { delayId, now: clock.now() }));
  }

  /** Returns the user as whom to send, or null when the account is not to send anything any more. */
  async #requester({ userId, deviceId }: DelayedEvent): Promise<Requester | null> {
    const user = await selectUser(this.#deps.db, userId);
    if (user === null || user.isDeactivated || user.isLocked || user.isSuspended) return null;
    const { isGuest, isAdmin, isShadowBanned, appserviceId } = user;
    return { userId, deviceId, isGuest, isAdmin, isShadowBanned, appserviceId };
  }

  #assertDelay(delayMs: number): void {
    const { maxDelayMs } = this.#deps;
    if (maxDelayMs === null) throw refused("Delayed events are not offered", { code: "M_MAX_DELAY_UNSUPPORTED" });
    if (delayMs <= 0) throw invalidParam('"org.matrix.msc4140.delay" must be a positive integer');
    if (delayMs <= maxDelayMs) return;
    throw refused("The requested delay exceeds the allowed maximum", {
      code: "M_MAX_DELAY_EXCEEDED",
      "org.matrix.msc4140.max_delay": maxDelayMs,
    });
  }

  async #assertRoom(tx: Tx, userId: UserId): Promise<void> {
    const { maxPerUser } = this.#deps;
    const waiting = await selectDelayedEventsOf(tx, { userId, limit: maxPerUser });
    if (waiting.length < maxPerUser) return;
    throw refused("Too many delayed events", { code: "M_MAX_DELAYED_EVENTS_EXCEEDED" });
  }
}

function render({ delayId, roomId, type, stateKey, delayMs, runningSince, content }: DelayedEvent): JsonObject {
  return {
    ...{ delay_id: delayId, room_id: roomId, type },
    ...(stateKey === null ? {} : { state_key: stateKey }),
    ...{ delay_ms: delayMs, delayed_since_ts: runningSince },
    content: JSON.parse(content) as JsonObject,
  };
}

function refused(message: string, { code, ...extra }: JsonObject & { code: string }): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", message, { "org.matrix.msc4140.errcode": code, ...extra });
}

function unknown(): MatrixError {
  return notFound("Delayed event not found");
}
