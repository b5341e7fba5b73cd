/** What happens elsewhere when accounts and devices come, change and go. */
import { getLogger } from "../lib/log.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";
import { AutoJoin } from "../services/auto_join.ts";
import type { DeviceListener } from "../services/devices.ts";
import type { ErasedUsers } from "../services/erased_users.ts";
import type { PushRulesService } from "../services/push_rules.ts";
import { deleteValidity } from "../storage/account_validity.ts";
import { deleteActiveUser, deleteUnapproved } from "../storage/active_users.ts";
import { deleteConnectionsOfDevice } from "../storage/sliding_sync.ts";
import { deleteInboxOfDevice } from "../storage/to_device.ts";
import type { AccountHooks } from "./accounts.ts";
import type { Core } from "./core.ts";
import { forgetUserData } from "./departures.ts";
import type { FederationParts } from "./federation.ts";
import type { FederationExchangeParts } from "./federation_exchange.ts";
import type { PushParts } from "./push.ts";
import type { RoomParts } from "./rooms.ts";
import type { SocialParts } from "./social.ts";
import type { UsageParts } from "./usage.ts";
import type { UserDataParts } from "./user_data.ts";

/** What is told; functions give what is built later. */
export interface AccountHooksBase {
  readonly rooms: RoomParts;
  readonly pushRules: PushRulesService;
  readonly erased: ErasedUsers;
  readonly exchange: () => FederationExchangeParts;
  readonly userData: () => UserDataParts;
  readonly social: () => SocialParts;
  readonly push: () => PushParts;
  readonly federation: FederationParts;
  readonly usage: () => UsageParts;
}

const log = getLogger("synapse.handlers.register");
/** Account data with which a device says whether it notifies; it goes with the device (MSC3890). */
const LOCAL_SETTINGS = ["m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings."] as const;

/** Returns what accounts call. */
export function accountHooks({ config, clock }: Core, base: AccountHooksBase): AccountHooks {
  const { rooms, userData, social, push, exchange, pushRules, erased, federation, usage } = base;
  const autoJoin = new AutoJoin({
    serverName: config.serverName,
    options: config.registration,
    rooms: rooms.engine,
    resolve: (alias) => userData().directory.resolve(alias),
    log,
  });
  return {
    lookUpProfile: (userId, key) => exchange().lookUps.profile(userId, key),
    onDeviceChange: deviceListener(() => ({ userData: userData(), push: push() })),
    onRegistered: (user) => {
      social().directoryIndexer.refresh(user.userId);
      return autoJoin.joinAll(user);
    },
    onProfileChange: (userId) => social().directoryIndexer.refresh(userId),
    onDeactivated: async (tx, { userId, isErased }) => {
      await deleteActiveUser(tx, userId);
      await deleteUnapproved(tx, userId);
      await deleteValidity(tx, userId);
      await forgetUserData(tx, { userId, userData: userData(), pushRules, social: social() });
      if (isErased) tx.afterCommit(() => erased.add(userId));
    },
    onReactivated: (tx, userId) => {
      tx.afterCommit(() => {
        erased.delete(userId);
        social().directoryIndexer.refresh(userId);
      });
      return Promise.resolve();
    },
    identityServers: federation.identityServers,
    onThreepidChange: (tx, change) => push().pushers.followAddress(tx, change),
    onTermsAccepted: async (tx, user) => {
      await usage().consent?.record(tx, { ...user, now: clock.now() });
    },
    userRoomActions: {
      updateMember: async (roomId, { userId }) => {
        await rooms.engine.join(plainRequester(userId), { roomId });
      },
      leave: async (roomId, { userId, reason }) => {
        await rooms.engine.leave(plainRequester(userId), { roomId, details: { reason } });
      },
    },
  };
}

/** The user as the server acts for them. */
function plainRequester(userId: UserId): Requester {
  return { userId, deviceId: null, isGuest: false, isAdmin: false, isShadowBanned: false, appserviceId: null };
}

/** What goes with devices, in the transaction that removes them. */
function deviceListener(parts: () => { userData: UserDataParts; push: PushParts }): DeviceListener {
  return async (tx, { userId, deviceIds, kind }) => {
    const { userData, push } = parts();
    // Others see a device's name with its keys.
    if (kind === "renamed") await userData.deviceLists.noteChange(tx, userId);
    if (kind !== "removed") return;
    await push.pushers.deleteOfDevices(tx, { userId, deviceIds });
    const types = deviceIds.flatMap((deviceId) => LOCAL_SETTINGS.map((prefix) => prefix + deviceId));
    await userData.accountData.deleteIn(tx, { userId, types });
    for (const deviceId of deviceIds) {
      await deleteInboxOfDevice(tx, { userId, deviceId });
      await deleteConnectionsOfDevice(tx, { userId, deviceId });
      await userData.deviceKeys.deleteDevice(tx, { userId, deviceId });
    }
  };
}
