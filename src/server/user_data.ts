/** What users keep with the server and tell each other outside of rooms: data, receipts, presence, keys, directory. */
import type { Config } from "../config/config.ts";
import { matchesGlobExactly } from "../protocol/glob.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import { AccountDataService } from "../services/account_data.ts";
import { CrossSigningService } from "../services/cross_signing.ts";
import { DeviceKeysService } from "../services/device_keys.ts";
import { DeviceListsService } from "../services/device_lists.ts";
import { type DirectoryRuleQuery, DirectoryService, type DirectoryServices } from "../services/directory.ts";
import { KeyBackupService } from "../services/key_backup.ts";
import type { NotificationsService } from "../services/notifications.ts";
import { PresenceService } from "../services/presence.ts";
import { PublicRoomsService } from "../services/public_rooms.ts";
import { ReceiptsService } from "../services/receipts.ts";
import { RoomSummaries } from "../services/room_summaries.ts";
import { ToDeviceService } from "../services/to_device.ts";
import { TypingService } from "../services/typing.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";

/** The services of users' data. */
export type UserDataParts = ReturnType<typeof buildUserData>;

/** How other servers are told and asked. */
export interface OtherServers {
  readonly onTyping: NonNullable<ConstructorParameters<typeof TypingService>[0]["onLocalChange"]>;
  readonly onRead: NonNullable<ConstructorParameters<typeof ReceiptsService>[0]["onLocalRead"]>;
  readonly onPresence: (userId: UserId) => void;
  readonly resolveAlias: NonNullable<ConstructorParameters<typeof DirectoryService>[0]["resolveRemote"]>;
  readonly sendToDevice: NonNullable<ConstructorParameters<typeof ToDeviceService>[0]["sendRemote"]>;
}

/** Builds the services of users' data. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildUserData(
  core: Core,
  { rooms, accountData, notifications, services, others }: {
    rooms: RoomParts;
    accountData: AccountDataService;
    notifications: NotificationsService;
    services: DirectoryServices;
    others: OtherServers;
  },
) {
  const { db, clock, notifier, isLocal, config } = core;
  const { facts, engine, moves } = rooms;
  const localJoinedUsers = (roomId: RoomId) => engine.localJoinedUsers(roomId);
  const deviceLists = new DeviceListsService({ db, notifier, moves });
  const summaries = new RoomSummaries({ db, states: rooms.state });
  return {
    accountData,
    notifications,
    deviceLists,
    summaries,
    typing: new TypingService({ clock, notifier, localJoinedUsers, isLocal, onLocalChange: others.onTyping }),
    receipts: new ReceiptsService({
      ...{ db, clock, notifier, accountData },
      onWritten: (receipt) => notifications.forgetReads(receipt),
      onLocalRead: others.onRead,
      rooms: {
        joinedRoomNid: (userId, roomId) => facts.joinedRoomNid(userId, roomId),
        eventPosition: (roomNid, eventId) => facts.eventPosition(roomNid, eventId),
        isInThread: (eventId, threadId) => facts.isInThread(eventId, threadId),
        localJoinedUsers,
      },
    }),
    presence: new PresenceService({
      ...{ db, clock, notifier, isLocal },
      settings: presenceSettings(config),
      onLocalChange: others.onPresence,
    }),
    toDevice: new ToDeviceService({
      ...{ db, clock, notifier, isLocal },
      sendRemote: others.sendToDevice,
    }),
    deviceKeys: new DeviceKeysService({ db, clock, notifier, deviceLists, isLocal }),
    crossSigning: new CrossSigningService({ db, deviceLists }),
    keyBackup: new KeyBackupService({ db }),
    directory: buildDirectory(core, { rooms, services, others }),
    publicRooms: new PublicRoomsService({ db, summaries, isSearchEnabled: config.rooms.enableRoomListSearch }),
  };
}

function presenceSettings(
  { server: { presence }, rooms: { excludeRoomsFromPresence } }: Config,
): ConstructorParameters<typeof PresenceService>[0]["settings"] {
  return {
    enabled: presence.enabled === true,
    lastActiveGranularityMs: presence.lastActiveGranularity,
    syncOnlineTimeoutMs: presence.syncOnlineTimeout,
    idleTimeoutMs: presence.idleTimeout,
    excludedRooms: excludeRoomsFromPresence as readonly RoomId[],
  };
}

function buildDirectory(
  { db, clock, config }: Core,
  { rooms: { facts, engine }, services, others }: {
    rooms: RoomParts;
    services: DirectoryServices;
    others: OtherServers;
  },
): DirectoryService {
  const { rooms, blocking } = config;
  return new DirectoryService({
    db,
    clock,
    services,
    resolveRemote: others.resolveAlias,
    serverName: config.serverName,
    rooms: {
      isJoined: (userId, roomId) => facts.isJoined(userId, roomId),
      isWorldReadable: (roomId) => facts.isWorldReadable(roomId),
      maySendState: (userId, roomId, type) => facts.maySendState(userId, roomId, type),
      canonicalAlias: async (roomId) => {
        const content = await facts.content(roomId, "m.room.canonical_alias");
        return content && { ...content };
      },
      setCanonicalAlias: async (requester, roomId, content) => {
        await engine.sendEvent(requester, {
          roomId,
          type: "m.room.canonical_alias",
          stateKey: "",
          content,
          txnId: null,
        });
      },
    },
    settings: {
      requireMembershipForAliases: blocking.requireMembershipForAliases,
      mayCreateAlias: (query) => isAllowed(rooms.aliasCreationRules, query),
      mayPublishRoom: (query) => isAllowed(rooms.roomListPublicationRules, query),
    },
  });
}

type DirectoryRules = Config["rooms"]["aliasCreationRules"];

/** Applies the first rule that fits: none means no, except that no rules at all mean yes. As Synapse does. */
function isAllowed(rules: DirectoryRules, { userId, roomId, aliases }: DirectoryRuleQuery): boolean {
  if (rules === null) return true;
  for (const rule of rules) {
    const fitsAlias = rule.alias === "*" || aliases.some((alias) => matchesGlobExactly(alias, rule.alias));
    if (matchesGlobExactly(userId, rule.userId) && matchesGlobExactly(roomId, rule.roomId) && fitsAlias) {
      return rule.action === "allow";
    }
  }
  return rules.length === 0;
}
