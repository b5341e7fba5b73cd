/**
 * The authorization rule on `m.room.power_levels`. Spec: "Room versions", rule 10.
 */
import { ALLOWED, type AuthContext, type AuthDecision, levelsOf, reject } from "./auth_rules_context.ts";
import { parseUserId } from "./ids.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import { getCreators, getUserLevel, parsePowerLevel, readLevelMap, SINGLE_LEVELS } from "./power_levels.ts";
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
 * Up to v9 the spec only demands a form of `users` (rule 10.1) and tells how the other levels may be written; a value
 * that is written otherwise has no meaning, so it is refused as well.
 */
export function findPowerLevelsFlaw(rules: RoomVersionRules, content: Readonly<JsonObject>): string | null {
  // Rule 10.1 since v10.
  for (const property of SINGLE_LEVELS) {
    const value = content[property];
    if (value !== undefined && parsePowerLevel(rules, value) === null) return `"${property}" is not a power level`;
  }
  // Rule 10.2 since v10; `notifications` matters since v6.
  const maps = rules.limitNotificationsPowerLevels ? ["events", "notifications", "users"] : ["events", "users"];
  for (const property of maps) {
    const map = content[property];
    if (map === undefined) continue;
    if (!isJsonObject(map)) return `"${property}" is not an object`;
    const wrong = Object.entries(map).find(([, value]) => parsePowerLevel(rules, value) === null);
    if (wrong !== undefined) return `"${property}" has a value that is not a power level: "${wrong[0]}"`;
  }
  // Rule 10.1; 10.3 since v10.
  const users = content["users"];
  const wrong = isJsonObject(users) ? Object.keys(users).find((user) => parseUserId(user) === null) : undefined;
  return wrong === undefined ? null : `"users" has a key that is not a user id: "${wrong}"`;
}

interface LevelChange {
  readonly rules: RoomVersionRules;
  readonly before: Readonly<JsonObject>;
  readonly after: Readonly<JsonObject>;
  readonly sender: string;
  readonly senderLevel: number;
}

function compareLevels(change: LevelChange): AuthDecision {
  const { rules, before, after, sender, senderLevel } = change;
  // Rule 10.3; 10.5 since v10; 10.6 since v12.
  for (const property of SINGLE_LEVELS) {
    const old = parsePowerLevel(rules, before[property]);
    const now = parsePowerLevel(rules, after[property]);
    if (old === now) continue;
    if (exceeds(old, senderLevel) || exceeds(now, senderLevel)) {
      return reject(`The sender does not have the power level to change "${property}"`);
    }
  }
  // Rules 10.4 and 10.5; 10.6 and 10.7 since v10; 10.7 and 10.8 since v12. `notifications` since v6.
  const maps = rules.limitNotificationsPowerLevels ? ["events", "notifications"] as const : ["events"] as const;
  for (const property of maps) {
    for (const { key, old, now } of changedEntries(change, property)) {
      if (exceeds(old, senderLevel) || exceeds(now, senderLevel)) {
        return reject(`The sender does not have the power level to change "${property}" of "${key}"`);
      }
    }
  }
  for (const { key, old, now } of changedEntries(change, "users")) {
    // Rule 10.6; 10.8 since v10; 10.9 since v12.
    if (key !== sender && old !== null && old >= senderLevel) {
      return reject(`The sender does not have the power level to change that of "${key}"`);
    }
    // Rule 10.7; 10.9 since v10; 10.10 since v12.
    if (exceeds(now, senderLevel)) return reject(`The sender cannot give "${key}" a power level above its own`);
  }
  // Rule 10.8.
  return ALLOWED;
}

function exceeds(level: number | null, limit: number): boolean {
  return level !== null && level > limit;
}

function changedEntries(
  { rules, before, after }: LevelChange,
  property: "events" | "notifications" | "users",
): { key: string; old: number | null; now: number | null }[] {
  const old = readLevelMap(rules, { content: before, property });
  const now = readLevelMap(rules, { content: after, property });
  const changes: { key: string; old: number | null; now: number | null }[] = [];
  for (const key of new Set([...old.keys(), ...now.keys()])) {
    const change = { key, old: old.get(key) ?? null, now: now.get(key) ?? null };
    if (change.old !== change.now) changes.push(change);
  }
  return changes;
}
