/**
 * Devices and keys of users of other servers. Spec: server-server API, "Device Management", "End-to-End Encryption".
 *
 * A list is kept for users who share a room with somebody here, because their servers tell us of every change. Updates
 * carry what they build on: when one was missed, the list is stale, and is fetched again before it is used.
 */
import type { RemoteUsers } from "../federation/remote_users.ts";
import type { Logger } from "../lib/log.ts";
import { KeyedMutex } from "../lib/mutex.ts";
import { canonicalJson } from "../protocol/canonical_json.ts";
import { type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../protocol/json.ts";
import { membershipIn } from "../rooms/member_content.ts";
import type { StateDeltas } from "../rooms/state_deltas.ts";
import {
  insertDeviceListChange,
  type KeyUsage,
  selectCrossSigningKeys,
  upsertCrossSigningKey,
} from "../storage/cross_signing.ts";
import type { Database, Tx } from "../storage/database.ts";
import { selectLocalUsersInRoomsOf } from "../storage/received_transactions.ts";
import { hasPartialRooms, insertPendingDeviceList, takePendingDeviceLists } from "../storage/pending_device_lists.ts";
import {
  deleteRemoteDevice,
  deleteRemoteDevices,
  markRemoteDeviceListStale,
  markUnsharedListsInRoomStale,
  markUnsharedListsStale,
  type RemoteDevice,
  selectRemoteDeviceList,
  selectRemoteDevices,
  upsertRemoteDeviceList,
  upsertRemoteDevices,
} from "../storage/remote_devices.ts";
import { advanceStream } from "../storage/streams.ts";
import type { Notifier } from "../streams/notifier.ts";
import { userOf } from "./federation_inbox.ts";

/** What the service is built from. */
export interface RemoteDevicesDeps {
  readonly db: Database;
  readonly notifier: Notifier;
  readonly remote: RemoteUsers;
  readonly log: Logger;
}

const MAX_DEVICES = 1_000;
const MAX_KEY_LENGTH = 65_536;
const MAX_DEVICE_ID_LENGTH = 512;
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 60_000;

/** The answer to a query in parts. */
interface Found extends Record<string, JsonObject> {
  readonly device_keys: JsonObject;
  readonly master_keys: JsonObject;
  readonly self_signing_keys: JsonObject;
  readonly failures: JsonObject;
}

/** Knows the devices of users elsewhere. */
export class RemoteDevices {
  readonly #deps: RemoteDevicesDeps;
  readonly #users = new KeyedMutex<UserId>();

  constructor(deps: RemoteDevicesDeps) {
    this.#deps = deps;
  }

  /** Takes in `m.device_list_update`. */
  async update(origin: ServerName, content: JsonObject): Promise<void> {
    const userId = userOf(origin, content["user_id"]);
    const { device_id: deviceId, stream_id: streamId, prev_id: prevIds } = content;
    if (userId === null || typeof deviceId !== "string" || deviceId.length > MAX_DEVICE_ID_LENGTH) return;
    if (typeof streamId !== "number" || !Number.isSafeInteger(streamId)) return;
    await this.#keepForPartialRooms(userId);
    await this.#users.run(userId, async () => {
      const list = await selectRemoteDeviceList(this.#deps.db, userId);
      const previous = Array.isArray(prevIds) ? prevIds : [];
      const isNext = list !== null && !list.isStale &&
        previous.every((id) => typeof id === "number" && id <= list.streamId);
      const isDeleted = content["deleted"] === true;
      // Nobody encrypts for a device without keys. Servers also tell of each device of whoever joins, known or not.
      if (list === null && !isDeleted && !isJsonObject(content["keys"])) return;
      await this.#change(userId, async (tx) => {
        if (list === null) return;
        if (!isNext) return await markRemoteDeviceListStale(tx, userId);
        if (isDeleted) await deleteRemoteDevice(tx, { userId, deviceId });
        else await upsertRemoteDevices(tx, [readUpdate({ userId, deviceId, content })]);
        await upsertRemoteDeviceList(tx, { userId, streamId: Math.max(streamId, list.streamId), isStale: false });
      });
    });
  }

  /** Takes in `m.signing_key_update`. */
  async updateSigningKeys(origin: ServerName, content: JsonObject): Promise<void> {
    const userId = userOf(origin, content["user_id"]);
    if (userId === null) return;
    await this.#keepForPartialRooms(userId);
    await this.#change(userId, async (tx) => {
      await putSigningKey(tx, { userId, usage: "master", key: content["master_key"] });
      await putSigningKey(tx, { userId, usage: "self_signing", key: content["self_signing_key"] });
    });
  }

  /** Answers `POST /keys/query` for users of other servers; servers that fail are named in `failures`. */
  async query(
    wanted: ReadonlyMap<UserId, readonly string[]>,
    { timeoutMs }: { timeoutMs: number | undefined },
  ): Promise<Found> {
    const found: Found = { device_keys: {}, master_keys: {}, self_signing_keys: {}, failures: {} };
    const byServer = Map.groupBy([...wanted], ([userId]) => serverNameOf(userId));
    await Promise.all([...byServer].map(async ([server, users]) => {
      try {
        await this.#queryServer(server, { wanted: new Map(users), found, timeoutMs: bounded(timeoutMs) });
      } catch (error) {
        this.#deps.log.info("Keys could not be fetched", { server, error: String(error) });
        found.failures[server] = { status: 503, message: "The server could not be asked" };
      }
    }));
    return found;
  }

  /** Answers `POST /keys/claim` for users of other servers. */
  async claim(
    wanted: readonly { userId: UserId; deviceId: string; algorithm: string }[],
    { timeoutMs }: { timeoutMs: number | undefined },
  ): Promise<Record<"one_time_keys" | "failures", JsonObject>> {
    const keys: JsonObject = {};
    const failures: JsonObject = {};
    const byServer = Map.groupBy(wanted, ({ userId }) => serverNameOf(userId));
    await Promise.all([...byServer].map(async ([server, claims]) => {
      const oneTimeKeys: Record<string, JsonObject> = {};
      for (const { userId, deviceId, algorithm } of claims) (oneTimeKeys[userId] ??= {})[deviceId] = algorithm;
      try {
        const answer = await this.#deps.remote.claim(server, { oneTimeKeys, timeoutMs: bounded(timeoutMs) });
        for (const [userId, devices] of Object.entries(answer)) {
          if (Object.hasOwn(oneTimeKeys, userId)) keys[userId] = devices;
        }
      } catch {
        failures[server] = { status: 503, message: "The server could not be asked" };
      }
    }));
    return { one_time_keys: keys, failures };
  }

  /**
   * Takes in, within the transaction, that people have left a room: of users whom nobody here shares one with any more we
   * are not told, so that their lists are fetched again when they come back.
   */
  async noteMoves(
    tx: Tx,
    { roomNid, deltas, localJoined }: {
      roomNid: number;
      deltas: StateDeltas;
      localJoined: ReadonlySet<UserId>;
    },
  ): Promise<void> {
    const gone = deltas.ofType("m.room.member").filter(({ before, after }) =>
      membershipIn(before) === "join" && membershipIn(after) !== "join"
    );
    if (gone.length === 0) return;
    await markUnsharedListsStale(tx, gone.map(({ stateKey }) => stateKey));
    if (localJoined.size === 0) await markUnsharedListsInRoomStale(tx, roomNid);
  }

  /**
   * Takes in, within the transaction, that a room's state has become whole: those of its members whose devices changed
   * meanwhile are told of now.
   */
  async notePending(
    tx: Tx,
    { roomNid, localJoined }: { roomNid: number; localJoined: ReadonlySet<UserId> },
  ): Promise<void> {
    const users = await takePendingDeviceLists(tx, roomNid);
    if (users.length === 0) return;
    const first = await advanceStream(tx, "device_lists", users.length);
    for (const [index, userId] of users.entries()) {
      await insertDeviceListChange(tx, { userId, position: first + index });
    }
    tx.afterCommit(() => this.#deps.notifier.publish("device_lists", first + users.length - 1, localJoined));
  }

  /** While a room's state lacks members, whoever it is told of may be in it (MSC3902). */
  async #keepForPartialRooms(userId: UserId): Promise<void> {
    const { db } = this.#deps;
    if (await hasPartialRooms(db)) await db.transaction((tx) => insertPendingDeviceList(tx, userId));
  }

  async #queryServer(
    server: ServerName,
    { wanted, found, timeoutMs }: {
      wanted: ReadonlyMap<UserId, readonly string[]>;
      found: Found;
      timeoutMs: number;
    },
  ): Promise<void> {
    const { db, remote } = this.#deps;
    const others = new Map<UserId, readonly string[]>();
    const kept: UserId[] = [];
    for (const [userId, only] of wanted) {
      if (await this.#refresh(userId)) kept.push(userId);
      else others.set(userId, only);
    }
    for (const userId of kept) found.device_keys[userId] = {};
    for (const device of await selectRemoteDevices(db, kept)) {
      addDevice(found, { device, only: wanted.get(device.userId) });
    }
    for (const { userId, usage, keyJson } of await selectCrossSigningKeys(db, kept)) {
      if (usage === "master") found.master_keys[userId] = JSON.parse(keyJson);
      if (usage === "self_signing") found.self_signing_keys[userId] = JSON.parse(keyJson);
    }
    if (others.size === 0) return;
    const answer = await remote.keys(server, { wanted: others, timeoutMs });
    for (const part of ["device_keys", "master_keys", "self_signing_keys"] as const) {
      const byUser = isJsonObject(answer[part]) ? answer[part] : {};
      for (const [userId, value] of Object.entries(byUser)) {
        if (others.has(userId as UserId)) found[part][userId] = value;
      }
    }
  }

  /** Makes sure that the kept list of a user is current; false for users whose list is not to be kept. */
  async #refresh(userId: UserId): Promise<boolean> {
    const { db, remote, log } = this.#deps;
    if ((await selectLocalUsersInRoomsOf(db, userId)).length === 0) return false;
    return await this.#users.run(userId, async () => {
      const list = await selectRemoteDeviceList(db, userId);
      if (list !== null && !list.isStale) return true;
      try {
        await this.#store(userId, await remote.devices(serverNameOf(userId), userId));
        return true;
      } catch (error) {
        log.info("A list of devices could not be fetched", { userId, error: String(error) });
        return false;
      }
    });
  }

  async #store(userId: UserId, answer: JsonObject): Promise<void> {
    const listed = Array.isArray(answer["devices"]) ? answer["devices"].slice(0, MAX_DEVICES) : [];
    const devices = listed.flatMap((entry) => readDevice(userId, entry));
    const streamId = typeof answer["stream_id"] === "number" ? answer["stream_id"] : 0;
    await this.#deps.db.transaction(async (tx) => {
      await deleteRemoteDevices(tx, userId);
      await upsertRemoteDevices(tx, devices);
      await upsertRemoteDeviceList(tx, { userId, streamId, isStale: false });
      await putSigningKey(tx, { userId, usage: "master", key: answer["master_key"] });
      await putSigningKey(tx, { userId, usage: "self_signing", key: answer["self_signing_key"] });
    });
  }

  /** Changes what is kept and tells those here who share a room with the user. */
  async #change(userId: UserId, change: (tx: Tx) => Promise<void>): Promise<void> {
    const { db, notifier } = this.#deps;
    const audience = await selectLocalUsersInRoomsOf(db, userId);
    if (audience.length === 0) return await db.transaction((tx) => deleteRemoteDevices(tx, userId));
    await db.transaction(async (tx) => {
      await change(tx);
      const position = await advanceStream(tx, "device_lists", 1);
      await insertDeviceListChange(tx, { userId, position });
      tx.afterCommit(() => notifier.publish("device_lists", position, audience));
    });
  }
}

