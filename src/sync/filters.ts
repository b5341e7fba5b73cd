/** Filters as clients store and use them. Spec: client-server API, "Filtering". */
import { createHash } from "node:crypto";
import { LruCache } from "../lib/lru.ts";
import { canonicalJson } from "../protocol/canonical_json.ts";
import { badJson, invalidParam, MatrixError, notFound, notJson, tooLarge } from "../protocol/errors.ts";
import { type EventFilter, parseRoomEventFilter, parseSyncFilter, type SyncFilter } from "../protocol/filter.ts";
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { countFilters, insertFilter, selectFilter, selectFilterByHash } from "../storage/filters.ts";

const MAX_FILTER_BYTES = 65_536;
const MAX_FILTERS_PER_USER = 1_000;
const CACHED_FILTERS = 10_000;
/** Longer ones are parsed anew rather than kept by their text. */
const MAX_SHARED_CHARACTERS = 4_096;
const FILTER_ID = /^(0|[1-9][0-9]{0,8})$/;

/** Stores filters and turns what clients name into what sync evaluates. */
export class Filters {
  readonly #db: Database;
  readonly #parsed = new LruCache<string, SyncFilter>({ name: "sync_filters", maxEntries: CACHED_FILTERS });
  readonly #everything: SyncFilter;
  readonly #maxTimeline: number;

  /** `maxTimeline` bounds how many events of a timeline a filter gets (`filter_timeline_limit`); -1 is no bound. */
  constructor({ db, maxTimeline = -1 }: { db: Database; maxTimeline?: number }) {
    this.#db = db;
    this.#maxTimeline = maxTimeline;
    this.#everything = checked(parseSyncFilter({}));
  }

  /** Stores a filter and returns its id; the same filter gets the same id. Throws 400 for an invalid one. */
  async create(userId: UserId, filter: JsonObject): Promise<string> {
    checked(parseSyncFilter(filter));
    const json = canonicalText(filter);
    if (json.length > MAX_FILTER_BYTES) throw tooLarge("Filter is too large");
    const hash = createHash("sha256").update(json).digest("hex");
    const known = await selectFilterByHash(this.#db, { userId, hash });
    if (known !== null) return String(known);
    return await this.#db.transaction(async (tx) => {
      while (true) {
        const filterId = await countFilters(tx, userId);
        if (filterId >= MAX_FILTERS_PER_USER) throw new MatrixError(400, "M_LIMIT_EXCEEDED", "Too many filters");
        if (await insertFilter(tx, { userId, filterId, hash, json })) return String(filterId);
        const raced = await selectFilterByHash(tx, { userId, hash });
        if (raced !== null) return String(raced);
      }
    });
  }

  /** Returns a stored filter as text. Throws 404 when there is none. */
  async get(userId: UserId, filterId: string): Promise<string> {
    const json = FILTER_ID.test(filterId) ? await selectFilter(this.#db, { userId, filterId: Number(filterId) }) : null;
    if (json === null) throw notFound("No such filter");
    return json;
  }

  /** Returns the filter of a `filter` parameter of sync: an id, JSON, or null for everything. */
  async resolve(userId: UserId, text: string | null): Promise<SyncFilter> {
    if (text === null || text === "") return this.#everything;
    if (text.startsWith("{")) return this.#parse(text);
    const key = `${userId} ${text}`;
    const cached = this.#parsed.get(key);
    if (cached !== undefined) return cached;
    const filter = this.#parse(await this.#stored(userId, text));
    this.#parsed.set(key, filter);
    return filter;
  }

  /** Returns the same filter for the same text, whoever has it: what is made for one who asks by it serves the others. */
  #parse(text: string): SyncFilter {
    const cached = this.#parsed.get(text);
    if (cached !== undefined) return cached;
    const filter = this.#bounded(checked(parseSyncFilter(parseText(text))));
    if (text.length <= MAX_SHARED_CHARACTERS) this.#parsed.set(text, filter);
    return filter;
  }

  #bounded(filter: SyncFilter): SyncFilter {
    const { room } = filter;
    const { limit } = room.timeline;
    if (this.#maxTimeline < 0 || limit === null || limit <= this.#maxTimeline) return filter;
    return { ...filter, room: { ...room, timeline: { ...room.timeline, limit: this.#maxTimeline } } };
  }

  async #stored(userId: UserId, filterId: string): Promise<string> {
    const json = FILTER_ID.test(filterId) ? await selectFilter(this.#db, { userId, filterId: Number(filterId) }) : null;
    if (json === null) throw invalidParam("No such filter");
    return json;
  }
}

/** Parses the `filter` parameter of `/messages` and `/context`. Throws 400 for an invalid one. */
export function readRoomEventFilter(text: string | null): EventFilter | null {
  return text === null || text === "" ? null : checked(parseRoomEventFilter(parseText(text)));
}

function parseText(text: string): unknown {
  if (text.length > MAX_FILTER_BYTES) throw tooLarge("Filter is too large");
  try {
    return JSON.parse(text);
  } catch {
    throw notJson("Filter is not JSON");
  }
}

function checked<F>(
  parsed: { readonly filter: F; readonly error: null } | { readonly filter: null; readonly error: string },
): F {
  if (parsed.error !== null) throw badJson(parsed.error);
  return parsed.filter;
}

/** Filters may hold what canonical JSON forbids; those are told apart by their plain text. */
function canonicalText(filter: JsonObject): string {
  try {
    return canonicalJson(filter);
  } catch {
    return JSON.stringify(filter);
  }
}
