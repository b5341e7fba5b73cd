/** Fetching the parts of threads that are not here, for one request of a client. Spec: MSC2836, "Server behaviour". */
import type { EventId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { type ChildRow, selectChildren, selectTold, type ToldRow, upsertTold } from "../storage/event_parents.ts";
import type { EventStore, RoomIdentity } from "./event_store.ts";
import type { RelatedEvent, RemoteHistory } from "./pagination.ts";
import { sumUp, toldIn, totalOf } from "./thread_children.ts";
import type { StoredEvent } from "./types.ts";

/** What parts are fetched with. */
export interface ThreadFetcherDeps {
  readonly db: Database;
  readonly events: EventStore;
  /** Null where nobody may be asked. */
  readonly history: RemoteHistory | null;
  readonly room: RoomIdentity;
  /** What the client asked for. */
  readonly body: JsonObject;
}

/** How often one request of a client asks other servers. */
const MAX_FETCHES = 10;
const MAX_EVENTS = 100;
const MAX_CHILDREN = 1_000;
const NEVER_PASSED_ON: readonly string[] = ["batch", "limit"];

/** Fetches what one walk lacks. */
export class ThreadFetcher {
  readonly #deps: ThreadFetcherDeps;
  #left = MAX_FETCHES;

  constructor(deps: ThreadFetcherDeps) {
    this.#deps = deps;
  }

  /** Fetches an event with what surrounds it; tells whether it is here now. */
  async fetch(eventId: EventId): Promise<boolean> {
    const { history, room, body } = this.#deps;
    if (history === null || this.#left === 0) return false;
    this.#left--;
    const kept = Object.entries(body).filter(([key]) => !NEVER_PASSED_ON.includes(key));
    const query = { ...Object.fromEntries(kept), event_id: eventId, room_id: room.roomId, limit: MAX_EVENTS };
    const found = await history.related(room, { ...query, include_parent: true, include_children: true });
    if (found === null) return false;
    await this.#noteChildren(found);
    return true;
  }

  /** Fetches the children of an event where another server told of some that are not here and were not asked for. */
  async explore(stored: StoredEvent, children: () => Promise<ChildRow[]>): Promise<void> {
    const { db } = this.#deps;
    const told = await selectTold(db, stored.nid);
    if (told === null || told.isExplored) return;
    const isSame = sumUp(await children()).hash === told.hash;
    if (!isSame && !await this.fetch(stored.event.eventId)) return;
    // Also where the children still differ: this server may have some that the other one has not.
    const latest = await selectTold(db, stored.nid) ?? told;
    await this.#write(stored.nid, { ...latest, isExplored: true });
  }

  async #noteChildren(related: readonly RelatedEvent[]): Promise<void> {
    const { db, events, room: { roomNid } } = this.#deps;
    const stored = await events.byId(related.map(({ eventId }) => eventId));
    for (const { eventId, unsigned } of related) {
      const told = toldIn(unsigned);
      const nid = stored.get(eventId)?.nid;
      if (told === null || nid === undefined) continue;
      const own = sumUp(await selectChildren(db, { eventId, roomNid, limit: MAX_CHILDREN }));
      await this.#write(nid, { ...told, isExplored: totalOf(own) === totalOf(told) && own.hash === told.hash });
    }
  }

  async #write(eventNid: number, told: ToldRow): Promise<void> {
    await this.#deps.db.transaction((tx) => upsertTold(tx, { eventNid, ...told }));
  }
}
