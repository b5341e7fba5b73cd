/** Finding an event by its time. Spec: client-server API, `GET /rooms/{roomId}/timestamp_to_event`. */
import { notFound } from "../protocol/errors.ts";
import type { EventId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { MAX_POSITION, selectEventsByTime } from "../storage/timeline.ts";
import type { EventStore } from "./event_store.ts";
import type { RoomAccess } from "./room_access.ts";
import type { Viewer, Visibility } from "./visibility.ts";

/** How many events that may not be seen are skipped over. */
const MAX_CANDIDATES = 100;

/** What the search is built from. */
export interface TimestampDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly visibility: Visibility;
}

/** Searches rooms by time. */
export class TimestampSearch {
  readonly #deps: TimestampDeps;

  constructor(deps: TimestampDeps) {
    this.#deps = deps;
  }

  /** Returns the visible event nearest to `ts` (milliseconds) in a direction. Throws 404 when there is none. */
  async nearest(
    access: RoomAccess,
    { viewer, ts, backwards }: { viewer: Viewer; ts: number; backwards: boolean },
  ): Promise<{ eventId: EventId; originServerTs: number }> {
    const { db, events, visibility } = this.#deps;
    const rows = await selectEventsByTime(db, {
      roomNid: access.room.roomNid,
      ts,
      backwards,
      upTo: access.upTo ?? MAX_POSITION,
      limit: MAX_CANDIDATES,
    });
    const stored = await events.byNid(rows.map(({ nid }) => nid));
    for (const { nid } of rows) {
      const candidate = stored.get(nid);
      if (candidate === undefined) continue;
      const [visible] = await visibility.filter([candidate], viewer);
      if (visible !== undefined) {
        return { eventId: candidate.event.eventId, originServerTs: candidate.event.originServerTs };
      }
    }
    throw notFound(`Unable to find event from ${ts} in direction ${backwards ? "b" : "f"}`);
  }
}
