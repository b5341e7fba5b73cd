/** What we exchange with other servers about rooms: events, memberships, EDUs. */
import type { UserId } from "../protocol/ids.ts";
import { ThirdPartyInvites } from "../services/third_party_invites.ts";
import { RemoteEvents } from "../federation/remote_events.ts";
import { RemoteMembership } from "../federation/remote_membership.ts";
import { askPolicyServer } from "../federation/remote_policy.ts";
import { RemoteUsers } from "../federation/remote_users.ts";
import type { App } from "../http/app.ts";
import { inviteRoutes } from "../http/federation/invites.ts";
import { thirdPartyInviteRoutes } from "../http/federation/third_party_invites.ts";
import { transactionRoutes } from "../http/federation/transactions.ts";
import { getLogger } from "../lib/log.ts";
import { HandleInvites } from "../rooms/handle_invites.ts";
import { Backfill } from "../rooms/backfill.ts";
import { Inbound } from "../rooms/inbound.ts";
import { PartialRooms } from "../rooms/partial_rooms.ts";
import type { ReplacedHandler } from "../rooms/complete_partial.ts";
import { PduChecks } from "../rooms/pdu_checks.ts";
import { type PerformDeps, PerformMemberships } from "../rooms/perform_memberships.ts";
import { OutboundEdus } from "../services/outbound_edus.ts";
import { FederationSender } from "../workers/federation_sender.ts";
import { FederationInbox } from "../services/federation_inbox.ts";
import { InboundEdus } from "../services/inbound_edus.ts";
import { RemoteLookUps } from "../services/remote_look_ups.ts";
import { RemoteDevices } from "../services/remote_devices.ts";
import { selectDeviceListChanges } from "../storage/cross_signing.ts";
import { selectUser } from "../storage/users.ts";
import type { AccountParts } from "./accounts.ts";
import type { Core } from "./core.ts";
import type { FederationParts } from "./federation.ts";
import type { FederationRoomParts } from "./federation_rooms.ts";
import type { RoomParts } from "./rooms.ts";
import type { SlidingCaches } from "./sliding_sync.ts";
import type { OtherServers, UserDataParts } from "./user_data.ts";

const log = getLogger("synapse.federation.server");

/** The parts of the exchange. */
export type FederationExchangeParts = ReturnType<typeof buildFederationExchange>;

/** Builds them, and lets the engine reach other servers. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildFederationExchange(
  core: Core,
  { federation, federationRooms, rooms, accounts, userData, slidingCaches }: {
    slidingCaches: SlidingCaches;
    accounts: AccountParts;
    federation: FederationParts;
    federationRooms: FederationRoomParts;
    rooms: RoomParts;
    userData: UserDataParts;
  },
) {
  const { db, clock, notifier, config: { serverName } } = core;
  const { client, checks: signatures } = federation;
  const { engine, events, state } = rooms;
  const { acls, hosts } = federationRooms;
  const [remoteEvents, remoteUsers] = [new RemoteEvents(client), new RemoteUsers(client)];
  const checks = new PduChecks(signatures);
  const inbound = new Inbound({ db, engine, events, remote: remoteEvents, checks, log });
  const remote = new RemoteMembership(client);
  const remoteDevices = new RemoteDevices({ db, notifier, remote: remoteUsers, log });
  const onReplaced = replacedHandler(rooms, { remoteDevices, slidingCaches });
  const partialRooms = connectRooms(core, { rooms, hosts, inbound, checks, remote, signatures, onReplaced });
  const isActive = async (userId: UserId) => (await selectUser(db, userId))?.isDeactivated === false;
  const invites = engine.withDeps((deps) => new HandleInvites({ engine: deps, checks: signatures, acls, isActive }));
  const edus = new InboundEdus({ ...{ db, clock, events, state, acls, remoteDevices }, ...userData });
  const inbox = new FederationInbox({
    ...{ db, clock, log, events, inbound, checks, acls },
    localJoinedUsers: (roomId) => engine.localJoinedUsers(roomId),
    outOfBand: invites.turnAway.bind(invites),
    receiveEdu: edus.receive.bind(edus),
    ...(core.meters.hooks === null ? {} : { onReceived: core.meters.hooks.onReceived }),
  });
  const thirdPartyInvites = buildThirdPartyInvites(core, { federation, rooms, remote });
  const { outbound, sender } = buildSending(core, { accounts, events, federation, hosts, userData });
  const sources = { db, engine, events, remote: remoteEvents, checks, inbound, hosts, log, serverName };
  rooms.policySigner.ask = (request) => askPolicyServer(client, request);
  rooms.history.current = new Backfill({ ...sources, clock });
  connectOutbox(rooms, { userData, sender });
  const removeListener = followDeviceLists(core, outbound);
  return {
    lookUps: new RemoteLookUps({ remote: remoteUsers, log }),
    ...{ remoteEvents, remoteUsers, remoteDevices, inbound, invites, inbox, outbound, sender },
    ...{ thirdPartyInvites, partialRooms },
    async [Symbol.asyncDispose](): Promise<void> {
      await partialRooms[Symbol.asyncDispose]();
      removeListener();
      await sender[Symbol.asyncDispose]();
    },
  };
}

function connectOutbox(
  { outbox }: RoomParts,
  { userData, sender }: { userData: UserDataParts; sender: FederationSender },
): void {
  // Servers that come to share a room with the user start to follow their devices.
  outbox.onLocalJoin((tx, userId) => userData.deviceLists.noteChange(tx, userId));
  outbox.onWork((servers, work) => sender.wake(servers, work));
}

/** Lets the engine reach other servers, and joins be completed. */
function connectRooms(
  { db, clock, notifier }: Core,
  { rooms, onReplaced, ...deps }:
    & { rooms: RoomParts; onReplaced: ReplacedHandler }
    & Pick<
      PerformDeps,
      "hosts" | "inbound" | "checks" | "remote" | "signatures"
    >,
): PartialRooms {
  const partialRooms: PartialRooms = rooms.engine.withDeps((engine) =>
    new PartialRooms({ db, clock, log, notifier, engine, inbound: deps.inbound, onReplaced })
  );
  const faster = { outbox: rooms.outbox, partialRooms, positions: rooms.partials };
  rooms.engine.connect((engine) => new PerformMemberships({ ...deps, engine, log, faster }));
  rooms.whole.current = partialRooms;
  return partialRooms;
}

