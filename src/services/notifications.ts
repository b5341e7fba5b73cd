/**
 * Which events notify whom, and how much is unread. Spec: client-server API, "Push Notifications".
 *
 * Sending must not cost more in larger rooms, so an event is judged once for everybody who has the predefined rules; only
 * users it mentions or concerns by name and users with rules of their own are judged one by one. Counting puts the two
 * together again.
 */
import { PushEvaluator, type PushOutcome } from "../protocol/push_evaluator.ts";
import type { RoomEvent } from "../protocol/event.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { PersistedBatch } from "../rooms/pending.ts";
import { relationOf } from "../rooms/relation.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  deleteNotifications,
  deleteNotificationsBefore,
  insertRoomNotification,
  insertUserNotifications,
  type UserNotification,
} from "../storage/notifications.ts";
import { selectThreadFollowers } from "../storage/thread_subscriptions.ts";
import type { Ignores } from "./ignores.ts";
import type { PushRulesService } from "./push_rules.ts";
import { RoomNames } from "./room_names.ts";
import { type UnreadBatchQuery, UnreadCounter, type UnreadCounts, type UnreadQuery } from "./unread_counts.ts";

/** The room as far as rules ask about it. */
export interface NotificationRooms {
  /** Returns the content of the power levels in force, empty without any, and the sender's level. */
  powerLevels(roomId: RoomId, sender: UserId): Promise<{ content: Readonly<JsonObject>; senderLevel: number }>;
  displayName(roomId: RoomId, userId: UserId): Promise<string | null>;
  /** Returns a known event, or null. */
  event(eventId: EventId): Promise<RoomEvent | null>;
  isLocal(userId: UserId): boolean;
}

/** What the service is built from. */
export interface NotificationsDeps {
  readonly db: Database;
  readonly pushRules: PushRulesService;
  readonly rooms: NotificationRooms;
  readonly ignores: Ignores;
  /** Returns the position of the events stream. */
  readonly position: () => number;
  /** Synapse's `push.enabled`: otherwise nothing is judged, and nothing unread. */
  readonly isEnabled: boolean;
}

/** Stands for everybody with the predefined rules; it cannot be mentioned. */
const NOBODY = "@:" as UserId;
/** A list of mentions longer than this is cut: each costs an evaluation. */
const MAX_MENTIONS = 100;
/** Rows that one transaction looks at. */
const PRUNED_AT_ONCE = 1_000;
/** Relations are followed this far to the thread that an event belongs to. */
const MAX_RELATION_STEPS = 3;
const NOBODIES: ReadonlySet<UserId> = new Set();
const SILENT: PushOutcome = { notify: false, highlight: false, actions: [] };

/** Records notifications as events are written, and counts them. */
export class NotificationsService {
  readonly #deps: NotificationsDeps;
  readonly #counter: UnreadCounter;
  readonly #names: RoomNames;

  constructor(deps: NotificationsDeps) {
    this.#deps = deps;
    this.#counter = new UnreadCounter(deps);
    this.#names = new RoomNames();
  }

