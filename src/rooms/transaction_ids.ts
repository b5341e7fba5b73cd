/**
 * Transaction ids as `unsigned.transaction_id` shows them: to the device that sent the event and to no other.
 * Spec: client-server API, "Transaction identifiers".
 */
import { LruCache } from "../lib/lru.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "../storage/database.ts";
import { selectTransactionsOf } from "../storage/timeline.ts";
import type { PersistedBatch } from "./pending.ts";
import type { StoredEvent } from "./types.ts";

/** A device, as far as it sends events. */
export interface Sender {
  readonly userId: UserId;
  readonly deviceId: DeviceId | null;
}

interface Known {
  readonly deviceId: string;
  readonly txnId: string;
}

const MAX_ENTRIES = 20_000;
const NONE: ReadonlyMap<number, string> = new Map();

/** Looks up transaction ids, keeping those of late. */
export class TransactionIds {
  readonly #db: Db;
  readonly #known = new LruCache<number, Known | "none">({ maxEntries: MAX_ENTRIES });

  constructor({ db }: { db: Db }) {
    this.#db = db;
  }

  /** The engine's handler: notes the transactions of a batch after its commit, which saves looking them up. */
  readonly onPersist = (tx: Tx, batch: PersistedBatch): Promise<void> => {
    tx.afterCommit(() => {
      for (const { stored, transaction } of batch.events) this.#known.set(stored.nid, transaction ?? "none");
    });
    return Promise.resolve();
  };

  /** Returns the transaction ids, by event, of those events that this very device sent. */
  async of(events: readonly StoredEvent[], { userId, deviceId }: Sender): Promise<ReadonlyMap<number, string>> {
    if (deviceId === null) return NONE;
    let found: Map<number, string> | null = null;
    const missing: number[] = [];
    for (const { nid, event } of events) {
      if (event.sender !== userId) continue;
      const known = this.#known.get(nid);
      if (known === undefined) missing.push(nid);
      else if (known !== "none" && known.deviceId === deviceId) (found ??= new Map()).set(nid, known.txnId);
    }
    if (missing.length === 0) return found ?? NONE;
    const rows = await selectTransactionsOf(this.#db, { userId, eventNids: missing });
    for (const nid of missing) this.#known.set(nid, "none");
    for (const { eventNid, deviceId: device, txnId } of rows) {
      this.#known.set(eventNid, { deviceId: device, txnId });
      if (device === deviceId) (found ??= new Map()).set(eventNid, txnId);
    }
    return found ?? NONE;
  }
}
