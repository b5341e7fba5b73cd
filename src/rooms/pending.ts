/** Events that are built and authorized but not yet written, and what they will change. */
import type { EventId, UserId } from "../protocol/ids.ts";
import type { Tx } from "../storage/database.ts";
import type { RoomIdentity } from "./event_store.ts";
import type { StateDeltas } from "./state_deltas.ts";
import type { StoredEvent } from "./types.ts";

/** Under which transaction id a device sends an event. */
export interface TransactionKey {
  /** Of the event. Spec: a transaction id holds for one endpoint, and the type is part of its path. */
  readonly type: string;
  readonly userId: UserId;
  readonly deviceId: string;
  readonly txnId: string;
}

/** An event about to be written. */
export interface PendingEvent {
  /** Its `position` is null: the position is given while it is written. */
  readonly stored: StoredEvent;
  readonly prev: readonly StoredEvent[];
  /** Parents that are not in the database. */
  readonly missingPrev: readonly EventId[];
  readonly auth: readonly StoredEvent[];
  /** The event is in the database as an outlier. */
  readonly wasOutlier: boolean;
  /** It is history: its position is below zero, and nothing follows from it for the present. */
  readonly isBackfill?: boolean;
  /** Other servers have it already, though it is of one of our users. */
  readonly isSent?: boolean;
  /** The changes of the room's current state that its arrival makes. */
  readonly deltas: StateDeltas;
  readonly transaction: TransactionKey | null;
  /** The event that this one redacts, if it is known and may be redacted by it. */
  readonly redacts: StoredEvent | null;
}

/** An event that is being written, with its position. */
export interface PersistedEvent {
  readonly stored: StoredEvent;
  /** As of `PendingEvent`. */
  readonly isSent: boolean;
  readonly deltas: StateDeltas;
  readonly transaction: TransactionKey | null;
  /** The event whose redaction this one puts in force. */
  readonly redacts: StoredEvent | null;
}

/** Events of one room that are written in one transaction, in the order of their positions. */
export interface PersistedBatch {
  readonly room: RoomIdentity;
  readonly events: readonly PersistedEvent[];
  /** How many users, of all servers, were joined to the room before the batch. */
  readonly joinedBefore: number;
  /** Local users joined to the room after the batch. */
  readonly localJoined: ReadonlySet<UserId>;
  /** The ends of the room's graph before and after. */
  readonly ends: { readonly before: readonly StoredEvent[]; readonly after: readonly StoredEvent[] };
  /** Position of the last event. */
  readonly position: number;
}

/** Runs within the transaction that writes a batch. Must be quick: other writers wait. */
export type PersistHandler = (tx: Tx, batch: PersistedBatch) => Promise<void>;

/** A further write of the transaction, as of an alias; what it throws refuses the whole batch. */
export type ExtraWrite = (tx: Tx, room: RoomIdentity) => Promise<void>;
