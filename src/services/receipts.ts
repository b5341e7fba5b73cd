/**
 * Read receipts and read markers. Spec: client-server API, "Receipts" and "Fully read markers".
 *
 * A receipt only moves forward within its thread. Private receipts are shown to their owner alone.
 */
import type { Clock } from "../lib/clock.ts";
import { forbidden, invalidParam, notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  type Receipt,
  type RoomReceipt,
  selectReceiptsBetween,
  selectReceiptsInRooms,
  selectReceiptsOfUser,
  upsertReceipt,
} from "../storage/receipts.ts";
import { advanceStream } from "../storage/streams.ts";
import type { Notifier } from "../streams/notifier.ts";
import type { AccountDataService } from "./account_data.ts";

/** The receipt types that clients may send. */
export const RECEIPT_TYPES = ["m.read", "m.read.private"] as const;
/** One of `RECEIPT_TYPES`. */
export type ReceiptType = typeof RECEIPT_TYPES[number];

/** The room as far as receipts need it. */
export interface ReceiptRooms {
  /** Returns the room's number, or null when the user is not joined to it. */
  joinedRoomNid(userId: UserId, roomId: RoomId): Promise<number | null>;
  /** Returns an event's position in the room, or null when it is not known in that room. */
  eventPosition(roomNid: number, eventId: EventId): Promise<number | null>;
  /** Tells whether an event has to do with a thread, given by its root; `main` is all that is in no thread. */
  isInThread(eventId: EventId, threadId: string): Promise<boolean>;
  localJoinedUsers(roomId: RoomId): Promise<Iterable<UserId>>;
}

/** What the service is built from. */
export interface ReceiptsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly notifier: Notifier;
  readonly accountData: AccountDataService;
  readonly rooms: ReceiptRooms;
  /** Told of each receipt after its commit. */
  readonly onWritten: (receipt: Receipt) => void;
  /** Other servers in the room are told by this of public receipts of local users. */
  readonly onLocalRead?: (receipt: Receipt & { readonly roomId: RoomId }) => void;
}

/** A receipt as a client sends it. */
export interface NewReceipt {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly type: ReceiptType;
  readonly eventId: EventId;
  /** The thread's root, `main`, or null for a receipt outside of threads. */
  readonly threadId: string | null;
}

const MAX_RECEIPTS_A_SYNC = 5_000;

/** Reads and writes receipts. */
export class ReceiptsService {
  readonly #deps: ReceiptsDeps;

  constructor(deps: ReceiptsDeps) {
    this.#deps = deps;
  }

