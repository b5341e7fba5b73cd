/** Devices of local users. Spec: client-server API, "Device Management". */
import type { Clock } from "../lib/clock.ts";
import { Tally } from "../lib/tally.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import { deletePuppetTokens, deleteTokensOfDevice, deleteTokensWithoutDevice } from "../storage/access_tokens.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  deleteDevices,
  type Device,
  insertDevice,
  selectDevice,
  selectDeviceIds,
  selectDevices,
  updateDeviceName,
} from "../storage/devices.ts";
import { deleteDeviceAuthSessions, setDeviceAuthSession } from "../storage/sso_sessions.ts";
import type { IssuedTokens, LoginOrigin, Tokens } from "./tokens.ts";

/** A change of somebody's devices. */
export interface DeviceChange {
  readonly userId: UserId;
  readonly deviceIds: readonly DeviceId[];
  readonly kind: "added" | "renamed" | "removed";
}

/** Runs inside the transaction of a change: keys, to-device messages and pushers go with their device. */
export type DeviceListener = (tx: Tx, change: DeviceChange) => Promise<void>;

/** What the service is built from. */
export interface DevicesDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly tokens: Tokens;
  readonly onChange: DeviceListener;
}

/** A login on a device. */
export interface NewLogin {
  readonly userId: UserId;
  readonly deviceId: DeviceId;
  /** The name of a new device; one that exists keeps its own. */
  readonly displayName: string | null;
  readonly withRefresh: boolean;
  /** The login at an identity provider that it came from. */
  readonly origin?: LoginOrigin | null;
  readonly isGuest?: boolean;
}

/** Synapse's bound, in characters. */
const MAX_DISPLAY_NAME_LENGTH = 100;

/** Lists, names and removes devices, and logs them in and out. */
export class Devices {
  readonly #deps: DevicesDeps;
  /** Logins, by the identity provider that they came from. */
  readonly logins = new Tally("guest", "auth_provider");

  constructor(deps: DevicesDeps) {
    this.#deps = deps;
  }

  /** Returns a user's devices. */
  async list(userId: UserId): Promise<Device[]> {
    return await selectDevices(this.#deps.db, userId);
  }

  /** Returns the ids of a user's devices; empty for an unknown user. */
  async ids(userId: UserId): Promise<DeviceId[]> {
    return await selectDeviceIds(this.#deps.db, userId);
  }

  /** Returns one device; throws `M_NOT_FOUND`. */
  async get(userId: UserId, deviceId: DeviceId): Promise<Device> {
    const device = await selectDevice(this.#deps.db, { userId, deviceId });
    if (device === null) throw notFound("Device not found");
    return device;
  }

  /** Names a device; throws `M_NOT_FOUND`. */
  async rename(
    { userId, deviceId, displayName }: { userId: UserId; deviceId: DeviceId; displayName: string },
  ): Promise<void> {
    if (displayName.length > MAX_DISPLAY_NAME_LENGTH) {
      throw new MatrixError(400, "M_TOO_LARGE", `Device display name is too long (max ${MAX_DISPLAY_NAME_LENGTH})`);
    }
    await this.#deps.db.transaction(async (tx) => {
      if (!await updateDeviceName(tx, { userId, deviceId, displayName })) throw notFound("Device not found");
      await this.#deps.onChange(tx, { userId, deviceIds: [deviceId], kind: "renamed" });
    });
  }

  /** Makes a device without logging in, as application services do (since v1.17); returns false when it exists. */
  async create(
    { userId, deviceId, displayName }: { userId: UserId; deviceId: DeviceId; displayName: string | null },
  ): Promise<boolean> {
    return await this.#deps.db.transaction(async (tx) => {
      const name = displayName?.slice(0, MAX_DISPLAY_NAME_LENGTH) ?? null;
      const isNew = await insertDevice(tx, { userId, deviceId, displayName: name, createdTs: this.#deps.clock.now() });
      if (isNew) await this.#deps.onChange(tx, { userId, deviceIds: [deviceId], kind: "added" });
      return isNew;
    });
  }

  /** Logs in on a device, which is made when new; tokens it had end. */
  async logIn(
    tx: Tx,
    { userId, deviceId, displayName, withRefresh, origin = null, isGuest = false }: NewLogin,
  ): Promise<IssuedTokens> {
    const isNew = await insertDevice(tx, {
      userId,
      deviceId,
      displayName: displayName?.slice(0, MAX_DISPLAY_NAME_LENGTH) ?? null,
      createdTs: this.#deps.clock.now(),
    });
    if (isNew) await this.#deps.onChange(tx, { userId, deviceIds: [deviceId], kind: "added" });
    else this.#forgetAfterCommit(tx, await deleteTokensOfDevice(tx, { userId, deviceId }));
    tx.afterCommit(() => this.logins.add([isGuest ? "True" : "False", origin?.authProvider ?? ""]));
    await setDeviceAuthSession(tx, { userId, deviceId, ...(origin ?? { authProvider: null, authSession: null }) });
    return await this.#deps.tokens.issue(tx, { userId, deviceId, withRefresh });
  }

  /** Removes devices with their tokens; unknown ids are ignored. */
  async remove(userId: UserId, deviceIds: readonly DeviceId[]): Promise<void> {
    await this.#deps.db.transaction((tx) => this.removeIn(tx, { userId, deviceIds }));
  }

  /** As `remove`, inside a transaction. */
  async removeIn(tx: Tx, { userId, deviceIds }: { userId: UserId; deviceIds: readonly DeviceId[] }): Promise<void> {
    const removed = await deleteDevices(tx, { userId, deviceIds });
    await deleteDeviceAuthSessions(tx, { userId, deviceIds: removed });
    const ended: string[] = [];
    for (const deviceId of new Set(deviceIds)) ended.push(...await deleteTokensOfDevice(tx, { userId, deviceId }));
    this.#forgetAfterCommit(tx, ended);
    if (removed.length === 0) return;
    await this.#deps.onChange(tx, { userId, deviceIds: removed, kind: "removed" });
    // Tokens that another server made are no rows here.
    tx.afterCommit(() => this.#deps.tokens.forgetUser(userId));
  }

  /** Removes all devices and tokens of a user, but for one device where `keep` names it. */
  async removeAllIn(tx: Tx, { userId, keep }: { userId: UserId; keep: DeviceId | null }): Promise<void> {
    const devices = await selectDevices(tx, userId);
    const deviceIds = devices.map((device) => device.deviceId).filter((deviceId) => deviceId !== keep);
    await this.removeIn(tx, { userId, deviceIds });
    const ended = await deleteTokensWithoutDevice(tx, userId);
    ended.push(...await deletePuppetTokens(tx, userId));
    this.#forgetAfterCommit(tx, ended);
  }

  #forgetAfterCommit(tx: Tx, ended: readonly string[]): void {
    if (ended.length > 0) tx.afterCommit(() => this.#deps.tokens.forgetTokens(ended));
  }
}
