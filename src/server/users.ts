/** What kinds of users there are besides those with a password: guests, and the users of application services. */
import { userAgentOf } from "../config/user_agent.ts";
import { getLogger } from "../lib/log.ts";
import type { RoomAlias } from "../protocol/ids.ts";
import { type HistoryPurge, purgeHistory } from "../rooms/history_purge.ts";
import type { DecideInvite } from "../rooms/invite_rules.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import { type RedactedHandler, redactSpan } from "../rooms/user_redactions.ts";
import { AppserviceActions } from "../services/appservice_actions.ts";
import { AppserviceClient } from "../services/appservice_client.ts";
import { AppserviceInterest } from "../services/appservice_interest.ts";
import type { DirectoryServices } from "../services/directory.ts";
import { ThirdPartyService } from "../services/third_party.ts";
import { AppserviceBatches } from "../workers/appservice_batches.ts";
import { AppserviceDeviceData } from "../workers/appservice_device_data.ts";
import { AppserviceEphemeral } from "../workers/appservice_ephemeral.ts";
import { AppserviceSender } from "../workers/appservice_sender.ts";
import { GuestEvictions } from "../workers/guest_evictions.ts";
import { InviteAccepter } from "../workers/invite_accepter.ts";
import { UserRedactions } from "../workers/user_redactions.ts";
import type { AccountParts } from "./accounts.ts";
import type { Core } from "./core.ts";
import type { RoomParts } from "./rooms.ts";
import type { UserDataParts } from "./user_data.ts";

/** The parts. */
export type UserParts = ReturnType<typeof buildUsers>;

/** What they are built on. */
export interface UsersBase {
  readonly rooms: RoomParts;
  readonly accounts: AccountParts;
  readonly userData: UserDataParts;
  /** What follows from redactions that are no events. */
  readonly onRedacted: RedactedHandler;
  readonly decideInvite: DecideInvite;
}

/** Builds the parts. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildUsers(core: Core, base: UsersBase) {
  const { db, config } = core;
  const { appservices } = base.accounts;
  const client = new AppserviceClient({
    userAgent: userAgentOf(config),
    tokenInQuery: config.api.useAppserviceLegacyAuthorization,
  });
  const localJoinedUsers = base.rooms.engine.localJoinedUsers.bind(base.rooms.engine);
  const membershipAt = base.rooms.visibility.membershipAt.bind(base.rooms.visibility);
  const interest = new AppserviceInterest({ db, appservices, localJoinedUsers, membershipAt });
  const sender = buildSender(core, { ...base, client, interest });
  const departures = buildDepartures(core, base);
  const inviteAccepter = buildInviteAccepter(core, base);
  return {
    ...{ interest, inviteAccepter, purgeHistory: historyPurger(base) },
    counts: { ...sender.counts, requests: client.counts },
    /** Serves these application services from now on. */
    async replaceServices(registrations: Core["appserviceRegistrations"]): Promise<void> {
      appservices.replace(registrations);
      interest.forgetAll();
      await sender.replace(appservices.all);
    },
    onPersist: (async (tx, batch) => {
      await departures.onPersist(tx, batch);
      await inviteAccepter?.onPersist(tx, batch);
    }) satisfies PersistHandler,
    thirdParty: new ThirdPartyService({ appservices, client }),
    appserviceActions: buildActions(core, { appservices, client, sender }),
    /** Asks the services in whose namespaces an alias is to make it; returns whether one has. */
    async makeAlias(alias: RoomAlias): Promise<boolean> {
      for (const service of appservices.all) {
        if (appservices.wantsAlias(service, alias) && await client.has(service, "rooms", alias)) return true;
      }
      return false;
    },
    /** Starts what runs in the background. */
    async start(): Promise<void> {
      departures.start();
      await sender.start();
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await inviteAccepter?.[Symbol.asyncDispose]();
      await sender[Symbol.asyncDispose]();
      await client[Symbol.asyncDispose]();
      await departures[Symbol.asyncDispose]();
    },
  };
}

function buildActions(
  { db, clock }: Core,
  { appservices, client, sender }: {
    appservices: AccountParts["appservices"];
    client: AppserviceClient;
    sender: AppserviceSender;
  },
): AppserviceActions {
  return new AppserviceActions({
    ...{ db, clock, appservices, client },
    onReached: (serviceId) => sender.retryNow(serviceId),
  });
}

