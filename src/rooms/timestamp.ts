/** Finding an event by its time. Spec: client-server API, `GET /rooms/{roomId}/timestamp_to_event`. */
import { notFound } from "../protocol/errors.ts";
import type { EventId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { MAX_POSITION, selectEventsByTime } from "../storage/timeline.ts";
import type { EventStore } from "./event_store.ts";
import type { RemoteHistory } from "./pagination.ts";
import type { RoomAccess } from "./room_access.ts";
import type { Viewer, Visibility } from "./visibility.ts";

/** How many events that may not be seen are skipped over. */
const MAX_CANDIDATES = 100;

/** What the search is built from. */
export interface TimestampDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly visibility: Visibility;
  /** Asks other servers, once they can be. */
  readonly history: { readonly current: RemoteHistory | null };
}

/** An event with its time. */
export interface FoundByTime {
  readonly eventId: EventId;
  readonly originServerTs: number;
}

/** Searches rooms by time. */
export class TimestampSearch {
  readonly #deps: TimestampDeps;

  constructor(deps: TimestampDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the visible event nearest to `ts` (milliseconds) in a direction. With `asksOthers`, other servers are asked
   * where history is missing here. Throws 404 when there is none.
   */
  async nearest(
    access: RoomAccess,
    { viewer, ts, backwards, asksOthers = false }: {
      viewer: Viewer;
      ts: number;
      backwards: boolean;
      asksOthers?: boolean;
    },
  ): Promise<FoundByTime> {
    const known = await this.#known(access, { viewer, ts, backwards });
    const history = asksOthers && access.kind === "joined" ? this.#deps.history.current : null;
    const knownTs = known?.originServerTs ?? null;
    const isNearer = await history?.nearer(access.room, { ts, backwards, knownTs }) ?? false;
    const found = isNearer ? await this.#known(access, { viewer, ts, backwards }) : known;
    if (found === null) throw notFound(`Unable to find event from ${ts} in direction ${backwards ? "b" : "f"}`);
    return found;
  }

  async #known(
    access: RoomAccess,
    { viewer, ts, backwards }: { viewer: Viewer; ts: number; backwards: boolean },
  ): Promise<FoundByTime | null> {
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
    return null;
  }
}
