/**
 * Threads of any depth, for clients and for other servers (MSC2836, behind Synapse's former `msc2836_enabled`).
 *
 * Events that only other servers have are fetched for clients, never for servers: two of them could ask each other
 * forever. What is fetched has no place in the graph, hence no state to judge its visibility by. Such events are shown to
 * members of rooms that show all their history; the other server has already left out what ours may not see.
 */
import { notFound } from "../protocol/errors.ts";
import type { EventId, RoomId, ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database, Tx } from "../storage/database.ts";
import { type ChildRow, insertParents, selectChildren, selectParent, selectTold } from "../storage/event_parents.ts";
import type { EventStore } from "./event_store.ts";
import type { RemoteHistory } from "./pagination.ts";
import type { PersistedBatch } from "./pending.ts";
import { MAX_VISITED, type ThreadSource, type WalkOptions, walkThread } from "./relationship_walk.ts";
import type { EventRenderer } from "./renderer.ts";
import type { Reading, RoomReaders } from "./room_access.ts";
import type { ServerReads } from "./server_reads.ts";
import type { ServerVisibility } from "./server_visibility.ts";
import { parentOf, sumUp, totalOf, unsignedText } from "./thread_children.ts";
import { ThreadFetcher } from "./thread_fetcher.ts";
import type { Sender } from "./transaction_ids.ts";
import type { StoredEvent } from "./types.ts";
import type { Viewer, Visibility } from "./visibility.ts";

/** What threads are read with. */
export interface RelationshipsDeps {
  readonly db: Database;
  readonly events: EventStore;
  readonly readers: RoomReaders;
  readonly visibility: Visibility;
  readonly renderer: EventRenderer;
  /** Null while other servers cannot be reached. */
  readonly history: { readonly current: RemoteHistory | null };
}

/** A thread as asked for. */
export interface ThreadQuery {
  readonly eventId: EventId;
  /** Tells whom to ask for an event that is not here. */
  readonly roomId: RoomId | null;
  readonly limit: number;
  /** How many events earlier pages had. */
  readonly skip: number;
  readonly options: WalkOptions;
  /** The request's body, to be passed on. */
  readonly body: JsonObject;
}

/** How many children of one event are looked at. */
const MAX_CHILDREN = 1_000;
const UNKNOWN = "Event not found";

/** Reads threads. */
export class Relationships {
  readonly #deps: RelationshipsDeps;

  constructor(deps: RelationshipsDeps) {
    this.#deps = deps;
  }

  /** The engine's handler. */
  readonly onPersist = async (tx: Tx, { room: { roomNid }, events }: PersistedBatch): Promise<void> => {
    const rows = events.flatMap(({ stored }) => {
      const parent = stored.isRejected ? null : parentOf(stored.event);
      return parent === null ? [] : [{ eventNid: stored.nid, roomNid, ...parent }];
    });
    if (rows.length > 0) await insertParents(tx, rows);
  };

  /** Returns the answer to a client, as text. Throws 404 for events that are not known or may not be seen. */
  async forClient(requester: Sender, query: ThreadQuery): Promise<string> {
    const { events, readers, renderer } = this.#deps;
    const known = await events.getById(query.eventId);
    const roomId = known === null ? query.roomId : (await events.room(known.roomNid))?.roomId ?? null;
    const access = roomId === null ? null : await readers.find(requester.userId, roomId);
    if (access === null) throw notFound(UNKNOWN);
    const reading = { requester, access };
    const source = new ClientSource(this.#deps, { reading, viewer: readers.viewer(reading), query });
    const anchor = await source.find(query.eventId);
    if (anchor === null) throw notFound(UNKNOWN);
    const { page, isLimited } = await pageOf(source, { anchor, query });
    const unsigned = await this.#unsigned(page);
    const texts = await renderer.render(page, { requester, roomId: true, previous: true, unsigned });
    const next = isLimited ? `,"next_batch":"${query.skip + page.length}"` : "";
    return `{"events":[${texts.join(",")}],"limited":${isLimited}${next}}`;
  }

  /** Returns the answer to a server, as text. Throws 404 for events that are not known or may not be seen. */
  async forServer(
    origin: ServerName,
    { query, reads, visibility }: { query: ThreadQuery; reads: ServerReads; visibility: ServerVisibility },
  ): Promise<string> {
    const { db, events } = this.#deps;
    const known = await events.getById(query.eventId);
    const roomId = known === null ? null : (await events.room(known.roomNid))?.roomId ?? null;
    if (known === null || roomId === null) throw notFound(UNKNOWN);
    const room = await reads.requireRoom(origin, roomId);
    const source = new ServerSource({ db, events, isVisible: (stored) => visibility.isVisible(stored, origin) });
    const anchor = await source.find(query.eventId);
    if (anchor === null) throw notFound(UNKNOWN);
    const { page, isLimited } = await pageOf(source, { anchor, query });
    const unsigned = await this.#unsigned(page);
    const pdus = (await visibility.render(page, origin)).map((text, index) => {
      const told = unsigned.get(page[index]?.nid ?? 0);
      return told === undefined ? text : `${text.slice(0, -1)},"unsigned":{${told}}}`;
    });
    const chain = await reads.renderAll(await reads.authChain(room, page.map(({ nid }) => nid)), origin);
    return `{"events":[${pdus.join(",")}],"limited":${isLimited},"auth_chain":[${chain.join(",")}]}`;
  }

  /** Returns what `unsigned` tells of children; where another server knows of more, what that one said. */
  async #unsigned(page: readonly StoredEvent[]): Promise<Map<number, string>> {
    const { db } = this.#deps;
    const texts = new Map<number, string>();
    for (const stored of page) {
      const own = sumUp(await childrenOf(db, stored));
      const told = await selectTold(db, stored.nid);
      const best = told !== null && totalOf(told) > totalOf(own) ? told : own;
      if (totalOf(best) > 0) texts.set(stored.nid, unsignedText(best));
    }
    return texts;
  }
}

