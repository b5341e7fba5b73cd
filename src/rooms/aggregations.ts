/**
 * What is bundled with an event from those that relate to it (`unsigned.m.relations`).
 * Spec: client-server API, "Aggregations of child events": edits, threads and references.
 *
 * What relates to an event is found for a whole page at once and kept, the same for all readers; who reads decides what
 * of it they see. Most events have nothing, which is kept too. Every write that adds or redacts a relation forgets what
 * was kept of its target.
 */
import { LruCache } from "../lib/lru.ts";
import type { EventId, RoomId, UserId } from "../protocol/ids.ts";
import { isJsonObject } from "../protocol/json.ts";
import type { Db, Tx } from "../storage/database.ts";
import {
  type ReferenceRow,
  selectBundledKinds,
  selectEdits,
  selectReferences,
  selectThreadSenders,
  type ThreadSenderRow,
} from "../storage/relations.ts";
import { refreshThread, upsertThread } from "../storage/threads.ts";
import { MAX_POSITION } from "../storage/timeline.ts";
import type { EventStore } from "./event_store.ts";
import type { PersistedBatch } from "./pending.ts";
import { relationOf } from "./relation.ts";
import type { EventRenderer } from "./renderer.ts";
import type { RoomReaders } from "./room_access.ts";
import type { StoredEvent } from "./types.ts";
import type { Viewer, Visibility } from "./visibility.ts";

/** What aggregations are built from. */
export interface AggregationsDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly renderer: EventRenderer;
  readonly readers: RoomReaders;
  readonly visibility: Visibility;
}

/** What relates to one event, whoever reads it. */
interface Children {
  /** The latest first. */
  readonly edits: readonly number[];
  readonly references: readonly ReferenceRow[];
  readonly thread: readonly ThreadSenderRow[];
}

type MutableChildren = { edits: number[]; references: ReferenceRow[]; thread: ThreadSenderRow[] };

const NONE: Children = { edits: [], references: [], thread: [] };
const EMPTY: ReadonlyMap<number, string> = new Map();
const MAX_CACHED = 50_000;

/** Bundles aggregations with events. */
export class Aggregations {
  readonly #deps: AggregationsDeps;
  readonly #cache = new LruCache<EventId, Children>({ name: "aggregations", maxEntries: MAX_CACHED });
  /** Reads under way, each with the targets that were written to meanwhile. */
  readonly #reads = new Set<Set<string>>();

  constructor(deps: AggregationsDeps) {
    this.#deps = deps;
  }

  /** Returns the text of `unsigned.m.relations` for those of the events that have any; the renderer's hook. */
  readonly bundle = async (events: readonly StoredEvent[], userId: UserId): Promise<ReadonlyMap<number, string>> => {
    return await this.#bundle(events, { userId, nested: false });
  };

  /** The engine's handler: keeps the list of threads and forgets what was kept of the targets. */
  readonly onPersist = async (tx: Tx, { room, events }: PersistedBatch): Promise<void> => {
    const targets: string[] = [];
    for (const { stored, redacts } of events) {
      const relation = relationOf(stored.event);
      if (relation !== null && stored.position !== null && !stored.isRejected && !stored.isSoftFailed) {
        targets.push(relation.relatesToId);
        if (relation.relType === "m.thread") {
          const { roomNid } = room;
          await upsertThread(tx, { roomNid, rootId: relation.relatesToId, position: stored.position });
        }
      }
      if (redacts !== null) targets.push(...await undoRelation(tx, redacts));
    }
    if (targets.length > 0) tx.afterCommit(() => this.forget(targets));
  };

  /** Takes out of the sums what redacted events stood for. */
  async takeBack(tx: Tx, redacted: readonly StoredEvent[]): Promise<void> {
    const targets: string[] = [];
    for (const stored of redacted) targets.push(...await undoRelation(tx, stored));
    if (targets.length > 0) tx.afterCommit(() => this.forget(targets));
  }

