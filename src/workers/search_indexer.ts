/**
 * Keeps the search index: follows the events stream with a cursor of its own, in steps that leave room for others, so
 * that sending never waits for it. A search asks it to catch up first.
 *
 * Backfilled events have positions that go down from zero; a second cursor follows those.
 */
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { wordsOf } from "../lib/words.ts";
import type { EventId } from "../protocol/ids.ts";
import type { EventStore } from "../rooms/event_store.ts";
import type { StoredEvent } from "../rooms/types.ts";
import { selectCursor, upsertCursor } from "../storage/consumers.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteSearchDocuments,
  insertSearchDocuments,
  type SearchableEvent,
  type SearchDocument,
  selectSearchableBackfill,
  selectSearchableEvents,
} from "../storage/search.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What the indexer is built from. */
export interface SearchIndexerDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  readonly events: EventStore;
}

const LIVE = "search";
const BACKFILL = "search_backfill";
const STEP = 200;
const UNNOTED = 10_000;
const PAUSE_MS = 100;
const RETRY_DELAY_MS = 10_000;
const MAX_WORDS = 2_000;
/** A search does not wait longer than this for what is not indexed yet. */
const CATCH_UP_MS = 1_000;

/** Which part of which event's content is searched. */
const FIELDS: Readonly<Record<string, string>> = {
  "m.room.message": "body",
  "m.room.name": "name",
  "m.room.topic": "topic",
};

/** Follows the events. */
export class SearchIndexer implements AsyncDisposable {
  readonly #deps: SearchIndexerDeps;
  readonly #stopping = new AbortController();
  #hurry = new AbortController();
  #cursor = 0;
  /** The cursor as it is in the database. */
  #noted = 0;
  #running: Promise<void> | null = null;
  #removeListener: (() => void) | null = null;
  #waiting: { readonly position: number; readonly resolve: () => void }[] = [];

  constructor(deps: SearchIndexerDeps) {
    this.#deps = deps;
  }

  /** Goes on where a former run of the server stopped, and then follows what is written. */
  async start(): Promise<void> {
    this.#cursor = await selectCursor(this.#deps.db, LIVE) ?? 0;
    this.#noted = this.#cursor;
    this.#removeListener = this.#deps.notifier.onPublish((stream) => {
      if (stream === "events") this.#wake();
    });
    this.#wake();
  }

  /** Resolves once all that is written now is indexed, or after a second. */
  async catchUp(): Promise<void> {
    const position = this.#deps.notifier.position("events");
    if (this.#cursor >= position) return;
    const caughtUp = new Promise<void>((resolve) => this.#waiting.push({ position, resolve }));
    this.#hurry.abort();
    this.#wake();
    const expiry = new AbortController();
    await Promise.race([caughtUp, this.#deps.clock.sleep(CATCH_UP_MS, expiry.signal)]);
    expiry.abort();
  }

  /** Stops after the step under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#hurry.abort();
    this.#removeListener?.();
    await this.#running;
  }

  #wake(): void {
    if (this.#running !== null || this.#stopping.signal.aborted) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (this.#cursor < this.#deps.notifier.position("events")) this.#wake();
    });
  }

  async #run(): Promise<void> {
    const { clock, log, notifier } = this.#deps;
    while (!this.#stopping.signal.aborted) {
      this.#hurry = new AbortController();
      if (this.#waiting.length === 0) await clock.sleep(PAUSE_MS, this.#hurry.signal);
      if (this.#stopping.signal.aborted) break;
      try {
        const upTo = notifier.position("events");
        const isDone = await this.#step(upTo);
        this.#answer();
        if (isDone && await this.#stepBackfill() && this.#cursor >= notifier.position("events")) return;
      } catch (error) {
        log.error("Indexing for search failed and will be tried again", { error });
        await clock.sleep(RETRY_DELAY_MS, this.#stopping.signal);
      }
    }
    this.#answer(Number.MAX_SAFE_INTEGER);
  }

  #answer(upTo = this.#cursor): void {
    const ready = this.#waiting.filter(({ position }) => position <= upTo);
    this.#waiting = this.#waiting.filter(({ position }) => position > upTo);
    for (const { resolve } of ready) resolve();
  }

  /** Indexes the next events; returns whether that was all. */
  async #step(upTo: number): Promise<boolean> {
    const { db } = this.#deps;
    const rows = await selectSearchableEvents(db, { after: this.#cursor, upTo, limit: STEP });
    const isDone = rows.length < STEP;
    const position = isDone ? upTo : rows.at(-1)?.position ?? upTo;
    // What holds nothing to index is noted now and then only: a restart looks at it again.
    if (rows.length === 0 && position - this.#noted < UNNOTED) {
      this.#cursor = position;
      return true;
    }
    const { documents, redacted } = await this.#read(rows);
    await db.transaction(async (tx) => {
      await insertSearchDocuments(tx, documents);
      await deleteSearchDocuments(tx, redacted);
      await upsertCursor(tx, { consumer: LIVE, position });
    });
    this.#cursor = position;
    this.#noted = position;
    return isDone;
  }

  async #stepBackfill(): Promise<boolean> {
    const { db } = this.#deps;
    const before = await selectCursor(db, BACKFILL) ?? 0;
    const rows = await selectSearchableBackfill(db, { before, limit: STEP });
    const position = rows.at(-1)?.position;
    if (position === undefined) return true;
    const { documents } = await this.#read(rows);
    await db.transaction(async (tx) => {
      await insertSearchDocuments(tx, documents);
      await upsertCursor(tx, { consumer: BACKFILL, position });
    });
    return rows.length < STEP;
  }

  async #read(rows: readonly SearchableEvent[]): Promise<{ documents: SearchDocument[]; redacted: number[] }> {
    const { events } = this.#deps;
    const stored = await events.byNid(rows.map(({ nid }) => nid));
    const documents: SearchDocument[] = [];
    const targets: EventId[] = [];
    for (const { nid } of rows) {
      const event = stored.get(nid);
      if (event === undefined) continue;
      if (event.event.redacts !== null) targets.push(event.event.redacts);
      const document = documentOf(event);
      if (document !== null) documents.push(document);
    }
    const redacted = [...(await events.byId(targets)).values()].flatMap(({ redactedByNid, position }) =>
      redactedByNid === null || position === null ? [] : [position]
    );
    return { documents, redacted };
  }
}

function documentOf({ event, nid, roomNid, position, redactedByNid }: StoredEvent): SearchDocument | null {
  const key = FIELDS[event.type];
  const text = key === undefined ? undefined : event.content[key];
  if (typeof text !== "string" || position === null || redactedByNid !== null) return null;
  if ((event.type === "m.room.message") !== (event.stateKey === null)) return null;
  const words = wordsOf(text, { max: MAX_WORDS });
  if (words.length === 0) return null;
  return { position, eventNid: nid, roomNid, sender: event.sender, field: `content.${key}`, words };
}