  /**
   * Records that a user read up to an event. Throws 403 when the user is not joined, 404 when the room has no such event,
   * 400 when the event has nothing to do with the thread.
   */
  async set({ userId, roomId, type, eventId, threadId }: NewReceipt): Promise<void> {
    const { rooms, db, clock } = this.#deps;
    const roomNid = await rooms.joinedRoomNid(userId, roomId);
    if (roomNid === null) throw forbidden(`User ${userId} is not in room ${roomId}`);
    const eventPosition = await rooms.eventPosition(roomNid, eventId);
    if (eventPosition === null) throw notFound(`Room ${roomId} has no event ${eventId}`);
    if (threadId !== null && !await rooms.isInThread(eventId, threadId)) {
      throw invalidParam(`Event ${eventId} is not related to thread "${threadId}"`);
    }
    const receipt: Receipt = {
      roomNid,
      receiptType: type,
      userId,
      threadId: threadId ?? "",
      eventId,
      eventPosition,
      ts: clock.now(),
    };
    const audience = type === "m.read.private" ? [userId] : await rooms.localJoinedUsers(roomId);
    await db.transaction(async (tx) => {
      const isWritten = await this.#write(tx, receipt, audience);
      if (isWritten && type === "m.read") tx.afterCommit(() => this.#deps.onLocalRead?.({ ...receipt, roomId }));
    });
  }

  /** Records that a user of another server read up to an event, which need not have arrived here yet. */
  async receive(
    { userId, roomId, roomNid, eventId, threadId, ts }: Omit<NewReceipt, "type"> & { roomNid: number; ts: number },
  ): Promise<void> {
    const { rooms, db } = this.#deps;
    const eventPosition = await rooms.eventPosition(roomNid, eventId);
    const receipt: Receipt = {
      ...{ roomNid, userId, eventId, eventPosition, ts, threadId: threadId ?? "" },
      receiptType: "m.read",
    };
    const audience = await rooms.localJoinedUsers(roomId);
    await db.transaction((tx) => this.#write(tx, receipt, audience));
  }

  /** Moves the read markers of a room. Spec: `POST /rooms/{roomId}/read_markers`. */
  async setMarkers(
    { userId, roomId, fullyRead, allowBackward = false, read, readPrivate }: {
      userId: UserId;
      roomId: RoomId;
      fullyRead?: EventId | undefined;
      /** Lets `fullyRead` move to an earlier event (MSC4446). */
      allowBackward?: boolean;
      read?: EventId | undefined;
      readPrivate?: EventId | undefined;
    },
  ): Promise<void> {
    const { rooms } = this.#deps;
    const roomNid = await rooms.joinedRoomNid(userId, roomId);
    if (roomNid === null) throw forbidden(`User ${userId} is not in room ${roomId}`);
    for (const eventId of [fullyRead, read, readPrivate]) {
      if (eventId && await rooms.eventPosition(roomNid, eventId) === null) {
        throw notFound(`Room ${roomId} has no event ${eventId}`);
      }
    }
    if (read) await this.set({ userId, roomId, type: "m.read", eventId: read, threadId: null });
    if (readPrivate) {
      await this.set({ userId, roomId, type: "m.read.private", eventId: readPrivate, threadId: null });
    }
    if (fullyRead) await this.#setFullyRead({ userId, roomId, roomNid, eventId: fullyRead, allowBackward });
  }

  /** Returns the receipts that `userId` may see among those of some rooms written in `(after, upTo]`. */
  async inRooms(
    { userId, roomNids, after, upTo }: {
      userId: UserId;
      roomNids: ReadonlySet<number>;
      after: number;
      upTo: number;
    },
  ): Promise<RoomReceipt[]> {
    if (upTo <= after || roomNids.size === 0) return [];
    // A short span of the stream is cheaper to scan than many rooms are to look up one by one.
    const recent = after > 0
      ? await selectReceiptsBetween(this.#deps.db, { after, upTo, limit: MAX_RECEIPTS_A_SYNC })
      : null;
    const rows = recent && recent.length < MAX_RECEIPTS_A_SYNC
      ? recent.filter((receipt) => roomNids.has(receipt.roomNid))
      : await selectReceiptsInRooms(this.#deps.db, { roomNids: [...roomNids], after, upTo });
    return rows.filter((receipt) => receipt.receiptType !== "m.read.private" || receipt.userId === userId);
  }

  async #write(tx: Tx, receipt: Receipt, audience: Iterable<UserId>): Promise<boolean> {
    const old = (await selectReceiptsOfUser(tx, receipt)).find((other) =>
      other.receiptType === receipt.receiptType && other.threadId === receipt.threadId
    );
    if (old && !isAhead(receipt, old)) return false;
    const position = await advanceStream(tx, "receipts", 1);
    await upsertReceipt(tx, { ...receipt, position });
    tx.afterCommit(() => {
      this.#deps.onWritten(receipt);
      this.#deps.notifier.publish("receipts", position, audience);
    });
    return true;
  }

  async #setFullyRead(
    { userId, roomId, roomNid, eventId, allowBackward }: {
      userId: UserId;
      roomId: RoomId;
      roomNid: number;
      eventId: EventId;
      allowBackward: boolean;
    },
  ): Promise<void> {
    const { accountData, rooms } = this.#deps;
    await accountData.update({ userId, roomId, type: "m.fully_read" }, async ({ event_id: old }) => {
      if (allowBackward) return old === eventId ? null : { event_id: eventId };
      const before = typeof old === "string" ? await rooms.eventPosition(roomNid, old as EventId) : null;
      const after = await rooms.eventPosition(roomNid, eventId);
      return before !== null && after !== null && after <= before ? null : { event_id: eventId };
    });
  }
}

/** Tells whether a receipt moves forward; an event whose place is not known yet always does. */
function isAhead(next: Receipt, old: Receipt): boolean {
  return next.eventPosition === null || old.eventPosition === null || next.eventPosition > old.eventPosition;
}