  /** Forgets what is kept of events, after something that relates to them was written. */
  forget(targets: Iterable<string>): void {
    for (const target of targets) {
      this.#cache.delete(target as EventId);
      for (const read of this.#reads) read.add(target);
    }
  }

  async #bundle(
    events: readonly StoredEvent[],
    { userId, nested }: { userId: UserId; nested: boolean },
  ): Promise<ReadonlyMap<number, string>> {
    const targets = events.filter(mayHaveChildren);
    if (targets.length === 0) return EMPTY;
    const children = await this.#children(targets.map(({ event }) => event.eventId));
    const found = targets.filter(({ event }) => children.has(event.eventId));
    if (found.length === 0) return EMPTY;
    const bundles = new Map<number, string>();
    const viewers = new Map<RoomId, Viewer | null>();
    for (const target of found) {
      const { roomId, eventId } = target.event;
      const viewer = viewers.get(roomId) ?? await this.#viewer(userId, roomId);
      viewers.set(roomId, viewer);
      if (viewer === null) continue;
      const all = viewer.upTo === null
        ? children.get(eventId)
        : (await this.#read([eventId], viewer.upTo)).get(eventId);
      const text = all === undefined ? null : await this.#text(target, { children: all, viewer, userId, nested });
      if (text !== null) bundles.set(target.nid, text);
    }
    return bundles;
  }

  async #viewer(userId: UserId, roomId: RoomId): Promise<Viewer | null> {
    const { readers } = this.#deps;
    const access = await readers.find(userId, roomId);
    return access === null ? null : await readers.viewer({ requester: { userId, deviceId: null }, access });
  }

