/**
 * The authorization rules. Spec: "Room versions", "Authorization rules" of each version.
 *
 * Numbers in comments are those of version 1 where a rule has existed since then, else of the version named. Rule 2 of
 * versions 1–11 (3 of version 12), on the list of auth events, is `checkAuthEventList` in auth_rules_list.ts; the
 * signatures that rule 4.2 since v8 asks for are named by `requiredSigners` in auth_rules_signers.ts. Memberships are in
 * membership_rules.ts, power levels in auth_rules_power_levels.ts.
 */
import {
  ALLOWED,
  type AuthContext,
  type AuthDecision,
  type AuthorizeInput,
  domainOf,
  levelsOf,
  mayPerform,
  membershipOf,
  reject,
} from "./auth_rules_context.ts";
import { authorizePowerLevels } from "./auth_rules_power_levels.ts";
import type { RoomEvent } from "./event.ts";
import { parseUserId } from "./ids.ts";
import { authorizeMembership } from "./membership_rules.ts";
import { ownerOfStateKey } from "./owned_state.ts";
import { getRequiredLevel, getUserLevel } from "./power_levels.ts";
import { getRoomVersion } from "./room_versions.ts";

/** Decides whether the rules of the event's room version allow it in a room with the given state. */
export function authorizeEvent(input: AuthorizeInput): AuthDecision {
  const { event, create } = input;
  // Rule 1.
  if (event.type === "m.room.create") return authorizeCreate(event);
  // Rule 2 since v12: the room id is that of an accepted create event. Before, rules 2.4 and 2.5 come to the same.
  if (create === null) return reject("The room has no create event");
  if (create.roomId !== event.roomId || create.type !== "m.room.create") {
    return reject("The event is not in the room of the create event");
  }
  return authorizeInRoom({ ...input, create });
}

function authorizeInRoom(context: AuthContext): AuthDecision {
  const { event, create } = context;
  const { rules, type, sender, stateKey } = event;
  // Rule 3.
  if (create.content["m.federate"] === false && domainOf(sender) !== domainOf(create.sender)) {
    return reject("The room does not federate and the sender is of another server");
  }
  // Rule 4, v1–v5 only.
  if (rules.specialCaseAliases && type === "m.room.aliases") return authorizeAliases(event);
  // Rule 5.
  if (type === "m.room.member") return authorizeMembership(context);
  // Rule 6.
  if (membershipOf(context, sender) !== "join") return reject("The sender is not in the room");
  // Rule 7.
  if (type === "m.room.third_party_invite") {
    return mayPerform(context, { userId: sender, action: "invite" })
      ? ALLOWED
      : reject("The sender does not have the power level to invite");
  }
  // Rule 8.
  const levels = levelsOf(context);
  if (getRequiredLevel(levels, { type, isState: stateKey !== null }) > getUserLevel(levels, sender)) {
    return reject(`The sender does not have the power level to send "${type}"`);
  }
  // Rule 9.
  if (stateKey !== null && stateKey.startsWith("@") && stateKey !== sender && !mayChangeOwned(context)) {
    return reject("A state key that is a user id must be that of the sender");
  }
  // Rule 10.
  if (type === "m.room.power_levels") return authorizePowerLevels(context);
  // Rule 11, v1 and v2 only.
  if (rules.eventIdFormat === "server_assigned" && type === "m.room.redaction") return authorizeRedaction(context);
  // Rule 12.
  return ALLOWED;
}

/** Tells whether MSC3757 allows state of another user, or with more to its key than the user id. */
function mayChangeOwned(context: AuthContext): boolean {
  const { rules, sender, stateKey } = context.event;
  const owner = rules.ownedState && stateKey !== null ? ownerOfStateKey(stateKey) : null;
  if (owner === null) return false;
  const levels = levelsOf(context);
  return owner === sender || getUserLevel(levels, sender) > getUserLevel(levels, owner);
}

function authorizeCreate(event: RoomEvent): AuthDecision {
  const { rules, content } = event;
  // Rule 1.1.
  if (event.prevEvents.length > 0) return reject("A create event must not have previous events");
  if (rules.roomIdIsCreateHash) {
    // Rule 1.2 since v12.
    if (Object.hasOwn(event.pdu, "room_id")) return reject("A create event must not have a room id");
  } else if (domainOf(event.roomId) !== domainOf(event.sender)) {
    // Rule 1.2, v1–v11.
    return reject("The server of the room id is not that of the sender");
  }
  // Rule 1.3.
  const version = content["room_version"];
  if (version !== undefined && (typeof version !== "string" || getRoomVersion(version) === null)) {
    return reject("The room version is not known");
  }
  // Rule 1.4, v1–v10.
  if (rules.creatorInContent && !Object.hasOwn(content, "creator")) return reject("The create event has no creator");
  // Rule 1.4 since v12.
  const additional = content["additional_creators"];
  if (rules.privilegedCreators && additional !== undefined) {
    const valid = Array.isArray(additional) &&
      additional.every((user) => typeof user === "string" && parseUserId(user) !== null);
    if (!valid) return reject("The additional creators are not a list of user ids");
  }
  // Rule 1.5.
  return ALLOWED;
}

function authorizeAliases({ sender, stateKey }: RoomEvent): AuthDecision {
  // Rule 4.1.
  if (stateKey === null) return reject("An aliases event must have a state key");
  // Rules 4.2 and 4.3.
  return domainOf(sender) === stateKey ? ALLOWED : reject("The aliases are not of the server of the sender");
}

function authorizeRedaction(context: AuthContext): AuthDecision {
  const { eventId, redacts, sender } = context.event;
  // Rule 11.1.
  if (mayPerform(context, { userId: sender, action: "redact" })) return ALLOWED;
  // Rule 11.2.
  const domain = domainOf(eventId);
  if (redacts !== null && domain !== null && domainOf(redacts) === domain) return ALLOWED;
  // Rule 11.3.
  return reject("The sender does not have the power level to redact events of other servers");
}
