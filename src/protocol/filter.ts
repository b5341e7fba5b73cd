/**
 * Filters: parsing with bounds, and evaluation. Spec: client-server API, "Filtering".
 *
 * A parsed filter is compiled: lists become sets, wildcards become tests, and a part that restricts nothing is told by
 * `matchesAll`, so that the common case costs nothing per event.
 */
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

/** What a filter looks at in an event. */
export interface Filterable {
  readonly type: string;
  readonly sender: string;
  readonly content: Readonly<JsonObject>;
}

/** A compiled `EventFilter` or `RoomEventFilter`. */
export interface EventFilter {
  /** Null when the client named none. 0 is allowed and asks for no events. */
  readonly limit: number | null;
  /** Nothing but `limit`, the rooms and the members' options is restricted. */
  readonly matchesAll: boolean;
  /** `types` is an empty list, or so is `senders`: no event can match. */
  readonly matchesNone: boolean;
  readonly rooms: ReadonlySet<string> | null;
  readonly notRooms: ReadonlySet<string>;
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  readonly unreadThreadNotifications: boolean;
  /** Relation types to include or leave out (MSC3874). */
  readonly relTypes: ReadonlySet<string> | null;
  readonly notRelTypes: ReadonlySet<string>;
  /** Tells whether an event passes by type, sender, content and relation; rooms are the caller's to check. */
  matches(event: Filterable): boolean;
}

/** A compiled filter of `/sync`. */
export interface SyncFilter {
  /** Dotted paths split at unescaped dots, or null for whole events. */
  readonly eventFields: readonly (readonly string[])[] | null;
  readonly eventFormat: "client" | "federation";
  readonly presence: EventFilter;
  readonly accountData: EventFilter;
  readonly room: {
    readonly rooms: ReadonlySet<string> | null;
    readonly notRooms: ReadonlySet<string>;
    readonly includeLeave: boolean;
    readonly ephemeral: EventFilter;
    readonly accountData: EventFilter;
    readonly state: EventFilter;
    readonly timeline: EventFilter;
  };
}

/** The outcome of parsing: a filter, or what is wrong with it. */
export type ParsedFilter<F> = { readonly filter: F; readonly error: null } | {
  readonly filter: null;
  readonly error: string;
};

const MAX_LIST = 1_000;
const MAX_ITEM_LENGTH = 1_024;

class FilterProblem extends Error {}

/** Parses the filter of `/sync`; unknown keys are ignored, wrong types and oversized lists are errors. */
export function parseSyncFilter(value: unknown): ParsedFilter<SyncFilter> {
  return attempt(() => {
    const top = section(value, "filter");
    const room = section(top.room, "room");
    return {
      eventFields: eventFields(top.event_fields),
      eventFormat: oneOf(top.event_format, "event_format"),
      presence: eventFilter(top.presence, "presence"),
      accountData: eventFilter(top.account_data, "account_data"),
      room: {
        rooms: stringSet(room.rooms, { name: "room.rooms", sigil: "!" }),
        notRooms: stringSet(room.not_rooms, { name: "room.not_rooms", sigil: "!" }) ?? EMPTY,
        includeLeave: flag(room.include_leave, "room.include_leave"),
        ephemeral: eventFilter(room.ephemeral, "room.ephemeral"),
        accountData: eventFilter(room.account_data, "room.account_data"),
        state: eventFilter(room.state, "room.state"),
        timeline: eventFilter(room.timeline, "room.timeline"),
      },
    };
  });
}

/** Parses a `RoomEventFilter`, as `/messages`, `/context` and `/search` take it. */
export function parseRoomEventFilter(value: unknown): ParsedFilter<EventFilter> {
  return attempt(() => eventFilter(value, "filter"));
}

/** Tells whether a room passes the room lists of a filter. */
export function matchesRoom(
  filter: { readonly rooms: ReadonlySet<string> | null; readonly notRooms: ReadonlySet<string> },
  roomId: string,
): boolean {
  return (filter.rooms === null || filter.rooms.has(roomId)) && !filter.notRooms.has(roomId);
}

