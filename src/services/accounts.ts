/** What users do with their own account. Spec: client-server API, "Account management". */
import { MatrixError } from "../protocol/errors.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import { deleteUnapproved, insertUnapproved, selectIsUnapproved } from "../storage/active_users.ts";
import type { Database, Tx } from "../storage/database.ts";
import { deleteDeparture, insertDeparture, selectProfile, upsertProfile } from "../storage/profiles.ts";
import {
  deleteThreepids,
  selectThreepidOwner,
  selectThreepids,
  selectUser,
  type Threepid,
  updateDeactivated,
  updateIsAdmin,
  updateIsLocked,
  updateIsShadowBanned,
  updateIsSuspended,
  updatePasswordHash,
  updateReactivated,
  updateUserType,
  type User,
} from "../storage/users.ts";
import type { Credentials } from "./credentials.ts";
import type { Devices } from "./devices.ts";
import { type ProfileChanges, profileJson } from "./profile_changes.ts";
import type { Tokens } from "./tokens.ts";

/** Runs inside the transaction of a deactivation: what the user keeps with other services goes. */
export type DeactivationListener = (tx: Tx, user: { userId: UserId; isErased: boolean }) => Promise<void>;

/** What the service is built from. */
export interface AccountsDeps {
  readonly db: Database;
  readonly credentials: Credentials;
  readonly devices: Devices;
  readonly tokens: Tokens;
  readonly profileChanges: Pick<ProfileChanges, "note">;
  readonly onDeactivated: DeactivationListener;
  /** Runs inside the transaction in which a closed account is opened again. */
  readonly onReactivated: (tx: Tx, userId: UserId) => Promise<void>;
  /** Starts the background work that takes a deactivated user out of all rooms. */
  readonly wakeDepartures: () => void;
}

/** Changes accounts. */
export class Accounts {
  readonly #deps: AccountsDeps;

  constructor(deps: AccountsDeps) {
    this.#deps = deps;
  }

  /** Returns an account of this server, or null. */
  async find(userId: UserId): Promise<User | null> {
    return await selectUser(this.#deps.db, userId);
  }

  /** Returns a user's verified addresses. */
  async threepids(userId: UserId): Promise<Threepid[]> {
    return await selectThreepids(this.#deps.db, userId);
  }

  /** Returns whose verified address this is. Throws 404 when it is nobody's. */
  async requireOwner({ medium, address }: { medium: string; address: string }): Promise<UserId> {
    const userId = await selectThreepidOwner(this.#deps.db, { medium, address });
    if (userId === null) throw new MatrixError(404, "M_NOT_FOUND", "No account has this address");
    return userId;
  }

  /** Sets a new password and, where asked, logs out all devices but `keep`. */
  async setPassword(
    { userId, password, logoutDevices, keep }: {
      userId: UserId;
      password: string;
      logoutDevices: boolean;
      keep: DeviceId | null;
    },
  ): Promise<void> {
    const passwordHash = await this.#deps.credentials.hashNew(password);
    await this.#deps.db.transaction(async (tx) => {
      await updatePasswordHash(tx, { userId, passwordHash });
      if (logoutDevices) await this.#deps.devices.removeAllIn(tx, { userId, keep });
    });
  }

  /**
   * Closes an account for good: nobody logs in again, its rooms are left, its keys and its data are gone; `erase` hides
   * its messages from newcomers.
   */
  async deactivate(userId: UserId, { erase }: { erase: boolean }): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      await updateDeactivated(tx, { userId, erase });
      await deleteThreepids(tx, userId);
      if (erase) await this.#eraseProfile(tx, userId);
      await this.#deps.devices.removeAllIn(tx, { userId, keep: null });
      await this.#deps.onDeactivated(tx, { userId, isErased: erase });
      await insertDeparture(tx, { userId, reason: "" });
      tx.afterCommit(() => {
        this.#deps.tokens.forgetUser(userId);
        this.#deps.wakeDepartures();
      });
    });
  }

  async #eraseProfile(tx: Tx, userId: UserId): Promise<void> {
    const before = await selectProfile(tx, userId);
    await upsertProfile(tx, { userId, displayname: null, avatarUrl: null, fields: "{}" });
    if (before === null) return;
    await this.#deps.profileChanges.note(tx, { userId, fields: Object.keys(profileJson(before)) });
  }

  /** Opens an account again that was closed. Its data and rooms are gone, and it has no password. */
  async reactivate(userId: UserId): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      await updateReactivated(tx, userId);
      await deleteDeparture(tx, userId);
      await this.#deps.onReactivated(tx, userId);
      tx.afterCommit(() => this.#deps.tokens.forgetUser(userId));
    });
  }

  /** Says what kind of user somebody is; null for none. */
  async setUserType(userId: UserId, userType: string | null): Promise<void> {
    await this.#deps.db.transaction((tx) => updateUserType(tx, { userId, userType }));
  }

  /** Logs a user out everywhere. */
  async logOutAll(userId: UserId): Promise<void> {
    await this.#deps.db.transaction((tx) => this.#deps.devices.removeAllIn(tx, { userId, keep: null }));
  }

  /** Approves an account that waits for it, or has it wait: then nobody logs in to it (MSC3866). */
  async setApproved(userId: UserId, isApproved: boolean): Promise<void> {
    await this.#deps.db.transaction((tx) => isApproved ? deleteUnapproved(tx, userId) : insertUnapproved(tx, userId));
  }

  /** Tells whether an account needs no approval any more. */
  async isApproved(userId: UserId): Promise<boolean> {
    return !await selectIsUnapproved(this.#deps.db, userId);
  }

  /** Shadow-bans an account, or lifts that. */
  async setShadowBan(userId: UserId, isShadowBanned: boolean): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      await updateIsShadowBanned(tx, { userId, isShadowBanned });
      tx.afterCommit(() => this.#deps.tokens.forgetUser(userId));
    });
  }

  /** Changes what an administrator decides about an account; what is not named stays. */
  async setFlags(
    userId: UserId,
    { isAdmin, isLocked, isSuspended }: { isAdmin?: boolean; isLocked?: boolean; isSuspended?: boolean },
  ): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      if (isAdmin !== undefined) await updateIsAdmin(tx, { userId, isAdmin });
      if (isLocked !== undefined) await updateIsLocked(tx, { userId, isLocked });
      if (isSuspended !== undefined) await updateIsSuspended(tx, { userId, isSuspended });
      tx.afterCommit(() => this.#deps.tokens.forgetUser(userId));
    });
  }
}
