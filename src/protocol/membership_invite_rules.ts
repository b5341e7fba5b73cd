/**
 * The authorization rules on invites. Spec: "Room versions", rule 5.4 of version 12; the same since version 1.
 */
import {
  ALLOWED,
  type AuthContext,
  type AuthDecision,
  mayPerform,
  membershipOf,
  reject,
  thirdPartyInviteKeys,
} from "./auth_rules_context.ts";
import { isJsonObject } from "./json.ts";
import { verifyThirdPartyInvite } from "./membership_invite_signature.ts";

/** Decides on an `m.room.member` event with membership `invite`. */
export function authorizeInvite(context: AuthContext, target: string): AuthDecision {
  const { sender, content } = context.event;
  // Rule 5.4.1.
  if (content["third_party_invite"] !== undefined) return authorizeThirdPartyInvite(context, target);
  // Rule 5.4.2.
  if (membershipOf(context, sender) !== "join") return reject("The sender is not in the room");
  // Rule 5.4.3.
  const membership = membershipOf(context, target);
  if (membership === "join") return reject("The user is already in the room");
  if (membership === "ban") return reject("The user is banned");
  // Rules 5.4.4 and 5.4.5.
  return mayPerform(context, { userId: sender, action: "invite" })
    ? ALLOWED
    : reject("The sender does not have the power level to invite");
}

function authorizeThirdPartyInvite(context: AuthContext, target: string): AuthDecision {
  const { event, authState } = context;
  const verify = context.verifyThirdPartyInvite ?? verifyThirdPartyInvite;
  // Rule 5.4.1.1.
  if (membershipOf(context, target) === "ban") return reject("The user is banned");
  // Rule 5.4.1.2.
  const invite = event.content["third_party_invite"];
  const signed = isJsonObject(invite) ? invite["signed"] : undefined;
  if (!isJsonObject(signed)) return reject("The third-party invite is not signed");
  // Rule 5.4.1.3.
  const { mxid, token } = signed;
  if (typeof mxid !== "string" || typeof token !== "string") {
    return reject("The third-party invite has no user id or no token");
  }
  // Rule 5.4.1.4.
  if (mxid !== target) return reject("The third-party invite is for another user");
  // Rule 5.4.1.5.
  const issued = authState("m.room.third_party_invite", token);
  if (issued === undefined) return reject("The room has no such third-party invite");
  // Rule 5.4.1.6.
  if (issued.sender !== event.sender) return reject("The third-party invite was issued by another user");
  // Rules 5.4.1.7 and 5.4.1.8.
  return verify({ signed, publicKeys: thirdPartyInviteKeys(issued.content) })
    ? ALLOWED
    : reject("The signature of the third-party invite is not valid");
}
