/** What a user was notified of. Spec: client-server API, `GET /notifications`. */
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { JoinPositions } from "../rooms/join_positions.ts";
import type { LocalMemberships } from "../rooms/local_memberships.ts";
import type { Bundler } from "../rooms/pagination.ts";
import type { EventRenderer } from "../rooms/renderer.ts";
import type { Sender } from "../rooms/transaction_ids.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Db } from "../storage/database.ts";
import { type ListedNotification, selectNotifications } from "../storage/notifications.ts";
import { type Receipt, selectReceiptsOfUser } from "../storage/receipts.ts";
import { selectNidsAt } from "../storage/positions.ts";
import { MAX_POSITION } from "../storage/timeline.ts";

/** What the service is built from. */
export interface NotificationListDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly memberships: LocalMemberships;
  readonly joinPositions: JoinPositions;
  readonly renderer: EventRenderer;
  readonly bundle: Bundler;
}

/** A page as asked for. */
export interface NotificationPage {
  /** The position before which to go on; null for the newest. */
  readonly before: number | null;
  readonly onlyHighlight: boolean;
  readonly limit: number;
}

/** A page is looked for no further than through so many steps of its size. */
const MAX_ROUNDS = 20;
const READ_RECEIPTS: ReadonlySet<string> = new Set(["m.read", "m.read.private"]);

/** Lists notifications. */
export class NotificationList {
  readonly #deps: NotificationListDeps;

  constructor(deps: NotificationListDeps) {
    this.#deps = deps;
  }

  /** Returns the response body, as text. */
  async page(requester: Sender, { before, onlyHighlight, limit }: NotificationPage): Promise<string> {
    const { db, events, renderer, bundle } = this.#deps;
    const { userId } = requester;
    const rows = await this.#select(userId, { before: before ?? MAX_POSITION, onlyHighlight, limit: limit + 1 });
    const shown = rows.slice(0, limit);
    const nids = await selectNidsAt(db, shown.map(({ position }) => position));
    const stored = await events.byNid([...nids.values()]);
    const found = shown.flatMap((row) => {
      const event = stored.get(nids.get(row.position) ?? -1);
      return event === undefined || event.redactedByNid !== null ? [] : [{ row, event }];
    });
    const list = found.map(({ event }) => event);
    const texts = await renderer.render(list, {
      requester,
      roomId: true,
      previous: true,
      relations: await bundle(list, userId),
    });
    const receipts = await this.#receipts(requester, found.map(({ row }) => row.roomNid));
    const entries = found.map(({ row, event }, index) => {
      const isRead = wasRead(row, receipts.get(row.roomNid) ?? []);
      return entryText(texts[index] ?? "null", { row, event, isRead });
    });
    const last = shown.at(-1);
    const next = rows.length > limit && last !== undefined ? `,"next_token":"${last.position}"` : "";
    return `{"notifications":[${entries.join(",")}]${next}}`;
  }

  /** What the room's members were notified of before the user came is none of the user's. */
  async #select(
    userId: UserId,
    { before, onlyHighlight, limit }: { before: number; onlyHighlight: boolean; limit: number },
  ): Promise<ListedNotification[]> {
    const { db, memberships, joinPositions } = this.#deps;
    const { all, joined } = await memberships.forUser(userId);
    const joinedAt = new Map<number, number>();
    for (const roomNid of [...joined.keys()]) {
      const member = all.get(roomNid);
      if (member !== undefined) joinedAt.set(roomNid, await joinPositions.of(userId, member.eventNid));
    }
    const roomNids = [...joinedAt.keys()];
    const after = Math.min(...joinedAt.values());
    const found: ListedNotification[] = [];
    let end = before;
    for (let round = 0; round < MAX_ROUNDS && roomNids.length > 0; round++) {
      const rows = await selectNotifications(db, { userId, roomNids, after, before: end, onlyHighlight, limit });
      found.push(...rows.filter(({ roomNid, position }) => position > (joinedAt.get(roomNid) ?? Infinity)));
      end = rows.at(-1)?.position ?? end;
      if (found.length >= limit || rows.length < limit) break;
    }
    return found.slice(0, limit);
  }

  async #receipts({ userId }: Sender, roomNids: readonly number[]): Promise<Map<number, readonly Receipt[]>> {
    const byRoom = new Map<number, readonly Receipt[]>();
    for (const roomNid of new Set(roomNids)) {
      const receipts = await selectReceiptsOfUser(this.#deps.db, { roomNid, userId });
      byRoom.set(roomNid, receipts.filter(({ receiptType }) => READ_RECEIPTS.has(receiptType)));
    }
    return byRoom;
  }
}

function entryText(
  event: string,
  { row, event: stored, isRead }: { row: ListedNotification; event: StoredEvent; isRead: boolean },
): string {
  const rest: JsonObject = {
    room_id: stored.event.roomId,
    ts: stored.receivedTs,
    read: isRead,
  };
  return `{"actions":${JSON.stringify(row.actions)},"event":${event},${JSON.stringify(rest).slice(1)}`;
}

/** A receipt without a thread reads all; one in a thread that thread alone. */
function wasRead({ threadId: thread, position }: ListedNotification, receipts: readonly Receipt[]): boolean {
  return receipts.some(({ threadId, eventPosition }) =>
    (threadId === "" || threadId === (thread === "" ? "main" : thread)) && eventPosition !== null &&
    position <= eventPosition
  );
}
