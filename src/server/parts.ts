/** Builds every part of the server once, with exactly what it needs. */
import { userAgentOf } from "../config/user_agent.ts";
import type { Dns } from "../federation/dns.ts";
import { WebProxies } from "../federation/web_proxies.ts";
import { FederationMedia } from "../media/federation_media.ts";
import { Media } from "../media/media.ts";
import type { RemoteMedia } from "../media/remote_media.ts";
import type { UserId } from "../protocol/ids.ts";
import type { DecideInvite } from "../rooms/invite_rules.ts";
import type { MemberProfile } from "../rooms/engine_deps.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import type { StoredEvent } from "../rooms/types.ts";
import { SentMembers } from "../rooms/lazy_members.ts";
import type { RedactedHandler } from "../rooms/user_redactions.ts";
import { ErasedUsers } from "../services/erased_users.ts";
import type { PushRulesService } from "../services/push_rules.ts";
import type { ServerNotices } from "../services/server_notices.ts";
import { deleteSearchDocuments } from "../storage/search.ts";
import { Filters } from "../sync/filters.ts";
import type { SlidingProviders } from "../sync/sliding/providers.ts";
import type { SlidingSyncService } from "../sync/sliding/sliding_sync.ts";
import { SharedEnds } from "../sync/shared_ends.ts";
import { Summaries } from "../sync/summaries.ts";
import { TimelineGaps } from "../sync/timeline_gaps.ts";
import { SyncService } from "../sync/sync.ts";
import { accountHooks } from "./account_hooks.ts";
import { type AccountParts, buildAccounts } from "./accounts.ts";
import { type AdministrationParts, buildAdministration } from "./administration.ts";
import type { Core } from "./core.ts";
import { buildPush, buildPushBase, type PushBase, type PushParts } from "./push.ts";
import { buildServerNotices, noticesProfile, withNotices } from "./server_notices.ts";
import { buildFederation, type FederationParts } from "./federation.ts";
import { buildFederationExchange, type FederationExchangeParts, otherServers } from "./federation_exchange.ts";
import { buildFederationRooms, type FederationRoomParts } from "./federation_rooms.ts";
import { buildRooms, type RoomParts } from "./rooms.ts";
import { buildSlidingCaches, buildSlidingSync, type SlidingCaches } from "./sliding_sync.ts";
import { buildInviteFilter, buildSocial, type SocialParts } from "./social.ts";
import { buildSso, type SsoParts } from "./sso.ts";
import { buildUserData, type UserDataParts } from "./user_data.ts";
import { buildUsage, type UsageParts } from "./usage.ts";
import { aliasServices, buildUsers, type UserParts } from "./users.ts";