  async #text(
    target: StoredEvent,
    { children, viewer, userId, nested }: { children: Children; viewer: Viewer; userId: UserId; nested: boolean },
  ): Promise<string | null> {
    const parts: string[] = [];
    const references = children.references.filter(({ sender }) => !viewer.ignored.has(sender));
    if (references.length > 0) {
      const chunk = references.map(({ eventId }) => `{"event_id":${JSON.stringify(eventId)}}`);
      parts.push(`"m.reference":{"chunk":[${chunk.join(",")}]}`);
    }
    const edit = target.redactedByNid === null ? await this.#edit(target, { children, viewer }) : null;
    if (edit !== null) {
      const view = { requester: null, roomId: true, previous: false } as const;
      parts.push(`"m.replace":${await this.#deps.renderer.renderOne(edit, view)}`);
    }
    const thread = nested ? null : await this.#thread(target, { children, viewer, userId });
    if (thread !== null) parts.push(`"m.thread":${thread}`);
    return parts.length === 0 ? null : `{${parts.join(",")}}`;
  }

  /** Returns the edit in force. Spec: "Validity of replacement events". */
  async #edit(
    target: StoredEvent,
    { children, viewer }: { children: Children; viewer: Viewer },
  ): Promise<StoredEvent | null> {
    if (children.edits.length === 0) return null;
    const { events, visibility } = this.#deps;
    const stored = await events.byNid(children.edits);
    const candidates = children.edits.flatMap((nid) => stored.get(nid) ?? [])
      .filter((edit) => edit.redactedByNid === null && hasNewContent(edit) && edit.roomNid === target.roomNid);
    for (const candidate of candidates) {
      if ((await visibility.filter([candidate], viewer)).length > 0) return candidate;
    }
    return null;
  }

  async #thread(
    target: StoredEvent,
    { children, viewer, userId }: { children: Children; viewer: Viewer; userId: UserId },
  ): Promise<string | null> {
    const senders = children.thread.filter(({ sender }) => !viewer.ignored.has(sender));
    const latest = await this.#latest(senders, viewer);
    if (latest === null) return null;
    const { renderer } = this.#deps;
    const relations = await this.#bundle([latest], { userId, nested: true });
    const event = await renderer.renderOne(latest, { requester: null, roomId: true, previous: false, relations });
    const count = senders.reduce((sum, sender) => sum + sender.count, 0);
    const participated = target.event.sender === userId || senders.some(({ sender }) => sender === userId);
    return `{"latest_event":${event},"count":${count},"current_user_participated":${participated}}`;
  }

  async #latest(senders: readonly ThreadSenderRow[], viewer: Viewer): Promise<StoredEvent | null> {
    const { events, visibility } = this.#deps;
    for (const { latestNid } of [...senders].sort((a, b) => b.latestPosition - a.latestPosition)) {
      const stored = await events.getByNid(latestNid);
      if (stored !== null && (await visibility.filter([stored], viewer)).length > 0) return stored;
    }
    return null;
  }

  /** Returns what relates to these events, for those that have anything. */
  async #children(eventIds: readonly EventId[]): Promise<Map<EventId, Children>> {
    const found = new Map<EventId, Children>();
    const missing: EventId[] = [];
    for (const id of eventIds) {
      const cached = this.#cache.get(id);
      if (cached === undefined) missing.push(id);
      else if (cached !== NONE) found.set(id, cached);
    }
    if (missing.length === 0) return found;
    const stale = new Set<string>();
    this.#reads.add(stale);
    try {
      const read = await this.#read(missing, MAX_POSITION);
      for (const id of missing) {
        const children = read.get(id);
        if (!stale.has(id)) this.#cache.set(id, children ?? NONE);
        if (children !== undefined) found.set(id, children);
      }
    } finally {
      this.#reads.delete(stale);
    }
    return found;
  }

  async #read(wanted: readonly EventId[], upTo: number): Promise<Map<EventId, Children>> {
    const { db } = this.#deps;
    const found = new Map<EventId, MutableChildren>();
    const kinds = await selectBundledKinds(db, wanted);
    if (kinds.length === 0) return found;
    const of = (relType: string) => {
      const eventIds = kinds.filter((kind) => kind.relType === relType).map(({ targetId }) => targetId);
      return { eventIds, upTo };
    };
    const [edits, references, threads] = [of("m.replace"), of("m.reference"), of("m.thread")];
    const childrenOf = (id: EventId): MutableChildren => {
      const known = found.get(id) ?? { edits: [], references: [], thread: [] };
      found.set(id, known);
      return known;
    };
    const [editRows, referenceRows, threadRows] = await Promise.all([
      edits.eventIds.length === 0 ? [] : selectEdits(db, edits),
      references.eventIds.length === 0 ? [] : selectReferences(db, references),
      threads.eventIds.length === 0 ? [] : selectThreadSenders(db, threads),
    ]);
    for (const row of editRows) childrenOf(row.targetId).edits.push(row.nid);
    for (const row of referenceRows) childrenOf(row.targetId).references.push(row);
    for (const row of threadRows) childrenOf(row.targetId).thread.push(row);
    return found;
  }
}

/** State is not aggregated, and what edits or annotates has no children of its own. */
function mayHaveChildren({ event, isOutlier }: StoredEvent): boolean {
  if (event.stateKey !== null || isOutlier) return false;
  const relates = event.content["m.relates_to"];
  if (!isJsonObject(relates)) return true;
  return relates.rel_type !== "m.replace" && relates.rel_type !== "m.annotation";
}

function hasNewContent({ event }: StoredEvent): boolean {
  return isJsonObject(event.content["m.new_content"]) || event.type === "m.room.encrypted";
}

/** Brings up to date what is stored of a thread that lost an event; returns what the event related to. */
async function undoRelation(tx: Tx, { event, roomNid }: StoredEvent): Promise<string[]> {
  const undone = relationOf(event);
  if (undone === null) return [];
  if (undone.relType === "m.thread") await refreshThread(tx, { roomNid, rootId: undone.relatesToId });
  return [undone.relatesToId];
}