/** Keeps only the listed fields of a rendered event. Spec: `event_fields`. */
export function pickFields(event: JsonObject, fields: readonly (readonly string[])[]): JsonObject {
  const picked: JsonObject = {};
  for (const path of fields) copyPath(path, { from: event, to: picked });
  return picked;
}

const EMPTY: ReadonlySet<string> = new Set();

function copyPath(path: readonly string[], { from, to }: { from: JsonObject; to: JsonObject }): void {
  let source: JsonValue | undefined = from;
  const parents: string[] = [];
  for (const key of path) {
    if (!isJsonObject(source) || !Object.hasOwn(source, key)) return;
    source = source[key];
    parents.push(key);
  }
  const last = parents.pop();
  if (last === undefined || source === undefined) return;
  let target = to;
  for (const key of parents) {
    const next = Object.hasOwn(target, key) ? target[key] : undefined;
    if (isJsonObject(next)) {
      target = next;
    } else {
      const made: JsonObject = {};
      define(target, { key, value: made });
      target = made;
    }
  }
  define(target, { key: last, value: structuredClone(source) });
}

/** Sets an own property whatever its name, `__proto__` included. */
function define(target: JsonObject, { key, value }: { key: string; value: JsonValue }): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

function attempt<F>(parse: () => F): ParsedFilter<F> {
  try {
    return { filter: parse(), error: null };
  } catch (error) {
    if (error instanceof FilterProblem) return { filter: null, error: error.message };
    throw error;
  }
}

function section(value: unknown, name: string): JsonObject {
  if (value === undefined) return {};
  if (!isJsonObject(value)) throw new FilterProblem(`"${name}" must be an object`);
  return value;
}

function flag(value: unknown, name: string): boolean {
  if (value === undefined) return false;
  if (typeof value !== "boolean") throw new FilterProblem(`"${name}" must be a boolean`);
  return value;
}

function oneOf(value: unknown, name: string): "client" | "federation" {
  if (value === undefined) return "client";
  if (value !== "client" && value !== "federation") {
    throw new FilterProblem(`"${name}" must be "client" or "federation"`);
  }
  return value;
}

function stringSet(
  value: unknown,
  { name, sigil }: { name: string; sigil?: string },
): ReadonlySet<string> | null {
  if (value === undefined) return null;
  if (!Array.isArray(value)) throw new FilterProblem(`"${name}" must be a list`);
  if (value.length > MAX_LIST) throw new FilterProblem(`"${name}" has more than ${MAX_LIST} items`);
  const set = new Set<string>();
  for (const item of value) {
    if (typeof item !== "string" || item.length > MAX_ITEM_LENGTH) {
      throw new FilterProblem(`"${name}" must be a list of strings`);
    }
    if (sigil !== undefined && (!item.startsWith(sigil) || (sigil === "@" && !item.includes(":")))) {
      throw new FilterProblem(`"${name}" has an invalid identifier`);
    }
    set.add(item);
  }
  return set;
}

function eventFields(value: unknown): readonly (readonly string[])[] | null {
  const set = stringSet(value, { name: "event_fields" });
  if (set === null) return null;
  return [...set].map((field) => splitField(field));
}

/** Splits a dotted path; `\.` is a dot and `\\` a backslash within a name. */
function splitField(field: string): string[] {
  const parts: string[] = [];
  let part = "";
  for (let index = 0; index < field.length; index++) {
    const char = field[index] ?? "";
    const next = field[index + 1];
    if (char === "\\" && (next === "." || next === "\\")) {
      part += next;
      index++;
    } else if (char === ".") {
      parts.push(part);
      part = "";
    } else {
      part += char;
    }
  }
  parts.push(part);
  return parts;
}

