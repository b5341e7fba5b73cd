/**
 * What differs between room versions, as data. Spec: "Room versions".
 *
 * Each version is an earlier one plus its changes. Code asks for a rule by name and never for a version number.
 */

/** The room versions this server knows. */
export type RoomVersionId =
  | ("1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "10" | "11" | "12")
  | ("org.matrix.msc3757.10" | "org.matrix.msc3757.11");

/** The rules of one room version. */
export interface RoomVersionRules {
  readonly id: RoomVersionId;
  /** `server_assigned` ids are in the event (v1, v2); hashes are the reference hash in standard (v3) or URL-safe base64 (v4 on). */
  readonly eventIdFormat: "server_assigned" | "base64" | "url_safe_base64";
  readonly stateResolution: "v1" | "v2" | "v2.1";
  /** Signing keys must have been valid at `origin_server_ts` (v5 on). */
  readonly enforceKeyValidity: boolean;
  /** `m.room.aliases` is authorized and redacted specially (v1–v5). */
  readonly specialCaseAliases: boolean;
  /** Canonical JSON is enforced: integers in ±(2^53−1), no floats (v6 on). */
  readonly strictCanonicalJson: boolean;
  /** Changes to `notifications` in power levels are checked (v6 on). */
  readonly limitNotificationsPowerLevels: boolean;
  /** Join rule and membership `knock` (v7 on). */
  readonly knocking: boolean;
  /** Join rule `restricted` (v8 on). */
  readonly restrictedJoinRule: boolean;
  /** Redaction keeps `allow` in join rules (v8 on) and `join_authorised_via_users_server` in members (v9 on). */
  readonly redactionKeepsJoinRulesAllow: boolean;
  readonly redactionKeepsMemberAuthorizingUser: boolean;
  /** Join rule `knock_restricted` (v10 on). */
  readonly knockRestrictedJoinRule: boolean;
  /** Power levels must be integers, not strings (v10 on). */
  readonly integerPowerLevels: boolean;
  /** Redaction as revised by MSC2174/2176/3820 (v11 on): `redacts` in content, create keeps all its content, fewer top-level keys. */
  readonly updatedRedaction: boolean;
  /** `m.room.create` has `creator` in its content; from v11 on the creator is the sender. */
  readonly creatorInContent: boolean;
  /** The room id is the create event's id (v12 on): create has no `room_id` and is not listed in `auth_events`. */
  readonly roomIdIsCreateHash: boolean;
  /** Creators, and `additional_creators`, have more power than any number (v12 on). */
  readonly privilegedCreators: boolean;
  /** A state key may go on after its owner's user id, and those with more power than the owner may set it (MSC3757). */
  readonly ownedState: boolean;
  readonly stable: boolean;
}

const V1: RoomVersionRules = {
  id: "1",
  eventIdFormat: "server_assigned",
  stateResolution: "v1",
  enforceKeyValidity: false,
  specialCaseAliases: true,
  strictCanonicalJson: false,
  limitNotificationsPowerLevels: false,
  knocking: false,
  restrictedJoinRule: false,
  redactionKeepsJoinRulesAllow: false,
  redactionKeepsMemberAuthorizingUser: false,
  knockRestrictedJoinRule: false,
  integerPowerLevels: false,
  updatedRedaction: false,
  creatorInContent: true,
  roomIdIsCreateHash: false,
  privilegedCreators: false,
  ownedState: false,
  stable: true,
};
const V2: RoomVersionRules = { ...V1, id: "2", stateResolution: "v2" };
const V3: RoomVersionRules = { ...V2, id: "3", eventIdFormat: "base64" };
const V4: RoomVersionRules = { ...V3, id: "4", eventIdFormat: "url_safe_base64" };
const V5: RoomVersionRules = { ...V4, id: "5", enforceKeyValidity: true };
const V6: RoomVersionRules = {
  ...V5,
  id: "6",
  specialCaseAliases: false,
  strictCanonicalJson: true,
  limitNotificationsPowerLevels: true,
};
const V7: RoomVersionRules = { ...V6, id: "7", knocking: true };
const V8: RoomVersionRules = { ...V7, id: "8", restrictedJoinRule: true, redactionKeepsJoinRulesAllow: true };
const V9: RoomVersionRules = { ...V8, id: "9", redactionKeepsMemberAuthorizingUser: true };
const V10: RoomVersionRules = { ...V9, id: "10", knockRestrictedJoinRule: true, integerPowerLevels: true };
const V11: RoomVersionRules = { ...V10, id: "11", updatedRedaction: true, creatorInContent: false };
const V12: RoomVersionRules = {
  ...V11,
  id: "12",
  stateResolution: "v2.1",
  roomIdIsCreateHash: true,
  privilegedCreators: true,
};

const MSC3757_V10: RoomVersionRules = { ...V10, id: "org.matrix.msc3757.10", ownedState: true, stable: false };
const MSC3757_V11: RoomVersionRules = { ...V11, id: "org.matrix.msc3757.11", ownedState: true, stable: false };

const ALL: readonly RoomVersionRules[] = [V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12, MSC3757_V10, MSC3757_V11];
const BY_ID: ReadonlyMap<string, RoomVersionRules> = new Map(ALL.map((rules) => [rules.id, rules]));

/** The version new rooms get unless configured otherwise: the spec's recommendation. */
export const DEFAULT_ROOM_VERSION: RoomVersionId = "12";

/** Returns the rules of a room version, or null when this server does not know it. */
export function getRoomVersion(id: string): RoomVersionRules | null {
  return BY_ID.get(id) ?? null;
}

/** Returns all known versions, oldest first. */
export function listRoomVersions(): readonly RoomVersionRules[] {
  return ALL;
}
