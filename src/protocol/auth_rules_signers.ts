/**
 * Who must have signed an event. Spec: server-server API, "Validating hashes and signatures on received events".
 */
import { domainOf } from "./auth_rules_context.ts";
import type { RoomEvent } from "./event.ts";
import type { ServerName } from "./ids.ts";
import { isJsonObject } from "./json.ts";

/** Returns the servers each of which must have signed the event for it to be valid. */
export function requiredSigners(event: RoomEvent): ServerName[] {
  const { rules, type, content } = event;
  const isMember = type === "m.room.member";
  const signers = new Set<string>();
  function addServerOf(id: string): void {
    const domain = domainOf(id);
    if (domain !== null) signers.add(domain);
  }
  // A third-party invite may be sent by another server; its sender is checked against the room's third-party invite.
  const isThirdPartyInvite = isMember && content["membership"] === "invite" &&
    isJsonObject(content["third_party_invite"]);
  if (!isThirdPartyInvite) addServerOf(event.sender);
  // v1 and v2: the server that assigned the event id.
  if (rules.eventIdFormat === "server_assigned") addServerOf(event.eventId);
  // Since v8, rule 4.2: the server of the user who authorized a restricted join.
  const authorizer = content["join_authorised_via_users_server"];
  if (isMember && rules.restrictedJoinRule && typeof authorizer === "string") addServerOf(authorizer);
  return [...signers] as ServerName[];
}
