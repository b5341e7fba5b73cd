/**
 * Which state authorizes an event. Spec: server-server API, "Auth events selection".
 */
import { type StateKey, stateKeyOf } from "./event.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import type { RoomVersionRules } from "./room_versions.ts";

/** The parts of an event that decide which state authorizes it, so that it can be asked before the event is built. */
export interface AuthEventsQuery {
  readonly type: string;
  readonly sender: string;
  readonly stateKey: string | null;
  readonly content: Readonly<JsonObject>;
}

const CREATE = stateKeyOf("m.room.create", "");
const POWER_LEVELS = stateKeyOf("m.room.power_levels", "");
const JOIN_RULES = stateKeyOf("m.room.join_rules", "");

/** Returns the keys of the state that `auth_events` lists where the room has it, without duplicates. */
export function selectAuthKeys(rules: RoomVersionRules, query: AuthEventsQuery): StateKey[] {
  if (query.type === "m.room.create") return [];
  const sender = stateKeyOf("m.room.member", query.sender);
  // Since v12 the room id implies the create event, which must not be listed.
  const keys = rules.roomIdIsCreateHash ? [POWER_LEVELS, sender] : [CREATE, POWER_LEVELS, sender];
  if (query.type !== "m.room.member") return keys;
  for (const key of selectMembershipKeys(rules, query)) {
    if (!keys.includes(key)) keys.push(key);
  }
  return keys;
}

function selectMembershipKeys(rules: RoomVersionRules, { content, stateKey }: AuthEventsQuery): StateKey[] {
  const keys: StateKey[] = [];
  const membership = content["membership"];
  if (stateKey !== null) keys.push(stateKeyOf("m.room.member", stateKey));
  if (membership === "join" || membership === "invite" || membership === "knock") keys.push(JOIN_RULES);
  if (membership === "invite") {
    const token = getThirdPartyInviteToken(content);
    if (token !== null) keys.push(stateKeyOf("m.room.third_party_invite", token));
  }
  if (membership === "join" && rules.restrictedJoinRule) {
    const authorizer = content["join_authorised_via_users_server"];
    if (typeof authorizer === "string") keys.push(stateKeyOf("m.room.member", authorizer));
  }
  return keys;
}

/** Returns `third_party_invite.signed.token` of a membership's content, or null when there is none. */
export function getThirdPartyInviteToken(content: Readonly<JsonObject>): string | null {
  const invite = content["third_party_invite"];
  const signed = isJsonObject(invite) ? invite["signed"] : undefined;
  const token = isJsonObject(signed) ? signed["token"] : undefined;
  return typeof token === "string" ? token : null;
}
