/**
 * The authorization rules on `m.room.member`, but for invites. Spec: "Room versions", rule 5 of versions 1–5 and 12,
 * rule 4 of versions 6–11. Numbers are those of version 12.
 */
import {
  ALLOWED,
  type AuthContext,
  type AuthDecision,
  joinRuleOf,
  levelsOf,
  mayPerform,
  membershipOf,
  reject,
} from "./auth_rules_context.ts";
import { parseUserId } from "./ids.ts";
import { authorizeInvite } from "./membership_invite_rules.ts";
import { getActionLevel, getCreator, getUserLevel, type PowerLevelAction } from "./power_levels.ts";

/** Decides on an `m.room.member` event. */
export function authorizeMembership(context: AuthContext): AuthDecision {
  const { rules, stateKey, content } = context.event;
  // Rule 5.1.
  if (stateKey === null) return reject("A membership must have a state key");
  const membership = content["membership"];
  if (membership === undefined) return reject("The event has no membership");
  // Rule 5.2 since v8; whether the user's server signed is checked by who receives the event: see `requiredSigners`.
  const authorizer = content["join_authorised_via_users_server"];
  if (rules.restrictedJoinRule && authorizer !== undefined) {
    if (typeof authorizer !== "string" || parseUserId(authorizer) === null) {
      return reject("The user who authorizes the join is not a user id");
    }
  }
  switch (membership) {
    case "join":
      return authorizeJoin(context, stateKey);
    case "invite":
      return authorizeInvite(context, stateKey);
    case "leave":
      return authorizeLeave(context, stateKey);
    case "ban":
      return authorizeBan(context, stateKey);
    case "knock":
      // Rule 5.7 since v7.
      if (rules.knocking) return authorizeKnock(context, stateKey);
  }
  // Rule 5.8.
  return reject("The membership is not known");
}

function authorizeJoin(context: AuthContext, target: string): AuthDecision {
  const { event, create } = context;
  // Rule 5.3.1; the creator is the sender of the create event since v11.
  if (event.prevEvents.length === 1 && event.prevEvents[0] === create.eventId && getCreator(create) === target) {
    return ALLOWED;
  }
  // Rule 5.3.2.
  if (event.sender !== target) return reject("A user cannot join for another");
  const membership = membershipOf(context, target);
  // Rule 5.3.3.
  if (membership === "ban") return reject("The user is banned");
  return authorizeByJoinRule(context, membership);
}

function authorizeByJoinRule(context: AuthContext, membership: string | null): AuthDecision {
  const { rules } = context.event;
  const joinRule = joinRuleOf(context);
  const isMember = membership === "join" || membership === "invite";
  // Rule 5.3.4; `knock` since v7.
  if (joinRule === "invite" || (joinRule === "knock" && rules.knocking)) {
    return isMember ? ALLOWED : reject("The user is not invited");
  }
  // Rule 5.3.5 since v8; `knock_restricted` since v10.
  const isRestricted = (joinRule === "restricted" && rules.restrictedJoinRule) ||
    (joinRule === "knock_restricted" && rules.knockRestrictedJoinRule);
  if (isRestricted) {
    // Rules 5.3.5.1 to 5.3.5.3.
    return isMember ? ALLOWED : checkAuthorizer(context);
  }
  // Rules 5.3.6 and 5.3.7.
  return joinRule === "public" ? ALLOWED : reject("The join rule does not let the user join");
}

/** Rule 5.3.5.2 since v8. */
function checkAuthorizer(context: AuthContext): AuthDecision {
  const authorizer = context.event.content["join_authorised_via_users_server"];
  if (typeof authorizer !== "string") return reject("The user is not invited and nobody authorized the join");
  if (membershipOf(context, authorizer) !== "join") {
    return reject("The user who authorizes the join is not in the room");
  }
  return mayPerform(context, { userId: authorizer, action: "invite" })
    ? ALLOWED
    : reject("The user who authorizes the join does not have the power level to invite");
}

function authorizeLeave(context: AuthContext, target: string): AuthDecision {
  const { sender, rules } = context.event;
  const targetMembership = membershipOf(context, target);
  // Rule 5.5.1; `knock` since v7.
  if (sender === target) {
    const mayLeave = targetMembership === "invite" || targetMembership === "join" ||
      (targetMembership === "knock" && rules.knocking);
    return mayLeave ? ALLOWED : reject("The user is not in the room and has not been invited");
  }
  // Rule 5.5.2.
  if (membershipOf(context, sender) !== "join") return reject("The sender is not in the room");
  // Rule 5.5.3.
  if (targetMembership === "ban" && !mayPerform(context, { userId: sender, action: "ban" })) {
    return reject("The sender does not have the power level to unban");
  }
  // Rules 5.5.4 and 5.5.5.
  return overpowers(context, { target, action: "kick" })
    ? ALLOWED
    : reject("The sender does not have the power level to kick the user");
}

function authorizeBan(context: AuthContext, target: string): AuthDecision {
  // Rule 5.6.1.
  if (membershipOf(context, context.event.sender) !== "join") return reject("The sender is not in the room");
  // Rules 5.6.2 and 5.6.3.
  return overpowers(context, { target, action: "ban" })
    ? ALLOWED
    : reject("The sender does not have the power level to ban the user");
}

/** Since v7. */
function authorizeKnock(context: AuthContext, target: string): AuthDecision {
  const { sender, rules } = context.event;
  const joinRule = joinRuleOf(context);
  // Rule 5.7.1; `knock_restricted` since v10.
  if (joinRule !== "knock" && !(joinRule === "knock_restricted" && rules.knockRestrictedJoinRule)) {
    return reject("The join rule does not let users knock");
  }
  // Rule 5.7.2.
  if (sender !== target) return reject("A user cannot knock for another");
  // Rules 5.7.3 and 5.7.4.
  const membership = membershipOf(context, target);
  return membership === "ban" || membership === "invite" || membership === "join"
    ? reject("The user is banned, invited or in the room")
    : ALLOWED;
}

/** Tells whether the sender reaches the level of the action and is strictly above the target. */
function overpowers(
  context: AuthContext,
  { target, action }: { target: string; action: PowerLevelAction },
): boolean {
  const levels = levelsOf(context);
  const senderLevel = getUserLevel(levels, context.event.sender);
  return senderLevel >= getActionLevel(levels, action) && getUserLevel(levels, target) < senderLevel;
}
