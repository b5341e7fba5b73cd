/**
 * Deletes for good what redactions took away, once `redaction_retention_period` is over. Until then it can be restored
 * by hand or looked into by an administrator; nobody is shown it in either case.
 */
import type { Clock } from "../lib/clock.ts";
import type { Pdu } from "../protocol/event.ts";
import { redactPdu } from "../protocol/redaction.ts";
import { getRoomVersion } from "../protocol/room_versions.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { Database } from "../storage/database.ts";
import { type RedactedEvent, selectUnprunedEvents, updatePrunedEvents } from "../storage/redacted_events.ts";

/** What the worker is built from. */
export interface RedactionPrunerDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly events: EventStore;
}

const STEP = 50;

/** Prunes redacted events. */
export class RedactionPruner {
  readonly #deps: RedactionPrunerDeps;

  constructor(deps: RedactionPrunerDeps) {
    this.#deps = deps;
  }

  /** Prunes what was redacted longer ago than `maxAgeMs`, some events in each transaction. */
  async prune(maxAgeMs: number, signal: AbortSignal): Promise<void> {
    const { db, clock, events } = this.#deps;
    while (!signal.aborted) {
      const found = await selectUnprunedEvents(db, { before: clock.now() - maxAgeMs, limit: STEP });
      if (found.length === 0) return;
      await db.transaction(async (tx) => {
        await updatePrunedEvents(tx, found.map(pruned));
        tx.afterCommit(() => {
          for (const { nid } of found) events.drop(nid);
        });
      });
      if (found.length < STEP) return;
    }
  }
}

function pruned({ nid, roomVersion, json }: RedactedEvent): { nid: number; json: string } {
  const rules = getRoomVersion(roomVersion);
  if (rules === null) throw new Error(`Room version ${roomVersion} is not known`);
  return { nid, json: JSON.stringify(redactPdu(JSON.parse(json) as Pdu, rules)) };
}
