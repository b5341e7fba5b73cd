/** The power levels that new rooms start with, and how an upgrade changes them. */
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import { isJsonObject } from "../protocol/json.ts";
import type { RoomVersionRules } from "../protocol/room_versions.ts";

const ADMIN_LEVEL = 100;
const MODERATOR_LEVEL = 50;
/** Since v12 upgrading takes more than any number of ordinary admins have. */
const TOMBSTONE_LEVEL_WITH_CREATORS = 150;
const INTEGER_STRING = /^\s*[+-]?\d{1,15}\s*$/;

/** Returns the power levels of a new room before any override. Since v12 creators are not listed. */
export function defaultPowerLevels(
  rules: RoomVersionRules,
  { creator, admins, invite, callInvite }: {
    creator: string;
    admins: readonly string[];
    invite: number;
    /** What calling everybody takes, where it is more than sending a message. */
    callInvite: number | null;
  },
): JsonObject {
  const listed = rules.privilegedCreators ? [] : [creator, ...admins];
  return {
    ban: MODERATOR_LEVEL,
    events: {
      ...(callInvite === null ? {} : { "m.call.invite": callInvite }),
      "m.room.avatar": MODERATOR_LEVEL,
      "m.room.canonical_alias": MODERATOR_LEVEL,
      "m.room.encryption": ADMIN_LEVEL,
      "m.room.history_visibility": ADMIN_LEVEL,
      "m.room.name": MODERATOR_LEVEL,
      "m.room.power_levels": ADMIN_LEVEL,
      "m.room.server_acl": ADMIN_LEVEL,
      "m.room.tombstone": rules.privilegedCreators ? TOMBSTONE_LEVEL_WITH_CREATORS : ADMIN_LEVEL,
    },
    events_default: 0,
    historical: ADMIN_LEVEL,
    invite,
    kick: MODERATOR_LEVEL,
    redact: MODERATOR_LEVEL,
    state_default: MODERATOR_LEVEL,
    users: Object.fromEntries(listed.map((userId) => [userId, ADMIN_LEVEL])),
    users_default: 0,
  };
}

/** Returns the levels of a room that has been replaced: nobody below a moderator speaks or invites any more. */
export function closedPowerLevels(content: Readonly<JsonObject>): JsonObject {
  const restricted = Math.max(MODERATOR_LEVEL, levelOf(content["users_default"], 0) + 1);
  return {
    ...content,
    events_default: Math.max(levelOf(content["events_default"], 0), restricted),
    invite: Math.max(levelOf(content["invite"], 0), restricted),
  };
}

/** Returns the levels for the room that replaces another, in the form its version asks for. */
export function carriedPowerLevels(
  content: Readonly<JsonObject>,
  { rules, creators, upgrader }: { rules: RoomVersionRules; creators: readonly string[]; upgrader: string },
): JsonObject {
  const carried = rules.integerPowerLevels ? withIntegers(content) : { ...content };
  const users: JsonObject = isJsonObject(carried["users"]) ? { ...carried["users"] } : {};
  const events: JsonObject = isJsonObject(carried["events"]) ? { ...carried["events"] } : {};
  if (rules.privilegedCreators) {
    for (const creator of creators) delete users[creator];
    const stateDefault = levelOf(carried["state_default"], MODERATOR_LEVEL);
    const tombstone = levelOf(events["m.room.tombstone"], 0);
    events["m.room.tombstone"] = Math.max(tombstone, TOMBSTONE_LEVEL_WITH_CREATORS, stateDefault + 1);
  } else if (!Object.values(users).some((level) => levelOf(level, 0) >= ADMIN_LEVEL)) {
    // As after a version in which creators stood above all levels: somebody must be able to govern the room.
    users[upgrader] = ADMIN_LEVEL;
  }
  return { ...carried, events, users };
}

/** Returns levels with which the upgrader can set up the room; the same object where that needs no change. */
export function setupPowerLevels(
  content: JsonObject,
  { rules, upgrader }: { rules: RoomVersionRules; upgrader: string },
): JsonObject {
  if (rules.privilegedCreators) return content;
  const users = isJsonObject(content["users"]) ? content["users"] : {};
  const events = isJsonObject(content["events"]) ? Object.values(content["events"]) : [];
  const needed = [...events, content["state_default"], content["ban"], ...Object.values(users)]
    .reduce<number>((highest, level) => Math.max(highest, levelOf(level, 0)), ADMIN_LEVEL);
  if (levelOf(users[upgrader], levelOf(content["users_default"], 0)) >= needed) return content;
  return { ...content, users: { ...users, [upgrader]: needed } };
}

/** Since v10 levels are integers; before, they could be strings. What is neither is left out. */
function withIntegers(content: Readonly<JsonObject>): JsonObject {
  const result: JsonObject = {};
  for (const [key, value] of Object.entries(content)) {
    if (isJsonObject(value)) result[key] = withIntegers(value);
    else if (typeof value !== "string") result[key] = value;
    else if (INTEGER_STRING.test(value)) result[key] = Number(value);
  }
  return result;
}

function levelOf(value: JsonValue | undefined, fallback: number): number {
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  if (typeof value === "string" && INTEGER_STRING.test(value)) return Number(value);
  return fallback;
}