function addDevice(
  found: Found,
  { device, only = [] }: { device: RemoteDevice; only: readonly string[] | undefined },
): void {
  const { userId, deviceId, displayName, keyJson } = device;
  const ofUser = found.device_keys[userId];
  if (keyJson === null || !isJsonObject(ofUser) || (only.length > 0 && !only.includes(deviceId))) return;
  const key: JsonObject = JSON.parse(keyJson);
  ofUser[deviceId] = displayName === null ? key : { ...key, unsigned: { device_display_name: displayName } };
}

function readUpdate(
  { userId, deviceId, content }: { userId: UserId; deviceId: string; content: JsonObject },
): RemoteDevice {
  const { device_display_name: name, keys } = content;
  return {
    userId,
    deviceId,
    displayName: typeof name === "string" ? name : null,
    keyJson: keyText(keys, { userId, deviceId }),
  };
}

function readDevice(userId: UserId, entry: JsonValue): RemoteDevice[] {
  if (!isJsonObject(entry)) return [];
  const { device_id: deviceId, device_display_name: name, keys } = entry;
  if (typeof deviceId !== "string" || deviceId === "" || deviceId.length > MAX_DEVICE_ID_LENGTH) return [];
  const displayName = typeof name === "string" ? name : null;
  return [{ userId, deviceId, displayName, keyJson: keyText(keys, { userId, deviceId }) }];
}

/** Returns the text of device keys; null unless they are the device's own. */
function keyText(keys: JsonValue | undefined, device: { userId: UserId; deviceId: string }): string | null {
  if (!isJsonObject(keys) || keys["user_id"] !== device.userId || keys["device_id"] !== device.deviceId) return null;
  const { unsigned: _unsigned, ...rest } = keys;
  const text = canonicalJson(rest, { lax: true });
  return text.length > MAX_KEY_LENGTH ? null : text;
}

async function putSigningKey(
  tx: Tx,
  { userId, usage, key }: { userId: UserId; usage: KeyUsage; key: JsonValue | undefined },
): Promise<void> {
  if (!isJsonObject(key) || key["user_id"] !== userId) return;
  const keyJson = canonicalJson(key, { lax: true });
  if (keyJson.length <= MAX_KEY_LENGTH) await upsertCrossSigningKey(tx, { userId, usage, keyJson });
}

function bounded(timeoutMs: number | undefined): number {
  return Math.min(MAX_TIMEOUT_MS, Math.max(1, timeoutMs ?? DEFAULT_TIMEOUT_MS));
}