function childrenOf(db: Database, { event: { eventId }, roomNid }: StoredEvent): Promise<ChildRow[]> {
  return selectChildren(db, { eventId, roomNid, limit: MAX_CHILDREN });
}

/** Returns the part of the walk that is asked for, and whether more follows. */
async function pageOf(
  source: ThreadSource,
  { anchor, query: { limit, skip, options } }: { anchor: StoredEvent; query: ThreadQuery },
): Promise<{ page: StoredEvent[]; isLimited: boolean }> {
  const page: StoredEvent[] = [];
  let place = 0;
  for await (const stored of walkThread(source, { anchor, options })) {
    if (page.length === limit) return { page, isLimited: place < MAX_VISITED };
    if (place++ >= skip) page.push(stored);
  }
  return { page, isLimited: false };
}

/** What a client's user may see, with what other servers have. */
class ClientSource implements ThreadSource {
  readonly #deps: RelationshipsDeps;
  readonly #reading: Reading;
  readonly #viewer: Viewer;
  readonly #fetcher: ThreadFetcher;

  constructor(
    deps: RelationshipsDeps,
    { reading, viewer, query }: { reading: Reading; viewer: Viewer; query: ThreadQuery },
  ) {
    this.#deps = deps;
    this.#reading = reading;
    this.#viewer = viewer;
    const { room, kind } = reading.access;
    const history = kind === "joined" ? deps.history.current : null;
    this.#fetcher = new ThreadFetcher({ ...deps, history, room, body: query.body });
  }

  /** Returns an event of the room that may be seen, fetched where it is not here. */
  async find(eventId: EventId): Promise<StoredEvent | null> {
    const { events } = this.#deps;
    let stored = await events.getById(eventId);
    if (stored === null && await this.#fetcher.fetch(eventId)) stored = await events.getById(eventId);
    return stored === null ? null : await this.#ifVisible(stored);
  }

  async parent({ nid }: StoredEvent): Promise<StoredEvent | null> {
    const parentId = await selectParent(this.#deps.db, nid);
    return parentId === null ? null : await this.find(parentId);
  }

  async children(stored: StoredEvent): Promise<StoredEvent[]> {
    const { db, events } = this.#deps;
    await this.#fetcher.explore(stored, () => childrenOf(db, stored));
    const rows = await childrenOf(db, stored);
    const found = await events.byNid(rows.map(({ nid }) => nid));
    const visible: StoredEvent[] = [];
    for (const { nid } of rows) {
      const child = found.get(nid);
      const shown = child === undefined ? null : await this.#ifVisible(child);
      if (shown !== null) visible.push(shown);
    }
    return visible;
  }

  async #ifVisible(stored: StoredEvent): Promise<StoredEvent | null> {
    const { visibility } = this.#deps;
    const { access } = this.#reading;
    if (stored.roomNid !== access.room.roomNid) return null;
    if (!stored.isOutlier) return (await visibility.filter([stored], this.#viewer))[0]?.stored ?? null;
    if (stored.isRejected || access.kind !== "joined" || this.#viewer.ignored.has(stored.event.sender)) return null;
    if (visibility.isErased(stored.event.sender)) return null;
    const setting = await visibility.settingAt(access.root);
    return setting === "shared" || setting === "world_readable" ? stored : null;
  }
}

interface ServerSourceDeps extends Pick<RelationshipsDeps, "db" | "events"> {
  isVisible(stored: StoredEvent): Promise<boolean>;
}

/** What a server may see of what is here. */
class ServerSource implements ThreadSource {
  readonly #deps: ServerSourceDeps;

  constructor(deps: ServerSourceDeps) {
    this.#deps = deps;
  }

  async find(eventId: EventId): Promise<StoredEvent | null> {
    const stored = await this.#deps.events.getById(eventId);
    return stored !== null && await this.#isShown(stored) ? stored : null;
  }

  async parent({ nid, roomNid }: StoredEvent): Promise<StoredEvent | null> {
    const parentId = await selectParent(this.#deps.db, nid);
    const parent = parentId === null ? null : await this.find(parentId);
    return parent?.roomNid === roomNid ? parent : null;
  }

  async children(stored: StoredEvent): Promise<StoredEvent[]> {
    const { db, events } = this.#deps;
    const rows = await childrenOf(db, stored);
    const found = await events.byNid(rows.map(({ nid }) => nid));
    const visible: StoredEvent[] = [];
    for (const { nid } of rows) {
      const child = found.get(nid);
      if (child !== undefined && await this.#isShown(child)) visible.push(child);
    }
    return visible;
  }

  /** Outliers are not ours to judge. */
  async #isShown(stored: StoredEvent): Promise<boolean> {
    if (stored.isOutlier || stored.isRejected || stored.isSoftFailed) return false;
    return await this.#deps.isVisible(stored);
  }
}
