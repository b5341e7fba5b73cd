/**
 * Power levels: who may do what. Spec: client-server API, "m.room.power_levels", and the room versions' notes on it.
 *
 * Values are read one by one from the event, never all at once: a send needs two or three of perhaps thousands.
 * A level is a finite number, except that creators of version 12 rooms have `Infinity`, which no event can give.
 * A value the version does not allow counts as absent; such events do not pass authorization in the first place.
 */
import type { RoomEvent } from "./event.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** What levels are computed from: the create event, and the power levels event if the room has one. */
export interface PowerLevelSource {
  readonly create: RoomEvent;
  readonly powerLevels: RoomEvent | undefined;
}

/** Actions whose required level is a property of its own. */
export type PowerLevelAction = "ban" | "invite" | "kick" | "redact";

const ACTION_DEFAULTS: Readonly<Record<PowerLevelAction, number>> = { ban: 50, invite: 0, kick: 50, redact: 50 };
const STATE_DEFAULT = 50;
const EVENTS_DEFAULT = 0;
const USERS_DEFAULT = 0;
const NOTIFICATION_DEFAULT = 50;
const CREATOR_LEVEL_WITHOUT_EVENT = 100;

/** The properties of `m.room.power_levels` that hold one level each. */
export const SINGLE_LEVELS = [
  "users_default",
  "events_default",
  "state_default",
  "ban",
  "redact",
  "kick",
  "invite",
] as const;

/** A string as Python's `int()` reads it, as far as the spec allows: white space, one sign, ASCII digits. */
const INTEGER_STRING = /^\s*[+-]?[0-9]+\s*$/;

/**
 * Returns a level as the room version reads it, or null when it does not allow the value.
 *
 * Since v10 only integers; before, also strings holding an integer; v1–v5 have floats, cut off at the decimal point.
 */
export function parsePowerLevel(rules: RoomVersionRules, value: JsonValue | undefined): number | null {
  if (typeof value === "number") {
    if (rules.strictCanonicalJson) return Number.isSafeInteger(value) ? value : null;
    return Number.isFinite(value) ? Math.trunc(value) : null;
  }
  if (typeof value === "string" && !rules.integerPowerLevels && INTEGER_STRING.test(value)) {
    const level = Number(value);
    return Number.isFinite(level) ? level : null;
  }
  return null;
}

/** Returns the users who created the room: the creator, and since v12 the `additional_creators`. */
export function getCreators(create: RoomEvent): readonly string[] {
  if (!create.rules.privilegedCreators) {
    const creator = getCreator(create);
    return creator === null ? [] : [creator];
  }
  const additional = create.content["additional_creators"];
  const others = Array.isArray(additional) ? additional.filter((user) => typeof user === "string") : [];
  return [...new Set([create.sender, ...others])];
}

/** Returns the single creator: `content.creator` up to v10, the sender of the create event since v11. */
export function getCreator(create: RoomEvent): string | null {
  if (!create.rules.creatorInContent) return create.sender;
  const creator = create.content["creator"];
  return typeof creator === "string" ? creator : null;
}

/** Tells whether `userId` has unbounded power in the room: never before v12. */
export function isPrivilegedCreator(create: RoomEvent, userId: string): boolean {
  if (!create.rules.privilegedCreators) return false;
  if (create.sender === userId) return true;
  const additional = create.content["additional_creators"];
  return Array.isArray(additional) && additional.includes(userId);
}

/** Returns a user's level; `Infinity` for creators since v12. */
export function getUserLevel({ create, powerLevels }: PowerLevelSource, userId: string): number {
  if (isPrivilegedCreator(create, userId)) return Infinity;
  if (powerLevels === undefined) {
    if (create.rules.privilegedCreators) return USERS_DEFAULT;
    return getCreator(create) === userId ? CREATOR_LEVEL_WITHOUT_EVENT : USERS_DEFAULT;
  }
  return readEntry(powerLevels, { property: "users", key: userId }) ?? readSingle(powerLevels, "users_default") ??
    USERS_DEFAULT;
}

/** Returns the level needed for `ban`, `invite`, `kick` or `redact`. */
export function getActionLevel({ powerLevels }: PowerLevelSource, action: PowerLevelAction): number {
  if (powerLevels === undefined) return ACTION_DEFAULTS[action];
  return readSingle(powerLevels, action) ?? ACTION_DEFAULTS[action];
}

/** Returns the level needed to send an event of `type`, not counting what memberships and redactions need besides. */
export function getRequiredLevel(
  { powerLevels }: PowerLevelSource,
  { type, isState }: { type: string; isState: boolean },
): number {
  const fallback = isState ? STATE_DEFAULT : EVENTS_DEFAULT;
  if (powerLevels === undefined) return fallback;
  return readEntry(powerLevels, { property: "events", key: type }) ??
    readSingle(powerLevels, isState ? "state_default" : "events_default") ?? fallback;
}

/** Returns the level needed to trigger a notification such as `room`. */
export function getNotificationLevel({ powerLevels }: PowerLevelSource, key: string): number {
  if (powerLevels === undefined) return NOTIFICATION_DEFAULT;
  return readEntry(powerLevels, { property: "notifications", key }) ?? NOTIFICATION_DEFAULT;
}

function readSingle(event: RoomEvent, property: string): number | null {
  return parsePowerLevel(event.rules, ownValue(event.content, property));
}

function readEntry(event: RoomEvent, { property, key }: { property: string; key: string }): number | null {
  const map = ownValue(event.content, property);
  return isJsonObject(map) ? parsePowerLevel(event.rules, ownValue(map, key)) : null;
}

/** Event types and user ids are chosen by others, so "constructor" must not find what objects inherit. */
function ownValue(object: Readonly<JsonObject>, key: string): JsonValue | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
