/** The room engine and everything that reads rooms. */
import { getLogger } from "../lib/log.ts";
import { randomString } from "../lib/random.ts";
import { StartupError } from "../lib/startup_error.ts";
import type { UserId } from "../protocol/ids.ts";
import { getRoomVersion } from "../protocol/room_versions.ts";
import { autoForget } from "../rooms/auto_forget.ts";
import { EventContext } from "../rooms/context.ts";
import { type EngineOptions, type MemberProfile } from "../rooms/engine_deps.ts";
import { RoomEngine } from "../rooms/engine.ts";
import { EventStore } from "../rooms/event_store.ts";
import type { DecideInvite } from "../rooms/invite_rules.ts";
import { JoinPositions } from "../rooms/join_positions.ts";
import { MemberLoader } from "../rooms/lazy_members.ts";
import { LocalMemberships } from "../rooms/local_memberships.ts";
import { MembershipMoves } from "../rooms/membership_moves.ts";
import { Outbox } from "../rooms/outbox.ts";
import { type Bundler, Pagination, type RemoteHistory } from "../rooms/pagination.ts";
import { PartialPositions } from "../rooms/partial_positions.ts";
import type { PartialRooms } from "../rooms/partial_rooms.ts";
import type { PersistHandler } from "../rooms/pending.ts";
import { PolicySigner } from "../rooms/policy.ts";
import { Relationships, type RelationshipsDeps } from "../rooms/relationships.ts";
import { prejoinStateOf } from "../rooms/prejoin_state.ts";
import { EventRenderer } from "../rooms/renderer.ts";
import { type RoomAccessDeps, RoomReaders } from "../rooms/room_access.ts";
import { RetentionPolicies } from "../rooms/retention_policies.ts";
import { RoomFacts } from "../rooms/room_facts.ts";
import { RoomHeads } from "../rooms/room_heads.ts";
import { RoomState } from "../rooms/room_state.ts";
import { RoomTimelines } from "../rooms/room_timelines.ts";
import { StickyEvents } from "../rooms/sticky_events.ts";
import { StateReader } from "../rooms/state_reader.ts";
import { TimestampSearch } from "../rooms/timestamp.ts";
import { TransactionIds } from "../rooms/transaction_ids.ts";
import type { StoredEvent } from "../rooms/types.ts";
import { Visibility } from "../rooms/visibility.ts";
import { IdAllocator, type IdSequence } from "../storage/id_blocks.ts";
import { StateKeys } from "../storage/interning.ts";
import { StateTrees } from "../storage/state_nodes.ts";
import { scaleCaches } from "./caches.ts";
import type { Core } from "./core.ts";
import { noticesUserOf } from "./server_notices.ts";

/** What rooms need from the services above them; bound once those exist. */
export interface RoomHooks {
  readonly profileOf: (userId: UserId) => Promise<MemberProfile | null>;
  /** Tells whether a user's messages are hidden from newcomers. */
  readonly isErased: (userId: UserId) => boolean;
  readonly ignoredUsers: (userId: UserId) => ReadonlySet<string>;
  readonly showsSoftFailed?: RoomAccessDeps["showsSoftFailed"];
  /** Run in the transaction that writes events, after the engine's own. */
  readonly onPersist: PersistHandler;
  readonly bundle?: Bundler;
  readonly decideInvite?: DecideInvite;
  /** Told of memberships in rooms that this server is not in. */
  readonly onOutOfBand?: (stored: StoredEvent) => void;
}

/** The parts of the room layer. */
export type RoomParts = ReturnType<typeof buildRooms>;

/** Builds the room layer. */
// deno-lint-ignore explicit-module-boundary-types -- the type is what is built
export function buildRooms(core: Core, hooks: RoomHooks) {
  const { db, clock, notifier, signer, config } = core;
  const stores = buildStores(core, hooks);
  const { events, heads, trees, keys, state, timelines, memberships, transactions, allocator } = stores;
  const { retention, visibility, partials } = stores;
  const readers = new RoomReaders({ events, state, visibility, memberships, ...pickReaders(hooks) });
  const renderer = new EventRenderer({ events, state, transactions, clock });
  const members = new MemberLoader({ state });
  const bundle = hooks.bundle === undefined ? {} : { bundle: hooks.bundle };
  const history: { current: RemoteHistory | null } = { current: null };
  const reading = { history, events, state, visibility, readers, renderer, members, ...bundle };
  const pagination = new Pagination({ ...reading, db, streamPosition: () => notifier.position("events") });
  const stickyEvents = new StickyEvents({
    ...{ db, clock, events },
    isEnabled: config.experimental.experimentalFeatures.isEnabled("msc4354_enabled"),
  });
  const relationships = relationshipsOf(config, { db, ...reading });
  scaleCaches({ ...stores, renderer }, config.caching);
  const outbox = new Outbox({ serverName: config.serverName });
  const policySigner = new PolicySigner(getLogger("synapse.rooms.policy"));
  const onForgotten = (userId: UserId) => memberships.drop(userId);
  const engine = new RoomEngine({
    ...{ db, clock, notifier, signer, events, heads, trees, keys, policySigner, serverName: config.serverName },
    ...{ eventIds: allocator("event"), roomIds: allocator("room"), onForgotten, randomText: randomString },
    onPersist: [
      memberships.onPersist,
      timelines.onPersist,
      transactions.onPersist,
      retention.onPersist,
      ...forgetHandlers(core, onForgotten),
      stickyEvents.onPersist,
      ...(relationships === null ? [] : [relationships.onPersist]),
      hooks.onPersist,
      outbox.onPersist,
    ],
    prejoinState: async (roomId) => await state.prejoin(await state.currentRoot(roomId) ?? 0),
    ...{ options: engineOptions(core), profiles: { get: hooks.profileOf } },
    ...pickHooks(hooks),
  });
  return {
    ...{ ...stores, readers, renderer, members, pagination, engine, stickyEvents, outbox, history },
    ...{ policySigner, hooks, relationships, whole: { current: null as PartialRooms | null } },
    context: new EventContext({ ...reading, db, pagination }),
    roomState: new RoomState({ db, events, state, renderer }),
    timestamps: new TimestampSearch({ db, events, visibility, history }),
    facts: new RoomFacts({ db, events, state, memberships, visibility }),
    moves: new MembershipMoves({ partials, memberships, timelines, events, state }),
    joinPositions: new JoinPositions({ events, state }),
  };
}

