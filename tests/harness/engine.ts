/** A room engine over a test database, without HTTP. */
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "../../src/lib/clock.ts";
import { randomString, type RandomText } from "../../src/lib/random.ts";
import type { DeviceId, ServerName, UserId } from "../../src/protocol/ids.ts";
import { type Signer, signingKeyFromSeed } from "../../src/protocol/signatures.ts";
import type { EngineOptions, MemberProfile } from "../../src/rooms/engine_deps.ts";
import { RoomEngine } from "../../src/rooms/engine.ts";
import { EventStore } from "../../src/rooms/event_store.ts";
import type { PersistHandler } from "../../src/rooms/pending.ts";
import { RoomHeads } from "../../src/rooms/room_heads.ts";
import { PolicySigner } from "../../src/rooms/policy.ts";
import { getLogger } from "../../src/lib/log.ts";
import { StateReader } from "../../src/rooms/state_reader.ts";
import type { Requester } from "../../src/rooms/types.ts";
import type { Database } from "../../src/storage/database.ts";
import { IdAllocator } from "../../src/storage/id_blocks.ts";
import { StateKeys } from "../../src/storage/interning.ts";
import { StateTrees } from "../../src/storage/state_nodes.ts";
import { selectStreamPositions } from "../../src/storage/streams.ts";
import { Notifier } from "../../src/streams/notifier.ts";

/** The name of the server in engine tests. */
export const TEST_SERVER = "test.example" as ServerName;

const SIGNER: Signer = { serverName: TEST_SERVER, key: signingKeyFromSeed("test", randomBytes(32)) };

/** How an engine differs from the usual one. */
export interface TestEngineOptions {
  readonly options?: Partial<EngineOptions>;
  readonly onPersist?: readonly PersistHandler[];
  /** The server's name and key. */
  readonly signer?: Signer;
  readonly clock?: Clock;
  readonly randomText?: RandomText;
}

/** An engine and the parts it is made of. */
export interface TestEngine {
  readonly db: Database;
  readonly engine: RoomEngine;
  readonly events: EventStore;
  readonly heads: RoomHeads;
  readonly state: StateReader;
  readonly trees: StateTrees;
  readonly keys: StateKeys;
  readonly notifier: Notifier;
  /** Profiles that member events take. */
  readonly profiles: Map<UserId, MemberProfile>;
}

/** Makes an engine with empty caches, as after a restart. */
export async function openEngine(
  db: Database,
  { options = {}, onPersist = [], signer = SIGNER, clock = systemClock, randomText = randomString }: TestEngineOptions =
    {},
): Promise<TestEngine> {
  const allocator = (sequence: "event" | "room" | "state_key" | "state_node") => new IdAllocator({ db, sequence });
  const events = new EventStore({ db });
  const heads = new RoomHeads({ db, events });
  const trees = new StateTrees({ db, ids: allocator("state_node") });
  const keys = new StateKeys({ db, ids: allocator("state_key") });
  const currentRoot = async (roomId: Parameters<RoomHeads["load"]>[0]) => (await heads.load(roomId))?.stateRoot ?? null;
  const state = new StateReader({ tree: trees, keys, events, currentRoot });
  const notifier = await openNotifier(db);
  const profiles = new Map<UserId, MemberProfile>();
  const engine = new RoomEngine({
    db,
    serverName: signer.serverName,
    events,
    heads,
    trees,
    keys,
    notifier,
    policySigner: new PolicySigner(getLogger("test")),
    onPersist,
    eventIds: allocator("event"),
    roomIds: allocator("room"),
    ...{ signer, clock, randomText },
    profiles: { get: (userId) => Promise.resolve(profiles.get(userId) ?? null) },
    prejoinState: async (roomId) => await state.prejoin(await currentRoot(roomId) ?? 0),
    options: {
      defaultRoomVersion: "12",
      encryptionDefault: "off",
      powerLevelOverrides: {},
      dummyEventsThreshold: 10,
      ...options,
    },
  });
  return { db, engine, events, heads, state, trees, keys, notifier, profiles };
}

async function openNotifier(db: Database): Promise<Notifier> {
  const stored = await selectStreamPositions(db);
  const at = (stream: "events" | "receipts" | "account_data" | "to_device" | "device_lists" | "push_rules") =>
    stored.get(stream) ?? 0;
  return new Notifier({
    events: at("events"),
    receipts: at("receipts"),
    account_data: at("account_data"),
    to_device: at("to_device"),
    device_lists: at("device_lists"),
    push_rules: at("push_rules"),
    presence: 0,
    typing: 0,
  });
}

/** Returns the user of that name on the test server. */
export function testUser(name: string): UserId {
  return `@${name}:${TEST_SERVER}` as UserId;
}

/** Returns a user with a device as they ask for something. */
export function testRequester(name: string, overrides: Partial<Requester> = {}): Requester {
  return {
    userId: testUser(name),
    deviceId: `DEVICE_${name}` as DeviceId,
    isGuest: false,
    isAdmin: false,
    isShadowBanned: false,
    appserviceId: null,
    ...overrides,
  };
}