  /** Records what the events of a batch do. Runs in the transaction that writes them. */
  async record(tx: Tx, batch: PersistedBatch): Promise<void> {
    if (!this.#deps.isEnabled) return;
    await this.#names.record(tx, batch);
    for (const { stored, redacts } of batch.events) {
      const { event, position, isSoftFailed, isRejected, redactedByNid } = stored;
      if (redacts !== null) await this.takeBack(tx, redacts);
      if (position === null || position < 0 || isSoftFailed || isRejected || redactedByNid !== null) continue;
      if (!mayNotify(event)) continue;
      await this.#recordEvent(tx, { batch, event, position });
    }
  }

  /** Counts what is unread for a user up to a position; nothing before `joinedAt` counts. */
  unread(query: UnreadQuery): Promise<UnreadCounts> {
    return this.#counter.count(query);
  }

  /** As `unread`, if it takes nothing that is not in memory; else null. */
  peekUnread(query: UnreadQuery): UnreadCounts | null {
    return this.#counter.peek(query);
  }

  /** Counts in many rooms of a user at once, so that `peekUnread` has them. */
  prepareUnread(query: UnreadBatchQuery): Promise<void> {
    return this.#counter.prepare(query);
  }

  /** A user has read on: called after the commit of a receipt. */
  forgetReads(reader: { userId: UserId; roomNid: number }): void {
    this.#counter.forgetReads(reader);
  }

  /** Returns the position up to which a user has read the main timeline (`""`) or a thread of a room they are in. */
  readUpTo(query: Omit<UnreadQuery, "upTo"> & { threadId: string }): Promise<number> {
    return this.#counter.readUpTo(query);
  }

  /** Forgets what events received before a time did: what nobody looked at for so long counts as unread no more. */
  async prune(before: number): Promise<void> {
    let deleted = 0;
    do {
      deleted = await this.#deps.db.transaction(async (tx) => {
        const gone = await deleteNotificationsBefore(tx, { before, limit: PRUNED_AT_ONCE });
        tx.afterCommit(() => {
          for (const roomNid of gone.roomNids) this.#counter.forgetRoom(roomNid);
        });
        return gone.deleted;
      });
    } while (deleted > 0);
  }

  /** A redacted event notifies nobody any more. */
  async takeBack(tx: Tx, { roomNid, position }: StoredEvent): Promise<void> {
    if (position === null || !await deleteNotifications(tx, { roomNid, position })) return;
    tx.afterCommit(() => this.#counter.forgetRoom(roomNid));
  }

  async #recordEvent(
    tx: Tx,
    { batch, event, position }: { batch: PersistedBatch; event: RoomEvent; position: number },
  ): Promise<void> {
    const { rooms, pushRules, ignores } = this.#deps;
    const { roomNid } = batch.room;
    const special = this.#concerned(event, batch.localJoined);
    const named = await this.#named(tx, { batch, event });
    for (const userId of named ?? []) special.add(userId);
    const threadId = await this.#threadOf(event);
    const followers = await this.#followers(tx, { threadId, roomNid });
    for (const userId of followers ?? []) if (batch.localJoined.has(userId)) special.add(userId);
    special.delete(event.sender);
    if (special.size === 0 && batch.localJoined.size <= (batch.localJoined.has(event.sender) ? 1 : 0)) return;
    const { content: powerLevels, senderLevel } = await rooms.powerLevels(event.roomId, event.sender);
    // What the room had before the batch, for all of its events.
    const room = { memberCount: batch.joinedBefore, senderPowerLevel: senderLevel, powerLevels };
    const evaluator = new PushEvaluator({ event, ...room });
    const followsThread = followers === null ? null : false;
    const general = evaluator.evaluate(pushRules.predefined, { userId: NOBODY, displayName: null, followsThread });
    if (!general.notify && special.size === 0) return;
    const place = { roomNid, position, threadId };
    if (general.notify) {
      const actions = JSON.stringify(general.actions);
      await insertRoomNotification(tx, { ...place, sender: event.sender, highlight: general.highlight, actions });
    }
    const ignoring = ignores.of(event.sender);
    const own: UserNotification[] = [];
    for (const userId of special) {
      const mayBeNamed = named === null || named.has(userId);
      const outcome = ignoring.has(userId)
        ? SILENT
        : await this.#evaluate(evaluator, { event, userId, mayBeNamed, followers });
      // A user who is not in the room yet has no part in what notifies its members.
      const base = batch.localJoined.has(userId) ? general : SILENT;
      if (!isSame(outcome, base)) own.push(exception({ ...place, userId, outcome, base }));
    }
    await insertUserNotifications(tx, own);
  }

  async #evaluate(
    evaluator: PushEvaluator,
    { event, userId, mayBeNamed, followers }: {
      event: RoomEvent;
      userId: UserId;
      mayBeNamed: boolean;
      followers: ReadonlySet<UserId> | null;
    },
  ): Promise<PushOutcome> {
    const { rooms, pushRules } = this.#deps;
    const displayName = mayBeNamed ? await rooms.displayName(event.roomId, userId) : null;
    const followsThread = followers?.has(userId) ?? null;
    return evaluator.evaluate(await pushRules.ruleset(userId), { userId, displayName, followsThread });
  }

  /** Returns who follows an event's thread (MSC4306); null for an event in none. */
  async #followers(
    tx: Tx,
    { threadId, roomNid }: { threadId: string; roomNid: number },
  ): Promise<ReadonlySet<UserId> | null> {
    if (threadId === "" || !this.#deps.pushRules.followedThreads) return null;
    return await selectThreadFollowers(tx, { roomNid, rootId: threadId });
  }

  /** Returns the root of the thread an event is in, itself or by what it relates to; empty for the main timeline. */
  async #threadOf(event: RoomEvent): Promise<string> {
    let relation = relationOf(event);
    for (let step = 0; relation !== null && step <= MAX_RELATION_STEPS; step++) {
      if (relation.relType === "m.thread") return relation.relatesToId;
      const parent = await this.#deps.rooms.event(relation.relatesToId as EventId);
      relation = parent === null || parent.roomId !== event.roomId ? null : relationOf(parent);
    }
    return "";
  }

  /** Returns members whose names may stand in an event's text: all others have nothing to look for; null if unknown. */
  async #named(
    tx: Tx,
    { batch: { room, localJoined }, event: { content, stateKey } }: { batch: PersistedBatch; event: RoomEvent },
  ): Promise<ReadonlySet<UserId> | null> {
    const { body } = content;
    if (typeof body !== "string" || stateKey !== null) return NOBODIES;
    const isSaid = isJsonObject(content["m.mentions"]) || !this.#deps.pushRules.bodyMentions;
    // Only rules of their own making can look for names then, and few have any.
    if (isSaid) return null;
    return await this.#names.find(tx, { roomNid: room.roomNid, joined: localJoined, text: body });
  }

  /** Returns the local users for whom an event may not be what it is for everybody, but for those its text names. */
  #concerned(event: RoomEvent, localJoined: ReadonlySet<UserId>): Set<UserId> {
    const { rooms, pushRules, ignores } = this.#deps;
    const concerned = new Set<UserId>();
    const mentions = event.content["m.mentions"];
    const mentioned = isJsonObject(mentions) && Array.isArray(mentions.user_ids) ? mentions.user_ids : [];
    for (const user of mentioned.slice(0, MAX_MENTIONS)) {
      if (localJoined.has(user as UserId)) concerned.add(user as UserId);
    }
    if (event.type === "m.room.member" && event.stateKey !== null && rooms.isLocal(event.stateKey as UserId)) {
      if (event.content.membership === "invite") concerned.add(event.stateKey as UserId);
    }
    addCommon(concerned, pushRules.customizedUsers, localJoined);
    addCommon(concerned, ignores.of(event.sender), localJoined);
    return concerned;
  }
}

/** Adds what is in both sets, looking through the smaller one. */
function addCommon(into: Set<UserId>, ...sets: readonly [ReadonlySet<UserId>, ReadonlySet<UserId>]): void {
  const [a, b] = sets;
  const [fewer, more] = a.size < b.size ? [a, b] : [b, a];
  for (const user of fewer) if (more.has(user)) into.add(user);
}

/** Leaves out what no rule can make notify anybody: most state events of a new room are looked at no further. */
function mayNotify(event: RoomEvent): boolean {
  return event.type !== "org.matrix.dummy_event";
}

function isSame(a: PushOutcome, b: PushOutcome): boolean {
  return a.notify === b.notify && a.highlight === b.highlight &&
    JSON.stringify(a.actions) === JSON.stringify(b.actions);
}

function exception({ userId, roomNid, position, threadId, outcome, base }: {
  userId: UserId;
  roomNid: number;
  position: number;
  threadId: string;
  outcome: PushOutcome;
  base: PushOutcome;
}): UserNotification {
  return {
    userId,
    roomNid,
    position,
    threadId,
    notify: outcome.notify,
    highlight: outcome.highlight,
    actions: JSON.stringify(outcome.actions),
    roomNotify: base.notify,
    roomHighlight: base.highlight,
  };
}
