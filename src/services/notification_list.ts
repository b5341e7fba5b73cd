/** What a user was notified of. Spec: client-server API, `GET /notifications`. */
import type { JsonObject } from "../protocol/json.ts";
import type { EventStore } from "../rooms/event_store.ts";
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

const READ_RECEIPTS: ReadonlySet<string> = new Set(["m.read", "m.read.private"]);

/** Lists notifications. */
export class NotificationList {
  readonly #deps: NotificationListDeps;

  constructor(deps: NotificationListDeps) {
    this.#deps = deps;
  }

  /** Returns the response body, as text. */
  async page(requester: Sender, { before, onlyHighlight, limit }: NotificationPage): Promise<string> {
    const { db, events, memberships, renderer, bundle } = this.#deps;
    const { userId } = requester;
    const { joined } = await memberships.forUser(userId);
    const rows = (await selectNotifications(db, {
      userId,
      roomNids: [...joined.keys()],
      after: 0,
      before: before ?? MAX_POSITION,
      onlyHighlight,
      limit: limit + 1,
    })).filter(({ roomNid }) => joined.has(roomNid));
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
