/**
 * `mau_limit_alerting`: tells users in their room of notices that the server has as many of them as it may have, and takes
 * that back when it is over. Spec: client-server API, "Server Notices", `m.server_notice.usage_limit_reached`.
 *
 * Whether a user was told is what their room says: the notice is pinned there for as long as it holds. Only those are
 * told who may go on; the others get the refusal itself.
 */
import type { Clock } from "../lib/clock.ts";
import { describeError } from "../lib/describe_error.ts";
import type { Logger } from "../lib/log.ts";
import { LruCache } from "../lib/lru.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { RoomFacts } from "../rooms/room_facts.ts";
import type { ActiveUsers } from "./active_users.ts";
import type { ServerNotices } from "./server_notices.ts";

/** What the service is built from. */
export interface LimitNoticesDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly activeUsers: ActiveUsers;
  readonly serverNotices: ServerNotices;
  readonly facts: Pick<RoomFacts, "content">;
  readonly events: Pick<EventStore, "getById">;
  /** Whom notices come from. */
  readonly noticesUser: UserId;
  readonly adminContact: string | null;
  /** Off: notices of before are taken back, and there are no new ones. */
  readonly isOn: boolean;
}

interface Pins {
  /** Those that are about the limit. */
  readonly limit: readonly EventId[];
  readonly others: readonly string[];
}

/** How many users there are is counted this often. */
const COUNT_EVERY_MS = 30_000;
const CACHED_USERS = 20_000;
const MESSAGE = "This server has as many users as it may have within a month. Some users cannot use it.";

/** Tells users. */
export class LimitNotices {
  readonly #deps: LimitNoticesDeps;
  readonly #mutex = new KeyedMutex<UserId>();
  /** What users' rooms say. */
  readonly #told = new LruCache<UserId, boolean>({ maxEntries: CACHED_USERS });
  #counted: { readonly at: number; readonly isReached: boolean } | null = null;

  constructor(deps: LimitNoticesDeps) {
    this.#deps = deps;
  }

  /** Brings a user's room of notices up to date. Called when a user syncs. */
  async check(userId: UserId): Promise<void> {
    const { noticesUser, activeUsers, log } = this.#deps;
    const isReached = await this.#isReached();
    if (userId === noticesUser || this.#told.get(userId) === isReached || !await activeUsers.isActive(userId)) return;
    try {
      await this.#mutex.run(userId, () => this.#tell(userId, isReached));
      this.#told.set(userId, isReached);
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      log.error("A notice about the number of users could not be sent", { user: userId, error: describeError(error) });
    }
  }

  async #isReached(): Promise<boolean> {
    const { clock, activeUsers, isOn } = this.#deps;
    if (!isOn) return false;
    const at = clock.now();
    if (this.#counted === null || at - this.#counted.at >= COUNT_EVERY_MS) {
      this.#counted = { at, isReached: await activeUsers.isFull() };
    }
    return this.#counted.isReached;
  }

  async #tell(userId: UserId, isReached: boolean): Promise<void> {
    const roomId = await this.#deps.serverNotices.findRoom(userId);
    const pins = roomId === null ? { limit: [], others: [] } : await this.#pins(roomId);
    if (isReached === pins.limit.length > 0) return;
    if (!isReached) return await this.#pin(userId, pins.others);
    const { serverNotices, adminContact, noticesUser } = this.#deps;
    const content = {
      msgtype: "m.server_notice",
      body: MESSAGE,
      server_notice_type: "m.server_notice.usage_limit_reached",
      limit_type: "monthly_active_user",
      ...(adminContact === null ? {} : { admin_contact: adminContact }),
    };
    const notice = { admin: noticesUser, userId, content, type: "m.room.message", stateKey: null, txnId: null };
    await this.#pin(userId, [...pins.others, await serverNotices.send(notice)]);
  }

  async #pin(userId: UserId, pinned: readonly string[]): Promise<void> {
    const { serverNotices, noticesUser } = this.#deps;
    const content = { pinned: [...pinned] };
    await serverNotices.send({
      ...{ admin: noticesUser, userId, content, type: "m.room.pinned_events", stateKey: "", txnId: null },
    });
  }

  async #pins(roomId: RoomId): Promise<Pins> {
    const { facts, events, noticesUser } = this.#deps;
    const { pinned } = await facts.content(roomId, "m.room.pinned_events") ?? {};
    const limit: EventId[] = [];
    const others: string[] = [];
    for (const id of Array.isArray(pinned) ? pinned : []) {
      if (typeof id !== "string") continue;
      const event = (await events.getById(id as EventId))?.event;
      const isLimit = event?.sender === noticesUser && event.content["msgtype"] === "m.server_notice" &&
        event.content["limit_type"] === "monthly_active_user";
      if (isLimit) limit.push(id as EventId);
      else others.push(id);
    }
    return { limit, others };
  }
}