function pickReaders({ ignoredUsers, showsSoftFailed = () => false }: RoomHooks): Pick<
  RoomAccessDeps,
  "ignoredUsers" | "showsSoftFailed"
> {
  return { ignoredUsers, showsSoftFailed };
}

function pickHooks({ decideInvite, onOutOfBand }: RoomHooks): Pick<RoomHooks, "decideInvite" | "onOutOfBand"> {
  return { ...(decideInvite && { decideInvite }), ...(onOutOfBand && { onOutOfBand }) };
}

function forgetHandlers(core: Core, onForgotten: (userId: UserId) => void): PersistHandler[] {
  const options = engineOptions(core);
  if (options.forgetsOnLeave !== true) return [];
  return [autoForget({ clock: core.clock, options, onForgotten })];
}

function relationshipsOf({ experimental }: Core["config"], deps: RelationshipsDeps): Relationships | null {
  return experimental.experimentalFeatures.isEnabled("msc2836_enabled") ? new Relationships(deps) : null;
}

// deno-lint-ignore explicit-function-return-type -- the type is what is built
function buildStores({ db, notifier, config, clock }: Core, { isErased }: RoomHooks) {
  const allocator = (sequence: IdSequence) => new IdAllocator({ db, sequence });
  const events = new EventStore({ db });
  const heads = new RoomHeads({ db, events });
  const trees = new StateTrees({ db, ids: allocator("state_node") });
  const keys = new StateKeys({ db, ids: allocator("state_key") });
  const currentRoot: ConstructorParameters<typeof StateReader>[0]["currentRoot"] = async (roomId) =>
    (await heads.load(roomId))?.stateRoot ?? null;
  const state = new StateReader({
    ...{ tree: trees, keys, events, currentRoot },
    prejoin: prejoinStateOf(config.api.roomPrejoinState),
  });
  const timelines = new RoomTimelines({ db, position: notifier.position("events") });
  const memberships = new LocalMemberships({
    db,
    onRoom: (roomNid, lastPosition) => timelines.noteRoom(roomNid, lastPosition),
  });
  const transactions = new TransactionIds({ db });
  const partials = new PartialPositions({ db });
  const retention = new RetentionPolicies(config.blocking.retention);
  const isExpired = (stored: StoredEvent) => retention.isExpired(stored, clock.now());
  const visibility = new Visibility({ state, events, isErased, isExpired });
  return {
    ...{ retention, visibility, allocator, events, heads, trees, keys, state, timelines, memberships, transactions },
    partials,
  };
}

function engineOptions({ config }: Core): EngineOptions {
  const version = getRoomVersion(config.server.defaultRoomVersion);
  if (version === null) {
    throw new StartupError(
      `"default_room_version" is ${config.server.defaultRoomVersion}, which is not a known version`,
    );
  }
  return {
    defaultRoomVersion: version.id,
    encryptionDefault: config.rooms.encryptionEnabledByDefaultForRoomType,
    powerLevelOverrides: config.rooms.defaultPowerLevelContentOverride as EngineOptions["powerLevelOverrides"],
    dummyEventsThreshold: config.server.dummyEventsThreshold,
    forgottenRetentionMs: config.blocking.forgottenRoomRetentionPeriod,
    forgetsOnLeave: config.rooms.forgetRoomsOnLeave,
    roomLimit: config.blocking.limitRemoteRooms.enabled ? config.blocking.limitRemoteRooms : null,
    showsInvitedProfiles: config.server.includeProfileDataOnInvite,
    noticesUser: noticesUserOf(config),
    blocksInvites: config.server.blockNonAdminInvites,
    allowsRoomProfiles: config.blocking.allowPerRoomProfiles,
  };
}