function eventFilter(value: unknown, name: string): EventFilter {
  const source = section(value, name);
  const limit = source.limit ?? null;
  if (limit !== null && (!Number.isInteger(limit) || Number(limit) < 0)) {
    throw new FilterProblem(`"${name}.limit" must be a non-negative integer`);
  }
  const containsUrl = source.contains_url === undefined ? null : flag(source.contains_url, `${name}.contains_url`);
  const types = stringSet(source.types, { name: `${name}.types` });
  const notTypes = stringSet(source.not_types, { name: `${name}.not_types` }) ?? EMPTY;
  const senders = stringSet(source.senders, { name: `${name}.senders`, sigil: "@" });
  const notSenders = stringSet(source.not_senders, { name: `${name}.not_senders`, sigil: "@" }) ?? EMPTY;
  const relTypes = stringSet(source["org.matrix.msc3874.rel_types"] ?? source.rel_types, { name: `${name}.rel_types` });
  const notRelTypes = stringSet(source["org.matrix.msc3874.not_rel_types"] ?? source.not_rel_types, {
    name: `${name}.not_rel_types`,
  }) ?? EMPTY;
  const allowType = types === null ? null : typeTest(types);
  const denyType = notTypes.size === 0 ? null : typeTest(notTypes);
  const matchesAll = allowType === null && denyType === null && senders === null && notSenders.size === 0 &&
    containsUrl === null && relTypes === null && notRelTypes.size === 0;
  return {
    limit: limit as number | null,
    matchesAll,
    matchesNone: types?.size === 0 || senders?.size === 0,
    rooms: stringSet(source.rooms, { name: `${name}.rooms`, sigil: "!" }),
    notRooms: stringSet(source.not_rooms, { name: `${name}.not_rooms`, sigil: "!" }) ?? EMPTY,
    lazyLoadMembers: flag(source.lazy_load_members, `${name}.lazy_load_members`),
    includeRedundantMembers: flag(source.include_redundant_members, `${name}.include_redundant_members`),
    unreadThreadNotifications: flag(source.unread_thread_notifications, `${name}.unread_thread_notifications`),
    relTypes,
    notRelTypes,
    matches(event) {
      if (matchesAll) return true;
      if (allowType !== null && !allowType(event.type)) return false;
      if (denyType !== null && denyType(event.type)) return false;
      if (senders !== null && !senders.has(event.sender)) return false;
      if (notSenders.has(event.sender)) return false;
      if (containsUrl !== null && (typeof event.content.url === "string") !== containsUrl) return false;
      return matchesRelation(event, { relTypes, notRelTypes });
    },
  };
}

function matchesRelation(
  event: Filterable,
  { relTypes, notRelTypes }: { relTypes: ReadonlySet<string> | null; notRelTypes: ReadonlySet<string> },
): boolean {
  if (relTypes === null && notRelTypes.size === 0) return true;
  const relation = event.content["m.relates_to"];
  const relType = isJsonObject(relation) && typeof relation.rel_type === "string" ? relation.rel_type : null;
  if (relTypes !== null && (relType === null || !relTypes.has(relType))) return false;
  return relType === null || !notRelTypes.has(relType);
}

/** Makes a test for event types, where `*` stands for any sequence of characters. */
function typeTest(types: ReadonlySet<string>): (type: string) => boolean {
  const patterns = [...types].filter((type) => type.includes("*")).map((pattern) => pattern.split("*"));
  if (patterns.length === 0) return (type) => types.has(type);
  return (type) => types.has(type) || patterns.some((pieces) => matchesPieces(type, pieces));
}

/** Matches without regular expressions: a hostile pattern costs no more than its length times the text's. */
function matchesPieces(text: string, pieces: readonly string[]): boolean {
  const first = pieces[0] ?? "";
  const last = pieces[pieces.length - 1] ?? "";
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  const end = text.length - last.length;
  let from = first.length;
  for (let index = 1; index < pieces.length - 1; index++) {
    const piece = pieces[index] ?? "";
    const at = text.indexOf(piece, from);
    if (at < 0 || at + piece.length > end) return false;
    from = at + piece.length;
  }
  return true;
}
