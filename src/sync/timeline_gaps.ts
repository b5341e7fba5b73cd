/**
 * Where a timeline has holes: events of other servers whose parents never came. What lies before such a hole does not
 * belong to what follows it, so a timeline begins behind it, `limited`, and pagination fills the hole.
 */
import type { UserId } from "../protocol/ids.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Db } from "../storage/database.ts";
import { selectEventsBehindGaps } from "../storage/event_lookups.ts";

/** What finding gaps takes. */
export interface TimelineGapsDeps {
  readonly db: Db;
  readonly isLocal: (userId: UserId) => boolean;
}

/** Finds gaps. */
export class TimelineGaps {
  readonly #deps: TimelineGapsDeps;

  constructor(deps: TimelineGapsDeps) {
    this.#deps = deps;
  }

  /** Returns the ids of those events of one room that lack a parent. */
  async among(events: Iterable<StoredEvent>): Promise<ReadonlySet<number>> {
    const { db, isLocal } = this.#deps;
    // Our own events build on what is here, except for a join by way of another server.
    const suspects = [...events].filter(({ event }) => !isLocal(event.sender) || event.type === "m.room.member");
    const roomNid = suspects[0]?.roomNid;
    if (roomNid === undefined) return new Set();
    return new Set(await selectEventsBehindGaps(db, { roomNid, eventNids: suspects.map(({ nid }) => nid) }));
  }
}
