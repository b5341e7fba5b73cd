/**
 * What the authorization rules share: the decision, its inputs, and the reading of memberships and join rules.
 */
import type { RoomEvent } from "./event.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import { getActionLevel, getUserLevel, type PowerLevelAction, type PowerLevelSource } from "./power_levels.ts";

/** The outcome of a check; the reason is a sentence for logs and error messages. */
export type AuthDecision = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

/** The signed part of a third-party invite, and the keys any of which may have signed it, in Base64. */
export interface ThirdPartyInviteCheck {
  readonly signed: Readonly<JsonObject>;
  readonly publicKeys: readonly string[];
}

/** Tells whether any signature in `signed` was made with one of the keys. */
export type VerifyThirdPartyInvite = (check: ThirdPartyInviteCheck) => boolean;

/** What `authorizeEvent` decides on. */
export interface AuthorizeInput {
  readonly event: RoomEvent;
  /** The accepted create event of the event's room; null when there is none, and when `event` is the create event. */
  readonly create: RoomEvent | null;
  /** The room state to check against. The create event is not asked for. */
  readonly authState: (type: string, stateKey: string) => RoomEvent | undefined;
  /** Replaces the check of third-party invites' signatures. */
  readonly verifyThirdPartyInvite?: VerifyThirdPartyInvite | undefined;
}

/** `AuthorizeInput` of an event other than `m.room.create`. */
export interface AuthContext extends AuthorizeInput {
  readonly create: RoomEvent;
}

/** The decision to let an event pass. */
export const ALLOWED: AuthDecision = { allowed: true };

/** Returns the decision to refuse an event. */
export function reject(reason: string): AuthDecision {
  return { allowed: false, reason };
}

/** Returns what follows the first colon of an id, however it looks; null when there is none. */
export function domainOf(id: string): string | null {
  const cut = id.indexOf(":");
  return cut === -1 ? null : id.slice(cut + 1);
}

/** Returns a user's membership in the room state; null when there is none. */
export function membershipOf({ authState }: AuthContext, userId: string): string | null {
  const membership = authState("m.room.member", userId)?.content["membership"];
  return typeof membership === "string" ? membership : null;
}

/** Returns the room's join rule, `invite` when it has none; null when its value is not a string. */
export function joinRuleOf({ authState }: AuthContext): string | null {
  const rule = authState("m.room.join_rules", "")?.content["join_rule"];
  if (rule === undefined) return "invite";
  return typeof rule === "string" ? rule : null;
}

/** Returns what power levels are computed from. */
export function levelsOf({ create, authState }: AuthContext): PowerLevelSource {
  return { create, powerLevels: authState("m.room.power_levels", "") };
}

/** Tells whether the user's power level reaches the level of the action. */
export function mayPerform(
  context: AuthContext,
  { userId, action }: { userId: string; action: PowerLevelAction },
): boolean {
  const levels = levelsOf(context);
  return getUserLevel(levels, userId) >= getActionLevel(levels, action);
}

/** Returns the public keys of an `m.room.third_party_invite`: `public_key` and those in `public_keys`. */
export function thirdPartyInviteKeys(content: Readonly<JsonObject>): string[] {
  const listed = content["public_keys"];
  const entries = Array.isArray(listed) ? listed.filter(isJsonObject).map((entry) => entry["public_key"]) : [];
  return [content["public_key"], ...entries].filter((key) => typeof key === "string");
}