/** What follows from a state that became whole. */
function replacedHandler(
  { outbox, timelines, memberships, partials }: RoomParts,
  { remoteDevices, slidingCaches }: { remoteDevices: RemoteDevices; slidingCaches: SlidingCaches },
): ReplacedHandler {
  return async (tx, replaced) => {
    const { roomNid, position, deltas, servers } = replaced;
    await outbox.replaceState(tx, replaced);
    await outbox.countServers(tx, { roomNid, servers, by: -1, position });
    await remoteDevices.noteMoves(tx, replaced);
    await remoteDevices.notePending(tx, replaced);
    partials.noteChange(tx);
    tx.afterCommit(() => {
      timelines.noteReplaced(roomNid, position);
      slidingCaches.traits.drop(roomNid);
      for (const { stateKey } of deltas.localMembers) memberships.drop(stateKey as UserId);
    });
  };
}

/** Builds what invites people by their addresses. */
function buildThirdPartyInvites(
  { config }: Core,
  { federation: { identityServers }, rooms, remote }: {
    federation: FederationParts;
    rooms: RoomParts;
    remote: RemoteMembership;
  },
): ThirdPartyInvites {
  return new ThirdPartyInvites({
    ...{ remote, log, engine: rooms.engine, state: rooms.state, serverName: config.serverName },
    profiles: { get: rooms.hooks.profileOf },
    identityServers,
    webClientLocation: config.email.email?.inviteClientLocation ?? null,
    isEnabled: config.registration.enable3pidLookup,
  });
}

/** Builds what sends to other servers. */
function buildSending(
  { db, clock, notifier, config, meters: { hooks, background } }: Core,
  { accounts, events, federation, hosts, userData }: {
    accounts: AccountParts;
    events: RoomParts["events"];
    federation: FederationParts;
    hosts: FederationRoomParts["hosts"];
    userData: UserDataParts;
  },
): { outbound: OutboundEdus; sender: FederationSender } {
  const { serverName } = config;
  const outbound: OutboundEdus = new OutboundEdus({
    ...{ db, clock, events, serverName, hosts },
    sender: () => sender,
    presence: () => userData.presence,
    deviceKeys: () => userData.deviceKeys,
    deviceIds: (userId) => accounts.devices.ids(userId),
    allowDeviceNames: config.federation.allowDeviceNameLookupOverFederation,
  });
  const { client, backoff, isAllowed } = federation;
  const sender = new FederationSender({
    ...{ db, clock, notifier, client, events, serverName, backoff, isAllowed, background },
    deviceLists: outbound.deviceLists,
    log: getLogger("synapse.federation.sender"),
    wakeupsPerSecond: config.ratelimits.federationRrTransactionsPerRoomPerSecond,
    ...(hooks === null ? {} : { onSent: hooks.onSent }),
  });
  return { outbound, sender };
}

/** Wakes the sender when the devices or keys of a local user change. */
function followDeviceLists({ db, notifier, isLocal }: Core, outbound: OutboundEdus): () => void {
  return notifier.onPublish((stream, position) => {
    if (stream !== "device_lists") return;
    const tell = async () => {
      for (const userId of await selectDeviceListChanges(db, { after: position - 1, upTo: position, limit: 1 })) {
        if (isLocal(userId)) await outbound.deviceListChanged(userId);
      }
    };
    tell().catch((error) => log.error("A change of devices could not be told to other servers", { error }));
  });
}

/** Tells other servers what local users do; `exchange` exists once anybody does something. */
export function otherServers(exchange: () => FederationExchangeParts): OtherServers {
  const told = (work: Promise<void>) => {
    work.catch((error) => log.error("Other servers could not be told", { error }));
  };
  return {
    onTyping: (change) => told(exchange().outbound.typing(change)),
    onRead: (receipt) => told(exchange().outbound.receipt(receipt)),
    onPresence: (userId) => told(exchange().outbound.presence(userId)),
    resolveAlias: (alias) => exchange().lookUps.alias(alias),
    sendToDevice: (tx, message) => exchange().outbound.toDevice(tx, message),
  };
}

/** Registers the endpoints of the exchange. */
export function addFederationExchangeRoutes(
  app: App,
  { core: { config: { serverName } }, federation: { auth }, exchange: { inbox, invites, thirdPartyInvites } }: {
    core: Core;
    federation: FederationParts;
    exchange: FederationExchangeParts;
  },
): void {
  transactionRoutes(app, { auth, inbox });
  inviteRoutes(app, { auth, invites });
  thirdPartyInviteRoutes(app, { auth, serverName, thirdPartyInvites });
}
