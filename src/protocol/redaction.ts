/**
 * Redaction: what is left of an event when its content is taken away. Spec: "Redactions" of each room version.
 *
 * Hashes, signatures and event ids are made over the redacted form, so a slip here breaks federation, not only display.
 */
import type { Pdu, RoomEvent } from "./event.ts";
import { isJsonObject } from "./json.ts";
import type { JsonObject } from "./json.ts";
import type { RoomVersionRules } from "./room_versions.ts";

const KEPT_SINCE_V11: readonly string[] = [
  "event_id",
  "type",
  "room_id",
  "sender",
  "state_key",
  "content",
  "hashes",
  "signatures",
  "depth",
  "prev_events",
  "auth_events",
  "origin_server_ts",
];
const KEPT_BEFORE_V11: readonly string[] = [...KEPT_SINCE_V11, "prev_state", "origin", "membership"];

const NOTHING: readonly string[] = [];
const POWER_LEVELS_BEFORE_V11: readonly string[] = [
  "ban",
  "events",
  "events_default",
  "kick",
  "redact",
  "state_default",
  "users",
  "users_default",
];
const POWER_LEVELS_SINCE_V11: readonly string[] = [...POWER_LEVELS_BEFORE_V11, "invite"];

/** Returns the redacted copy of a PDU; `unsigned` is gone, hashes and signatures stay. */
export function redactPdu(pdu: Readonly<Pdu>, rules: RoomVersionRules): Pdu {
  const redacted = pick(pdu, rules.updatedRedaction ? KEPT_SINCE_V11 : KEPT_BEFORE_V11);
  redacted["content"] = redactContent(pdu, rules);
  return redacted as Pdu;
}

/** Returns the event as it looks once redacted. Its id stays the same. */
export function redactEvent(event: RoomEvent): RoomEvent {
  const pdu = redactPdu(event.pdu, event.rules);
  const content = redactContent(event, event.rules);
  const redacts = typeof content["redacts"] === "string" ? event.redacts : null;
  return { ...event, content, redacts, pdu };
}

/** Returns what redaction leaves of the content; the same object where everything stays. */
export function redactContent(
  { type, content }: { readonly type: string; readonly content: Readonly<JsonObject> },
  rules: RoomVersionRules,
): JsonObject {
  if (type === "m.room.create" && rules.updatedRedaction) return content;
  const kept = pick(content, keptContentKeys(type, rules));
  if (type === "m.room.member" && rules.updatedRedaction) keepSignedInvite(content, kept);
  return kept;
}

function keptContentKeys(type: string, rules: RoomVersionRules): readonly string[] {
  switch (type) {
    case "m.room.member":
      return rules.redactionKeepsMemberAuthorizingUser
        ? ["membership", "join_authorised_via_users_server"]
        : ["membership"];
    case "m.room.create":
      return ["creator"];
    case "m.room.join_rules":
      return rules.redactionKeepsJoinRulesAllow ? ["join_rule", "allow"] : ["join_rule"];
    case "m.room.power_levels":
      return rules.updatedRedaction ? POWER_LEVELS_SINCE_V11 : POWER_LEVELS_BEFORE_V11;
    case "m.room.aliases":
      return rules.specialCaseAliases ? ["aliases"] : NOTHING;
    case "m.room.history_visibility":
      return ["history_visibility"];
    case "m.room.redaction":
      return rules.updatedRedaction ? ["redacts"] : NOTHING;
    default:
      return NOTHING;
  }
}

/** Since v11 a member event keeps `third_party_invite`, of which only `signed` stays: `{}` where there is none. */
function keepSignedInvite(content: Readonly<JsonObject>, kept: JsonObject): void {
  const invite = content["third_party_invite"];
  if (isJsonObject(invite)) kept["third_party_invite"] = pick(invite, ["signed"]);
}

function pick(object: Readonly<JsonObject>, keys: readonly string[]): JsonObject {
  const picked: JsonObject = {};
  for (const key of keys) {
    const value = object[key];
    if (value !== undefined && Object.hasOwn(object, key)) picked[key] = value;
  }
  return picked;
}