/** All parts of the server. */
export interface Parts {
  readonly core: Core;
  readonly rooms: RoomParts;
  readonly accounts: AccountParts;
  readonly administration: AdministrationParts;
  readonly pushRules: PushRulesService;
  readonly push: PushParts;
  readonly serverNotices: ServerNotices;
  readonly usage: UsageParts;
  readonly userData: UserDataParts;
  readonly social: SocialParts;
  readonly users: UserParts;
  readonly federation: FederationParts;
  readonly federationRooms: FederationRoomParts;
  readonly exchange: FederationExchangeParts;
  readonly sync: {
    readonly sync: SyncService;
    readonly slidingSync: SlidingSyncService;
    readonly filters: Filters;
  };
  readonly media: Media;
  readonly sso: SsoParts;
  /** Aborted when the server stops: long waits end. */
  readonly stopping: AbortController;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Builds the parts; nothing runs by itself yet. */
export async function buildParts(core: Core, { dns }: { dns?: Dns } = {}): Promise<Parts> {
  const pushBase = await buildPushBase(core, { rooms: () => rooms, push: () => push });
  const { accountData, pushRules, notifications } = pushBase;
  const erased = await ErasedUsers.load(core.db);
  const decideInvite = withNotices(core.config, buildInviteFilter(accountData));
  const slidingCaches = buildSlidingCaches(core);
  const rooms: RoomParts = buildRooms(core, {
    ...{ decideInvite, onOutOfBand: (stored: StoredEvent) => users.inviteAccepter?.note(stored) },
    profileOf: (userId) => profileOf(core, { userId, accounts }),
    isErased: (userId) => erased.has(userId),
    ignoredUsers: (userId) => accountData.ignoredUsers(userId),
    showsSoftFailed: (reader) => accountData.showsSoftFailed(reader),
    onPersist: persistHandler(core, () => ({ pushBase, userData, social, users, slidingCaches, exchange })),
    bundle: (events, userId) => social.aggregations.bundle(events, userId),
  });
  const later = { userData: () => userData, social: () => social, push: () => push, exchange: () => exchange };
  const federation = await buildFederation(core, dns === undefined ? {} : { dns });
  const known = { rooms, pushRules, erased, federation, usage: () => usage };
  const accounts: AccountParts = buildAccounts(core, accountHooks(core, { ...later, ...known }));
  const userData: UserDataParts = buildUserData(core, {
    ...{ rooms, accountData, notifications },
    services: aliasServices(() => ({ accounts, users })),
    others: otherServers(() => exchange),
  });
  const push: PushParts = buildPush(core, { ...pushBase, rooms });
  const serverNotices = buildServerNotices(core, { rooms, accountData, accounts: accounts.accounts });
  const usage: UsageParts = buildUsage(core, { serverNotices, rooms, accounts });
  await userData.presence.restore();
  const stopping = new AbortController();
  const social: SocialParts = buildSocial(core, {
    ...{ rooms, accounts, userData, stopping: stopping.signal },
    remoteUsers: () => exchange.remoteUsers,
  });
  const onRedacted = redactedHandler({ notifications, social });
  const users: UserParts = buildUsers(core, { rooms, accounts, userData, onRedacted, decideInvite });
  const media = await openMedia(core, new FederationMedia(federation.client));
  const sso = buildSso(core, { accounts, media, usage });
  const reading = { rooms, accounts, userData, pushRules, social, decideInvite, slidingCaches };
  const sync = buildSync(core, { ...reading, stopping: stopping.signal });
  const federationRooms = buildFederationRooms(core, { federation, rooms, accounts, userData, social });
  const exchange: FederationExchangeParts = buildFederationExchange(core, {
    ...{ federation, federationRooms, rooms, accounts, userData, slidingCaches },
  });
  const parts = {
    ...{ core, rooms, accounts, pushRules, push, serverNotices, usage, userData, social, users, sync, media, sso },
    ...{ federation, federationRooms, exchange, stopping },
    administration: buildAdministration(core, { rooms, social, users, federation, exchange, stopping }),
  };
  return { ...parts, [Symbol.asyncDispose]: () => endParts(parts) };
}

/** Ends what runs by itself, those who use others first. */
async function endParts(
  { administration, exchange, push, users, social, accounts, userData, sso, media, federation }: Omit<
    Parts,
    typeof Symbol.asyncDispose
  >,
): Promise<void> {
  const { typing, presence } = userData;
  const ending = [exchange, push, users, social, accounts.userRooms, typing, presence, sso, media, accounts.passwords];
  for (const part of [administration, ...ending, federation.connections]) await part[Symbol.asyncDispose]();
}

/** What the other parts do in the transaction that writes events. */
function persistHandler(
  { meters: { hooks, measure } }: Core,
  parts: () => {
    pushBase: { readonly onPersist: PersistHandler };
    userData: UserDataParts;
    social: SocialParts;
    users: UserParts;
    slidingCaches: SlidingCaches;
    exchange: FederationExchangeParts;
  },
): PersistHandler {
  return async (tx, batch) => {
    const { pushBase, userData, social, users, slidingCaches, exchange } = parts();
    await measure("action_for_event_by_user", () => pushBase.onPersist(tx, batch));
    tx.afterCommit(() => void userData.typing.keepOnly(batch.room.roomId, batch.localJoined));
    await social.onPersist(tx, batch);
    await users.onPersist(tx, batch);
    await slidingCaches.onPersist(tx, batch);
    for (const { deltas } of batch.events) {
      await exchange.remoteDevices.noteMoves(tx, { ...batch, roomNid: batch.room.roomNid, deltas });
    }
    await hooks?.onPersist(tx, batch);
  };
}

/** What else is done in the transaction that redacts events without an event of its own for each. */
function redactedHandler(
  { notifications, social }: Pick<PushBase, "notifications"> & { social: SocialParts },
): RedactedHandler {
  return async (tx, { events }) => {
    for (const stored of events) await notifications.takeBack(tx, stored);
    await social.aggregations.takeBack(tx, events);
    await deleteSearchDocuments(tx, events.flatMap(({ position }) => position ?? []));
  };
}

async function profileOf(
  { config, isLocal }: Core,
  { userId, accounts }: { userId: UserId; accounts: AccountParts },
): Promise<MemberProfile | null> {
  const notices = noticesProfile(config, userId);
  return notices ?? (isLocal(userId) ? await accounts.profiles.memberProfile(userId) : null);
}

function openMedia({ config, db, clock }: Core, remote: RemoteMedia): Promise<Media> {
  const { serverName, publicBaseurl, media: settings } = config;
  const userAgent = userAgentOf(config);
  const proxies = new WebProxies(config.server);
  const base = { db, clock, serverName, publicBaseurl, settings, userAgent, proxies };
  return Media.open({ ...base, baseFolder: ".", remote });
}

function buildSync(
  core: Core,
  { rooms, accounts, userData, pushRules, social, decideInvite, slidingCaches, stopping }: {
    rooms: RoomParts;
    accounts: AccountParts;
    userData: UserDataParts;
    pushRules: PushRulesService;
    social: SocialParts;
    decideInvite: DecideInvite;
    slidingCaches: SlidingCaches;
    stopping: AbortSignal;
  },
): Parts["sync"] {
  const { db, clock, notifier, config, meters: { measure } } = core;
  const providers: SlidingProviders = {
    accountData: userData.accountData,
    pushRules,
    receipts: userData.receipts,
    typing: userData.typing,
    presence: userData.presence,
    toDevice: userData.toDevice,
    deviceLists: userData.deviceLists,
    keyCounts: userData.deviceKeys,
    notifications: userData.notifications,
    profiles: accounts.profileChanges,
    threadSubscriptions: social.threadSubscriptions,
  };
  const summaries = new Summaries({ db, state: rooms.state });
  const gaps = new TimelineGaps({ db, isLocal: core.isLocal });
  const { bundle } = social.aggregations;
  const ends = new SharedEnds({ ...rooms, clock, gaps });
  const sync = new SyncService({
    ...rooms,
    ...{ db, clock, notifier, providers, summaries, bundle, decideInvite, stopping, gaps, ends, measure },
    sentMembers: new SentMembers(),
    excludedRooms: new Set(config.rooms.excludeRoomsFromSync),
  });
  const slidingSync = buildSlidingSync(core, {
    ...{ rooms, providers, summaries, gaps, ends, bundle, decideInvite, stopping },
    caches: slidingCaches,
  });
  return { sync, slidingSync, filters: new Filters({ db, maxTimeline: config.server.filterTimelineLimit }) };
}
