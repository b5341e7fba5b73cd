/**
 * The authorization rule on `m.room.power_levels`. Spec: "Room versions", rule 10.
 */
import { ALLOWED, type AuthContext, type AuthDecision, levelsOf, reject } from "./auth_rules_context.ts";
import { parseUserId } from "./ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import { getCreators, getUserLevel, parsePowerLevel, SINGLE_LEVELS } from "./power_levels.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** Decides on an `m.room.power_levels` event whose sender may send the type at all. */
export function authorizePowerLevels(context: AuthContext): AuthDecision {
  const { event, create } = context;
  const flaw = findPowerLevelsFlaw(event.rules, event.content);
  if (flaw !== null) return reject(flaw);
  // Rule 10.4 since v12.
  if (create.rules.privilegedCreators && isJsonObject(event.content["users"])) {
    const users = event.content["users"];
    if (getCreators(create).some((creator) => Object.hasOwn(users, creator))) {
      return reject("The power levels must not name a creator of the room");
    }
  }
  const levels = levelsOf(context);
  // Rule 10.2; 10.4 since v10; 10.5 since v12.
  if (levels.powerLevels === undefined) return ALLOWED;
  return compareLevels({
    rules: event.rules,
    before: levels.powerLevels.content,
    after: event.content,
    sender: event.sender,
    senderLevel: getUserLevel(levels, event.sender),
  });
}

/**
 * Returns what is wrong with the form of a power levels content, or null.
 *
 * Up to v9 only `users` must have a form. Other levels may then hold anything as long as nothing is compared with them,
 * and count as absent.
 */
export function findPowerLevelsFlaw(rules: RoomVersionRules, content: Readonly<JsonObject>): string | null {
  if (rules.integerPowerLevels) {
    // Rule 10.1 since v10.
    for (const property of SINGLE_LEVELS) {
      const value = content[property];
      if (value !== undefined && parsePowerLevel(rules, value) === null) return `"${property}" is not a power level`;
    }
    // Rule 10.2 since v10.
    for (const property of ["events", "notifications"]) {
      const flaw = findMapFlaw(rules, { content, property });
      if (flaw !== null) return flaw;
    }
  }
  // Rule 10.1; 10.3 since v10.
  const flaw = findMapFlaw(rules, { content, property: "users" });
  if (flaw !== null) return flaw;
  const users = content["users"];
  const wrong = isJsonObject(users) ? Object.keys(users).find((user) => parseUserId(user) === null) : undefined;
  return wrong === undefined ? null : `"users" has a key that is not a user id: "${wrong}"`;
}

function findMapFlaw(
  rules: RoomVersionRules,
  { content, property }: { content: Readonly<JsonObject>; property: string },
): string | null {
  const map = content[property];
  if (map === undefined) return null;
  if (!isJsonObject(map)) return `"${property}" is not an object`;
  const wrong = Object.entries(map).find(([, value]) => parsePowerLevel(rules, value) === null);
  return wrong === undefined ? null : `"${property}" has a value that is not a power level: "${wrong[0]}"`;
}

interface LevelChanges {
  readonly rules: RoomVersionRules;
  readonly before: Readonly<JsonObject>;
  readonly after: Readonly<JsonObject>;
  readonly sender: string;
  readonly senderLevel: number;
}

/** One level that was added, changed or removed; null where there is none. */
interface LevelChange {
  readonly key: string;
  readonly old: number | null;
  readonly now: number | null;
  /** Up to v9: there is a new value, but it is no level, so that no rule can allow it. */
  readonly isMalformed: boolean;
}

function compareLevels(changes: LevelChanges): AuthDecision {
  const { rules, before, after, sender, senderLevel } = changes;
  // Rule 10.3; 10.5 since v10; 10.6 since v12.
  for (const change of findChanges(rules, { before, after, keys: SINGLE_LEVELS })) {
    if (isBeyond(change, senderLevel)) {
      return reject(`The sender does not have the power level to change "${change.key}"`);
    }
  }
  // Rules 10.4 and 10.5; 10.6 and 10.7 since v10; 10.7 and 10.8 since v12. `notifications` since v6.
  const maps = rules.limitNotificationsPowerLevels ? ["events", "notifications"] : ["events"];
  for (const property of maps) {
    for (const change of findMapChanges(changes, property)) {
      if (isBeyond(change, senderLevel)) {
        return reject(`The sender does not have the power level to change "${property}" of "${change.key}"`);
      }
    }
  }
  for (const change of findMapChanges(changes, "users")) {
    // Rule 10.6; 10.8 since v10; 10.9 since v12.
    if (change.key !== sender && change.old !== null && change.old >= senderLevel) {
      return reject(`The sender does not have the power level to change that of "${change.key}"`);
    }
    // Rule 10.7; 10.9 since v10; 10.10 since v12.
    if (change.now !== null && change.now > senderLevel) {
      return reject(`The sender cannot give "${change.key}" a power level above its own`);
    }
  }
  // Rule 10.8.
  return ALLOWED;
}

function isBeyond({ old, now, isMalformed }: LevelChange, senderLevel: number): boolean {
  return isMalformed || (old !== null && old > senderLevel) || (now !== null && now > senderLevel);
}

function findMapChanges({ rules, before, after }: LevelChanges, property: string): LevelChange[] {
  const old = asObject(before[property]);
  const now = asObject(after[property]);
  return findChanges(rules, { before: old, after: now, keys: new Set([...Object.keys(old), ...Object.keys(now)]) });
}

function asObject(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function findChanges(
  rules: RoomVersionRules,
  { before, after, keys }: { before: Readonly<JsonObject>; after: Readonly<JsonObject>; keys: Iterable<string> },
): LevelChange[] {
  const changes: LevelChange[] = [];
  for (const key of keys) {
    const oldValue = Object.hasOwn(before, key) ? before[key] : undefined;
    const newValue = Object.hasOwn(after, key) ? after[key] : undefined;
    const old = parsePowerLevel(rules, oldValue);
    const now = parsePowerLevel(rules, newValue);
    const isMalformed = newValue !== undefined && now === null;
    if (old !== now || isMalformed) changes.push({ key, old, now, isMalformed });
  }
  return changes;
}
