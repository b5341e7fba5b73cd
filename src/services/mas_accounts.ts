/** What the Matrix Authentication Service does to the accounts and devices that it has. */
import type { Clock } from "../lib/clock.ts";
import { badJson, invalidParam, notFound } from "../protocol/errors.ts";
import { type DeviceId, makeUserId, parseDeviceId, type ServerName, type UserId } from "../protocol/ids.ts";
import { upsertCrossSigningReset } from "../storage/cross_signing_resets.ts";
import type { Database } from "../storage/database.ts";
import { selectDehydratedDevice } from "../storage/dehydrated_devices.ts";
import type { User } from "../storage/users.ts";
import type { Accounts } from "./accounts.ts";
import type { Devices } from "./devices.ts";
import type { Profiles } from "./profile.ts";
import type { Registration } from "./registration.ts";
import type { Threepids } from "./threepids.ts";

/** What the service is built from. */
export interface MasAccountsDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly accounts: Accounts;
  readonly devices: Devices;
  readonly profiles: Profiles;
  readonly registration: Pick<Registration, "assertAvailable" | "registerVouched">;
  readonly threepids: Pick<Threepids, "replaceEmails">;
}

/** How an account shall be; what is undefined stays as it is, and null is removed. */
export interface ProvisionedUser {
  readonly localpart: string;
  readonly displayName: string | null | undefined;
  readonly avatarUrl: string | null | undefined;
  readonly emails: readonly string[] | undefined;
  readonly isLocked: boolean | undefined;
}

/** How long a reset is allowed, as with Synapse. */
const RESET_MS = 10 * 60_000;

/** Changes accounts in the name of the authentication service. */
export class MasAccounts {
  readonly #deps: MasAccountsDeps;

  constructor(deps: MasAccountsDeps) {
    this.#deps = deps;
  }

  /** Returns an account. Throws 404 where there is none. */
  async require(localpart: string): Promise<User> {
    const userId = makeUserId(localpart, this.#deps.serverName);
    const user = userId === null ? null : await this.#deps.accounts.find(userId);
    if (user === null) throw notFound("User not found");
    return user;
  }

  /** Throws the error that a person would get for a name that cannot be or is taken. */
  async assertAvailable(localpart: string): Promise<void> {
    await this.#deps.registration.assertAvailable(localpart);
  }

  /** Makes an account, or changes one; returns whether it is new. */
  async provision({ localpart, displayName, avatarUrl, emails, isLocked }: ProvisionedUser): Promise<boolean> {
    const { accounts, registration, threepids, serverName } = this.#deps;
    const userId = makeUserId(localpart, serverName);
    if (userId === null) throw invalidParam("Invalid localpart");
    const isNew = await accounts.find(userId) === null;
    if (isNew) {
      await registration.registerVouched({ localpart, displayName: displayName ?? null, emails: emails ?? [] });
    } else {
      if (displayName !== undefined) await this.setProfile(userId, { key: "displayname", value: displayName });
      if (emails !== undefined) await threepids.replaceEmails(userId, emails);
    }
    if (isLocked !== undefined) await accounts.setFlags(userId, { isLocked });
    if (avatarUrl !== undefined) await this.setProfile(userId, { key: "avatar_url", value: avatarUrl });
    return isNew;
  }

  /** Sets a name or an avatar, whatever users may change by themselves; null removes it. */
  async setProfile(userId: UserId, { key, value }: { key: string; value: string | null }): Promise<void> {
    const nobody = { deviceId: null, isGuest: false, isAdmin: true, isShadowBanned: false, appserviceId: null };
    await this.#deps.profiles.setField({ requester: { ...nobody, userId }, userId, key, value: value ?? undefined });
  }

  /** Lets a user replace their cross-signing keys for a while. */
  async allowReset(userId: UserId): Promise<void> {
    const untilTs = this.#deps.clock.now() + RESET_MS;
    await this.#deps.db.transaction((tx) => upsertCrossSigningReset(tx, { userId, untilTs }));
  }

  /** Makes a device or names it; returns whether it is new. */
  async upsertDevice(
    userId: UserId,
    { deviceId, displayName }: { deviceId: string; displayName: string | null },
  ): Promise<boolean> {
    const { devices } = this.#deps;
    const id = deviceIdOf(deviceId);
    const isNew = await devices.create({ userId, deviceId: id, displayName });
    if (!isNew && displayName !== null) await devices.rename({ userId, deviceId: id, displayName });
    return isNew;
  }

  /** Names a device. Throws 404 where there is none. */
  async renameDevice(
    userId: UserId,
    { deviceId, displayName }: { deviceId: string; displayName: string },
  ): Promise<void> {
    await this.#deps.devices.rename({ userId, deviceId: deviceIdOf(deviceId), displayName });
  }

  /** Removes a device. */
  async deleteDevice(userId: UserId, deviceId: string): Promise<void> {
    await this.#deps.devices.remove(userId, [deviceIdOf(deviceId)]);
  }

  /** Makes the devices of a user just these; a dehydrated device is none of the service's. */
  async syncDevices(userId: UserId, wanted: readonly string[]): Promise<void> {
    const { devices, db } = this.#deps;
    const dehydrated = await selectDehydratedDevice(db, userId);
    const present = new Set((await devices.list(userId)).map(({ deviceId }) => deviceId));
    if (dehydrated !== null) present.delete(dehydrated.deviceId);
    const ids = new Set(wanted.map(deviceIdOf));
    await devices.remove(userId, [...present].filter((id) => !ids.has(id)));
    for (const deviceId of ids) {
      if (!present.has(deviceId)) await devices.create({ userId, deviceId, displayName: null });
    }
  }
}

function deviceIdOf(text: string): DeviceId {
  const deviceId = parseDeviceId(text);
  if (deviceId === null) throw badJson("Invalid device ID");
  return deviceId;
}
