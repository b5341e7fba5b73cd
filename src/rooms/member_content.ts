/** The content of member events that this server makes. */
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { MemberProfile, ProfileSource } from "./engine_deps.ts";
import type { Membership, Requester, StoredEvent } from "./types.ts";

/** What goes into a member event besides the membership. */
export interface MemberDetails {
  readonly reason?: string | null;
  readonly isDirect?: boolean;
  /** Further content as the client gave it; it wins over the profile, not over the membership. */
  readonly extra?: Readonly<JsonObject>;
}

/** What only the server may say, because others believe it. */
const SERVER_KEYS: ReadonlySet<string> = new Set(["join_authorised_via_users_server", "third_party_invite"]);

/** Returns the content of a member event. The profile is that of the member, not of the sender. */
export function memberContent(
  membership: Membership,
  { profile, details = {} }: { profile: MemberProfile | null; details?: MemberDetails },
): JsonObject {
  const content: JsonObject = {};
  if (profile !== null && profile.displayname !== null) content["displayname"] = profile.displayname;
  if (profile !== null && profile.avatarUrl !== null) content["avatar_url"] = profile.avatarUrl;
  if (details.isDirect) content["is_direct"] = true;
  if (typeof details.reason === "string") content["reason"] = details.reason;
  const extra = Object.entries(details.extra ?? {}).filter(([key]) => !SERVER_KEYS.has(key));
  return { ...content, ...Object.fromEntries(extra), membership };
}

/**
 * Returns the details without a name or an avatar of their own, where `allow_per_room_profiles` forbids those; others
 * see nothing that a shadow-banned user chooses.
 */
export function allowedDetails(
  { allowsRoomProfiles = true }: { readonly allowsRoomProfiles?: boolean },
  { requester, details = {} }: { requester: Pick<Requester, "isShadowBanned">; details?: MemberDetails | undefined },
): MemberDetails {
  if ((allowsRoomProfiles && !requester.isShadowBanned) || details.extra === undefined) return details;
  const { displayname: _, avatar_url: __, ...extra } = details.extra;
  return { ...details, extra };
}

/**
 * Returns the profile to put into a member event of that membership: leaving and bans show none, nor do invitations where
 * `include_profile_data_on_invite` is off.
 */
export async function profileFor(
  { profiles, options }: { profiles: ProfileSource; options: { readonly showsInvitedProfiles?: boolean } },
  { userId, membership }: { userId: UserId; membership: Membership },
): Promise<MemberProfile | null> {
  if (membership === "leave" || membership === "ban") return null;
  if (membership === "invite" && options.showsInvitedProfiles === false) return null;
  return await profiles.get(userId);
}

/** Returns the membership that a member event gives, or null. */
export function membershipIn(stored: StoredEvent | null): string | null {
  const membership = stored?.event.content["membership"];
  return typeof membership === "string" ? membership : null;
}
