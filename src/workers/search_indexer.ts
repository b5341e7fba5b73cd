/**
 * Keeps the search index. Backfilled events have positions that go down from zero; a second cursor follows those.
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
import type { Measure } from "../storage/work_meters.ts";
import type { Notifier } from "../streams/notifier.ts";
import { EventFollower, type FollowedStep } from "./event_follower.ts";

/** What the indexer is built from. */
export interface SearchIndexerDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly notifier: Notifier;
  readonly events: EventStore;
  /** Measures the steps. */
  readonly background?: Measure;
}

const BACKFILL = "search_backfill";
const STEP = 200;
const MAX_WORDS = 2_000;

/** Which part of which event's content is searched. */
const FIELDS: Readonly<Record<string, string>> = {
  "m.room.message": "body",
  "m.room.name": "name",
  "m.room.topic": "topic",
};

/** Follows the events. */
export class SearchIndexer implements AsyncDisposable {
  readonly #deps: SearchIndexerDeps;
  readonly #follower: EventFollower;

  constructor(deps: SearchIndexerDeps) {
    this.#deps = deps;
    this.#follower = new EventFollower({
      ...deps,
      consumer: "search",
      step: (range) => this.#step(range),
      idle: () => this.#stepBackfill(),
    });
  }

  /** Everything up to here is looked at. */
  get position(): number {
    return this.#follower.position;
  }

  /** Goes on where a former run of the server stopped, and then follows what is written. */
  async start(): Promise<void> {
    await this.#follower.start();
  }

  /** Resolves once all that is written now can be found, or after a second. */
  async catchUp(): Promise<void> {
    await this.#follower.catchUp();
  }

  /** Stops after the step under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#follower[Symbol.asyncDispose]();
  }

  async #step({ after, upTo }: { after: number; upTo: number }): Promise<FollowedStep> {
    const rows = await selectSearchableEvents(this.#deps.db, { after, upTo, limit: STEP });
    const position = rows.length < STEP ? upTo : rows.at(-1)?.position ?? upTo;
    if (rows.length === 0) return { position, save: null };
    const { documents, redacted } = await this.#read(rows);
    return {
      position,
      save: async (tx) => {
        await insertSearchDocuments(tx, documents);
        await deleteSearchDocuments(tx, redacted);
      },
    };
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
