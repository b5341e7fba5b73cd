/**
 * Which events notify whom, and how much is unread. Spec: client-server API, "Push Notifications".
 *
 * Sending must not cost more in larger rooms, so an event is judged once for everybody who has the predefined rules; only
 * users it mentions or concerns by name and users with rules of their own are judged one by one. Counting puts the two
 * together again.
 */
import { PushEvaluator, type PushOutcome } from "../protocol/push_evaluator.ts";
import { defaultPushRules } from "../protocol/push_rules.ts";
import type { RoomEvent } from "../protocol/event.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { PersistedBatch } from "../rooms/pending.ts";
import { relationOf } from "../rooms/relation.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  countNotifications,
  insertRoomNotification,
  insertUserNotifications,
  type UserNotification,
} from "../storage/notifications.ts";
import { selectReceiptsOfUser } from "../storage/receipts.ts";
import type { PushRulesService } from "./push_rules.ts";

/** The room as far as rules ask about it. */
export interface NotificationRooms {
  /** Returns the number of joined members. */
  memberCount(roomNid: number): Promise<number>;
  /** Returns the content of the power levels in force, empty without any, and the sender's level. */
  powerLevels(roomId: RoomId, sender: UserId): Promise<{ content: Readonly<JsonObject>; senderLevel: number }>;
  displayName(roomId: RoomId, userId: UserId): Promise<string | null>;
  isLocal(userId: UserId): boolean;
}

/** What the service is built from. */
export interface NotificationsDeps {
  readonly db: Database;
  readonly pushRules: PushRulesService;
  readonly rooms: NotificationRooms;
}

/** How much is unread, and how much of it deserves attention. */
export interface UnreadCount {
  readonly notify: number;
  readonly highlight: number;
}

/** Unread counts of a room for a user. */
export interface UnreadCounts {
  /** Outside of threads. */
  readonly main: UnreadCount;
  /** By thread root. */
  readonly threads: ReadonlyMap<string, UnreadCount>;
}

/** Stands for everybody with the predefined rules; it cannot be mentioned. */
const NOBODY = "@:" as UserId;
const NOBODYS_RULES = defaultPushRules(NOBODY);
/** A list of mentions longer than this is cut: each costs an evaluation. */
const MAX_MENTIONS = 100;
const NOTHING: UnreadCount = { notify: 0, highlight: 0 };

/** Records notifications as events are written, and counts them. */
export class NotificationsService {
  readonly #deps: NotificationsDeps;

  constructor(deps: NotificationsDeps) {
    this.#deps = deps;
  }

  /** Records what the events of a batch do. Runs in the transaction that writes them. */
  async record(tx: Tx, batch: PersistedBatch): Promise<void> {
    for (const { stored } of batch.events) {
      const { event, position, isSoftFailed, isRejected } = stored;
      if (position === null || position < 0 || isSoftFailed || isRejected) continue;
      if (!mayNotify(event)) continue;
      await this.#recordEvent(tx, { batch, event, position });
    }
  }

  /** Counts what is unread for a user up to a position. Without a receipt, nothing before `joinedAt` counts. */
  async unread(
    { userId, roomNid, joinedAt, upTo }: { userId: UserId; roomNid: number; joinedAt: number; upTo: number },
  ): Promise<UnreadCounts> {
    const { db } = this.#deps;
    const read = new Map<string, number>();
    for (const { threadId, eventPosition } of await selectReceiptsOfUser(db, { roomNid, userId })) {
      if (eventPosition !== null) read.set(threadId, Math.max(read.get(threadId) ?? 0, eventPosition));
    }
    const floor = read.get("") ?? joinedAt;
    let main: UnreadCount = NOTHING;
    const threads = new Map<string, UnreadCount>();
    for (const { threadId, ...count } of await countNotifications(db, { userId, roomNid, after: floor, upTo })) {
      const readTo = read.get(threadId === "" ? "main" : threadId) ?? 0;
      const [rest] = readTo > floor
        ? await countNotifications(db, { userId, roomNid, after: readTo, upTo, threadId })
        : [count];
      if (!rest || (rest.notify <= 0 && rest.highlight <= 0)) continue;
      const unread = { notify: rest.notify, highlight: rest.highlight };
      if (threadId === "") main = unread;
      else threads.set(threadId, unread);
    }
    return { main, threads };
  }

  async #recordEvent(
    tx: Tx,
    { batch, event, position }: { batch: PersistedBatch; event: RoomEvent; position: number },
  ): Promise<void> {
    const { rooms, pushRules } = this.#deps;
    const { roomNid } = batch.room;
    const special = this.#concerned(event, batch.localJoined);
    if (special.size === 0 && batch.localJoined.size <= (batch.localJoined.has(event.sender) ? 1 : 0)) return;
    const { content: powerLevels, senderLevel } = await rooms.powerLevels(event.roomId, event.sender);
    const memberCount = await rooms.memberCount(roomNid);
    const evaluator = new PushEvaluator({ event, memberCount, senderPowerLevel: senderLevel, powerLevels });
    const general = evaluator.evaluate(NOBODYS_RULES, { userId: NOBODY, displayName: null });
    const threadId = threadOf(event);
    if (general.notify) {
      const actions = JSON.stringify(general.actions);
      await insertRoomNotification(tx, {
        roomNid,
        position,
        sender: event.sender,
        threadId,
        highlight: general.highlight,
        actions,
      });
    }
    const own: UserNotification[] = [];
    for (const userId of special) {
      const displayName = await rooms.displayName(event.roomId, userId);
      const outcome = evaluator.evaluate(await pushRules.ruleset(userId), { userId, displayName });
      // A user who is not in the room yet has no part in what notifies its members.
      const base = batch.localJoined.has(userId) ? general : { ...general, notify: false, highlight: false };
      if (!isSame(outcome, base)) own.push(exception({ userId, roomNid, position, threadId, outcome, base }));
    }
    await insertUserNotifications(tx, own);
  }

  /** Returns the local users, other than the sender, for whom an event may not be what it is for everybody. */
  #concerned(event: RoomEvent, localJoined: ReadonlySet<UserId>): Set<UserId> {
    const { rooms, pushRules } = this.#deps;
    const concerned = new Set<UserId>();
    const mentions = event.content["m.mentions"];
    const mentioned = isJsonObject(mentions) && Array.isArray(mentions.user_ids) ? mentions.user_ids : [];
    for (const user of mentioned.slice(0, MAX_MENTIONS)) {
      if (localJoined.has(user as UserId)) concerned.add(user as UserId);
    }
    if (event.type === "m.room.member" && event.stateKey !== null && rooms.isLocal(event.stateKey as UserId)) {
      if (event.content.membership === "invite") concerned.add(event.stateKey as UserId);
    }
    const customized = pushRules.customizedUsers;
    const [fewer, more] = customized.size < localJoined.size ? [customized, localJoined] : [localJoined, customized];
    for (const user of fewer) if (more.has(user)) concerned.add(user);
    concerned.delete(event.sender);
    return concerned;
  }
}

/** Leaves out what no rule can make notify anybody: most state events of a new room are looked at no further. */
function mayNotify(event: RoomEvent): boolean {
  return event.type !== "org.matrix.dummy_event";
}

function threadOf(event: RoomEvent): string {
  const relation = relationOf(event);
  return relation?.relType === "m.thread" ? relation.relatesToId : "";
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
