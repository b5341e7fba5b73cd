/** Server notices and the user they come from. */
import type { Config } from "../config/config.ts";
import { makeUserId, type UserId } from "../protocol/ids.ts";
import type { MemberProfile } from "../rooms/engine_deps.ts";
import type { DecideInvite } from "../rooms/invite_rules.ts";
import type { AccountDataService } from "../services/account_data.ts";
import type { Accounts } from "../services/accounts.ts";
import { ServerNotices } from "../services/server_notices.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";

/** Returns the user that notices come from, or null when they are off. */
export function noticesUserOf({ rooms: { serverNotices }, serverName }: Config): UserId | null {
  if (serverNotices === null) return null;
  const userId = makeUserId(serverNotices.systemMxidLocalpart, serverName);
  if (userId === null) throw new StartupError('"server_notices.system_mxid_localpart" cannot be part of a user id');
  return userId;
}

/** Returns what the notices user is called; null for all others. */
export function noticesProfile(config: Config, userId: UserId): MemberProfile | null {
  const { serverNotices } = config.rooms;
  if (serverNotices === null || userId !== noticesUserOf(config)) return null;
  return { displayname: serverNotices.systemMxidDisplayName, avatarUrl: serverNotices.systemMxidAvatarUrl };
}

/** Lets the notices user invite everybody, and nobody invite the notices user; the rest is decided as before. */
export function withNotices(config: Config, decideInvite: DecideInvite): DecideInvite {
  const noticesUser = noticesUserOf(config);
  if (noticesUser === null) return decideInvite;
  return async (invite) => {
    if (invite.target === noticesUser) return "block";
    return invite.sender === noticesUser ? "allow" : await decideInvite(invite);
  };
}

/** Builds the service. */
export function buildServerNotices(
  { config, isLocal }: Core,
  { rooms, accountData, accounts }: {
    rooms: RoomParts;
    accountData: AccountDataService;
    accounts: Pick<Accounts, "find">;
  },
): ServerNotices {
  const noticesUser = noticesUserOf(config);
  const { serverNotices } = config.rooms;
  return new ServerNotices({
    ...rooms,
    ...{ accountData, isLocal },
    settings: noticesUser === null || serverNotices === null ? null : { noticesUser, ...serverNotices },
    hasAccount: async (userId) => await accounts.find(userId) !== null,
  });
}
