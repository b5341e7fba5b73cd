/** What a search asks for. Spec: client-server API, `POST /search`. */
import { badJson, invalidParam, MatrixError, missingParam } from "../protocol/errors.ts";
import { type EventFilter, parseRoomEventFilter } from "../protocol/filter.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";

/** By what results are grouped. */
export type GroupKey = "room_id" | "sender";

/** How much around each result is shown. */
export interface ContextWish {
  readonly before: number;
  readonly after: number;
  readonly profiles: boolean;
}

/** A search of messages. */
export interface SearchCriteria {
  readonly term: string;
  /** Null for all. */
  readonly fields: readonly string[] | null;
  readonly filter: EventFilter;
  readonly orderBy: "rank" | "recent";
  readonly context: ContextWish | null;
  readonly includeState: boolean;
  readonly groupBy: readonly GroupKey[];
  readonly limit: number;
}

/** Where the next page begins; within one group where that was asked for. */
export interface SearchPlace {
  readonly before: number;
  readonly group: { readonly key: GroupKey; readonly value: string } | null;
}

const FIELDS: readonly string[] = ["content.body", "content.name", "content.topic"];
const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;
const DEFAULT_CONTEXT = 5;
const MAX_CONTEXT = 50;
const MAX_TERM_LENGTH = 1_000;

/** Parses the body; null when it asks for no category that there is. */
export function parseSearchBody(body: JsonObject): SearchCriteria | null {
  const categories = body.search_categories;
  if (categories === undefined) throw missingParam("search_categories");
  if (!isJsonObject(categories)) throw badJson('"search_categories" must be an object');
  const wanted = categories.room_events;
  if (wanted === undefined) return null;
  if (!isJsonObject(wanted)) throw badJson('"room_events" must be an object');
  const { filter, error } = parseRoomEventFilter(wanted.filter ?? {});
  if (filter === null) throw new MatrixError(400, "M_INVALID_PARAM", error);
  return {
    term: parseTerm(wanted.search_term),
    fields: parseFields(wanted.keys),
    filter,
    orderBy: parseOrder(wanted.order_by),
    context: parseContext(wanted.event_context),
    includeState: flag(wanted.include_state, "include_state"),
    groupBy: parseGroups(wanted.groupings),
    limit: Math.min(filter.limit ?? DEFAULT_LIMIT, MAX_LIMIT),
  };
}

/** Returns the token for a place. */
export function formatSearchPlace({ before, group }: SearchPlace): string {
  return group === null ? `n1_${before}` : `n1_${before}_${group.key}_${group.value}`;
}

/** Parses a token. Throws 400 for one that this server did not make. */
export function parseSearchPlace(token: string): SearchPlace {
  const match = /^n1_(-?[0-9]{1,16})(?:_(room_id|sender)_(.{1,255}))?$/.exec(token);
  if (match === null) throw invalidParam("Invalid batch");
  const [, before, key, value] = match;
  const group = key === undefined || value === undefined ? null : { key: key as GroupKey, value };
  return { before: Number(before), group };
}

function parseTerm(term: JsonValue | undefined): string {
  if (term === undefined) throw missingParam("search_term");
  if (typeof term !== "string") throw badJson('"search_term" must be a string');
  if (term.length > MAX_TERM_LENGTH) throw invalidParam('"search_term" is too long');
  return term;
}

function parseFields(keys: JsonValue | undefined): readonly string[] | null {
  if (keys === undefined) return null;
  if (!Array.isArray(keys)) throw badJson('"keys" must be a list');
  return keys.map((key) => {
    if (typeof key !== "string" || !FIELDS.includes(key)) throw invalidParam("Unknown key to search");
    return key;
  });
}

function parseOrder(order: JsonValue | undefined): "rank" | "recent" {
  if (order === undefined) return "rank";
  if (order !== "rank" && order !== "recent") throw invalidParam('"order_by" must be "rank" or "recent"');
  return order;
}

function parseContext(context: JsonValue | undefined): ContextWish | null {
  if (context === undefined) return null;
  if (!isJsonObject(context)) throw badJson('"event_context" must be an object');
  return {
    before: count(context.before_limit, "before_limit"),
    after: count(context.after_limit, "after_limit"),
    profiles: flag(context.include_profile, "include_profile"),
  };
}

function parseGroups(groupings: JsonValue | undefined): GroupKey[] {
  if (groupings === undefined) return [];
  if (!isJsonObject(groupings)) throw badJson('"groupings" must be an object');
  const { group_by: groups = [] } = groupings;
  if (!Array.isArray(groups)) throw badJson('"group_by" must be a list');
  const keys = groups.map((group) => {
    const key = isJsonObject(group) ? group.key : undefined;
    if (key !== "room_id" && key !== "sender") throw invalidParam("Invalid group by keys");
    return key;
  });
  return [...new Set(keys)];
}

function flag(value: JsonValue | undefined, name: string): boolean {
  if (value === undefined) return false;
  if (typeof value !== "boolean") throw badJson(`"${name}" must be a boolean`);
  return value;
}

function count(value: JsonValue | undefined, name: string): number {
  if (value === undefined) return DEFAULT_CONTEXT;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw badJson(`"${name}" must be a non-negative integer`);
  }
  return Math.min(value, MAX_CONTEXT);
}