function buildSender(
  { db, clock, notifier, meters }: Core,
  { rooms, accounts, userData, client, interest }: UsersBase & {
    client: AppserviceClient;
    interest: AppserviceInterest;
  },
): AppserviceSender {
  const { appservices } = accounts;
  const { typing, presence, deviceKeys } = userData;
  return new AppserviceSender({
    ...{ db, clock, notifier, client, isCounted: meters.metrics.isEnabled },
    log: getLogger("synapse.appservice"),
    services: appservices.all,
    batches: new AppserviceBatches({
      ...{ db, appservices, interest, client },
      events: rooms.events,
      renderer: rooms.renderer,
      ephemeral: new AppserviceEphemeral({ db, appservices, interest, typing, presence }),
      deviceData: new AppserviceDeviceData({ db, deviceKeys }),
    }),
  });
}

/** What follows when users have to leave a room. */
interface Departures extends AsyncDisposable {
  /** Runs in the transaction that writes events. */
  readonly onPersist: PersistHandler;
  start(): void;
}

function buildDepartures(core: Core, base: UsersBase): Departures {
  const guestEvictions = buildGuestEvictions(core, base);
  const userRedactions = buildUserRedactions(core, base);
  return {
    async onPersist(tx, batch) {
      await guestEvictions.onPersist(tx, batch);
      await userRedactions.onPersist(tx, batch);
    },
    start() {
      guestEvictions.wake();
      userRedactions.wake();
    },
    async [Symbol.asyncDispose]() {
      await guestEvictions[Symbol.asyncDispose]();
      await userRedactions[Symbol.asyncDispose]();
    },
  };
}

function buildUserRedactions({ db, clock }: Core, { rooms, onRedacted }: UsersBase): UserRedactions {
  return new UserRedactions({
    ...{ db, clock },
    log: getLogger("synapse.handlers.room_member"),
    redactSpan: (redaction) => rooms.engine.withDeps((deps) => redactSpan(deps, { redaction, onRedacted })),
  });
}

/** Returns what deletes old events of a room; returns how many there were. */
function historyPurger(
  { rooms: { engine, timelines }, onRedacted: onRemoved }: UsersBase,
): (purge: HistoryPurge, signal: AbortSignal) => Promise<number> {
  return (purge, signal) =>
    engine.withDeps((deps) => purgeHistory({ ...deps, timelines, onRemoved }, { purge, signal }));
}

/** Builds what accepts invitations; null where that is off. */
function buildInviteAccepter(
  { db, clock, config, isLocal }: Core,
  { rooms, userData, decideInvite }: UsersBase,
): InviteAccepter | null {
  const options = config.rooms.autoAcceptInvites;
  if (!options.enabled) return null;
  return new InviteAccepter({
    ...{ db, clock, isLocal, options, decideInvite, accountData: userData.accountData },
    log: getLogger("synapse.events.auto_accept_invites"),
    join: (userId, roomId) =>
      rooms.engine.join(
        { userId, deviceId: null, isGuest: false, isAdmin: false, isShadowBanned: false, appserviceId: null },
        { roomId },
      ),
  });
}

function buildGuestEvictions({ db, clock }: Core, { rooms }: UsersBase): GuestEvictions {
  return new GuestEvictions({
    ...{ db, clock },
    log: getLogger("synapse.handlers.room_member"),
    allowsGuests: async (roomId) => {
      const content = await rooms.facts.content(roomId, "m.room.guest_access");
      return content?.guest_access === "can_join";
    },
    leave: (userId, roomId) =>
      rooms.engine.leave(
        { userId, deviceId: null, isGuest: true, isAdmin: false, isShadowBanned: false, appserviceId: null },
        { roomId },
      ),
  });
}

/** What application services have to do with aliases. */
export function aliasServices(parts: () => { accounts: AccountParts; users: UserParts }): DirectoryServices {
  return {
    assertMayUseAlias: (who, alias) => parts().accounts.appservices.assertMayUseAlias(who, alias),
    make: (alias) => parts().users.makeAlias(alias),
    noteChange: (roomId) => parts().users.interest.forget(roomId),
  };
}
