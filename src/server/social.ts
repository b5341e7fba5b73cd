/** Relations, search, and what users see and say of each other. */
import type { RemoteUsers } from "../federation/remote_users.ts";
import { getLogger } from "../lib/log.ts";
import { Aggregations } from "../rooms/aggregations.ts";
import type { DecideInvite } from "../rooms/invite_rules.ts";
import type { Bundler } from "../rooms/pagination.ts";
import type { PersistedBatch } from "../rooms/pending.ts";
import { Relations } from "../rooms/relations.ts";
import type { AccountDataService } from "../services/account_data.ts";
import { AccountAdmin } from "../services/account_admin.ts";
import { MutualRooms } from "../services/mutual_rooms.ts";
import { DehydratedDevices } from "../services/dehydrated_devices.ts";
import { DelayedEvents } from "../services/delayed_events.ts";
import { InviteFilter } from "../services/invite_filter.ts";
import { NotificationList } from "../services/notification_list.ts";
import { OpenId } from "../services/openid.ts";
import { Reports } from "../services/reports.ts";
import { RoomPreviews } from "../services/room_previews.ts";
import { SearchService } from "../services/search.ts";
import { RemoteSpaces } from "../services/remote_spaces.ts";
import { SpaceHierarchy } from "../services/space_hierarchy.ts";
import { ThreadSubscriptions } from "../services/thread_subscriptions.ts";
import { UserDirectoryService } from "../services/user_directory.ts";
import { DelayedEventSender } from "../workers/delayed_event_sender.ts";
import { SearchIndexer } from "../workers/search_indexer.ts";
import { UserDirectoryIndexer } from "../workers/user_directory_indexer.ts";
import type { Tx } from "../storage/database.ts";
import { OldSync } from "../sync/old_sync.ts";
import type { AccountParts } from "./accounts.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";
import type { UserDataParts } from "./user_data.ts";

/** The parts. */
export type SocialParts = ReturnType<typeof buildSocial>;

/** What they are built on. */
export interface SocialBase {
  readonly rooms: RoomParts;
  readonly accounts: AccountParts;
  readonly userData: UserDataParts;
  /** Asks other servers; they can be asked once all parts are there. */
  readonly remoteUsers: () => RemoteUsers;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
}

/** Builds the parts. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildSocial(core: Core, { rooms, accounts, userData, stopping, remoteUsers }: SocialBase) {
  const { db, clock, notifier, config, isLocal } = core;
  const aggregations = new Aggregations({ db, ...rooms });
  const finding = buildFinding(core, { rooms, accounts, bundle: aggregations.bundle });
  const delayedEvents = buildDelayedEvents(core, rooms);
  const delayedEventSender = new DelayedEventSender({
    ...{ db, clock, delayedEvents },
    log: getLogger("synapse.handlers.delayed_events"),
  });
  const previews = new RoomPreviews({ ...rooms, summaries: userData.summaries });
  return {
    ...finding,
    aggregations,
    delayedEvents,
    relations: new Relations({ db, ...rooms, bundle: aggregations.bundle }),
    oldSync: new OldSync({
      ...{ db, clock, notifier, stopping, ...rooms, bundle: aggregations.bundle },
      accountData: userData.accountData,
    }),
    reports: new Reports({ db, clock, isLocal, ...rooms }),
    openId: new OpenId({ db, clock, serverName: config.serverName }),
    accountAdmin: new AccountAdmin({ db, isLocal, ...accounts }),
    notificationList: new NotificationList({ db, ...rooms, bundle: aggregations.bundle }),
    previews,
    hierarchy: buildHierarchy(core, { rooms, previews, remoteUsers }),
    dehydratedDevices: new DehydratedDevices({
      ...{ db, clock, devices: accounts.devices, deviceKeys: userData.deviceKeys },
    }),
    threadSubscriptions: new ThreadSubscriptions({ db, notifier, ...rooms }),
    mutualRooms: new MutualRooms({ db }),
    onPersist: async (tx: Tx, batch: PersistedBatch): Promise<void> => {
      await aggregations.onPersist(tx, batch);
      await delayedEvents.onPersist(tx, batch);
    },
    /** Starts what runs in the background. */
    async start(): Promise<void> {
      await finding.start();
      if (config.server.maxEventDelayDuration !== null) delayedEventSender.start();
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await delayedEventSender[Symbol.asyncDispose]();
      await finding.stop();
    },
  };
}

/** Builds what walks spaces, here and elsewhere. */
function buildHierarchy(
  { config }: Core,
  { rooms, previews, remoteUsers }: Pick<SocialBase, "rooms" | "remoteUsers"> & { previews: RoomPreviews },
): SpaceHierarchy {
  const remote = new RemoteSpaces({
    serverName: config.serverName,
    remote: remoteUsers,
    isJoined: (userId, roomId) => rooms.facts.isJoined(userId, roomId),
  });
  return new SpaceHierarchy({ previews, state: rooms.state, remote });
}

/** Builds what finds messages and users, with what keeps the indexes. */
// deno-lint-ignore explicit-function-return-type -- the type is what is built
function buildFinding(
  core: Core,
  { rooms, accounts, bundle }: Pick<SocialBase, "rooms" | "accounts"> & { bundle: Bundler },
) {
  const { db, clock, notifier, config, isLocal, meters: { background } } = core;
  const { enableSearch } = config.server;
  const indexer = new SearchIndexer({
    ...{ db, clock, notifier, background, events: rooms.events },
    log: getLogger("synapse.storage.search"),
  });
  const directoryIndexer = new UserDirectoryIndexer({
    ...{ db, clock, notifier, background, isLocal, events: rooms.events, state: rooms.state },
    log: getLogger("synapse.handlers.user_directory"),
    memberProfile: (userId) => accounts.profiles.memberProfile(userId),
  });
  return {
    search: new SearchService({
      ...{ db, ...rooms, bundle },
      isEnabled: enableSearch,
      catchUp: () => indexer.catchUp(),
    }),
    userDirectory: new UserDirectoryService({
      db,
      serverName: config.serverName,
      options: config.rooms.userDirectory,
      catchUp: () => directoryIndexer.catchUp(),
    }),
    indexer,
    directoryIndexer,
    searchPosition: () => indexer.position,
    async start(): Promise<void> {
      if (enableSearch) await indexer.start();
      if (config.rooms.userDirectory.enabled) await directoryIndexer.start();
    },
    async stop(): Promise<void> {
      await indexer[Symbol.asyncDispose]();
      await directoryIndexer[Symbol.asyncDispose]();
    },
  };
}

const DEFAULT_DELAYED_PER_USER = 100;

function buildDelayedEvents({ db, clock, config }: Core, { engine, facts }: RoomParts): DelayedEvents {
  const maxPerUser = config.experimental.experimentalFeatures.features.msc4140_max_delayed_events_per_user;
  return new DelayedEvents({
    ...{ db, clock },
    maxDelayMs: config.server.maxEventDelayDuration,
    maxPerUser: typeof maxPerUser === "number" && maxPerUser > 0 ? maxPerUser : DEFAULT_DELAYED_PER_USER,
    isJoined: (userId, roomId) => facts.isJoined(userId, roomId),
    send: (requester, event) => engine.sendEvent(requester, event),
  });
}

/** Builds what decides about invitations: rooms ask it before they make one, sync before it shows one. */
export function buildInviteFilter(accountData: AccountDataService): DecideInvite {
  return new InviteFilter({
    accountData: (userId, type) => accountData.read({ userId, roomId: null, type }),
  }).decide;
}
