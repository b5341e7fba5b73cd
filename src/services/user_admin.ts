/** What administrators do to accounts, as in Synapse's admin API. */
import type { Clock } from "../lib/clock.ts";
import { forbidden, invalidParam, MatrixError, notFound } from "../protocol/errors.ts";
import { localpartOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Requester } from "../rooms/types.ts";
import { selectConsent } from "../storage/consents.ts";
import { selectCrossSigningKeys } from "../storage/cross_signing.ts";
import { upsertCrossSigningReset } from "../storage/cross_signing_resets.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteExternalIds,
  type ExternalId,
  insertExternalId,
  selectExternalIds,
  selectUserByExternalId,
} from "../storage/external_ids.ts";
import { selectProfile } from "../storage/profiles.ts";
import { type ListedUser, selectLastSeen, selectUsersPage } from "../storage/user_listing.ts";
import { selectUser, type User } from "../storage/users.ts";
import type { Accounts } from "./accounts.ts";
import type { Credentials } from "./credentials.ts";
import type { Devices } from "./devices.ts";
import type { LastSeen } from "./last_seen.ts";
import type { Profiles } from "./profile.ts";
import { assertLocalpart, type Registration } from "./registration.ts";
import type { Threepids } from "./threepids.ts";
import type { Tokens } from "./tokens.ts";

/** What the service is built from. */
export interface UserAdminDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly accounts: Accounts;
  readonly credentials: Credentials;
  readonly devices: Devices;
  readonly lastSeen: LastSeen;
  readonly profiles: Profiles;
  readonly registration: Registration;
  readonly threepids: Threepids;
  readonly tokens: Tokens;
  readonly isLocal: (userId: UserId) => boolean;
  /** Kinds that users may be of. */
  readonly userTypes: readonly string[];
  /** Whether accounts may wait for approval (MSC3866), which is shown then. */
  readonly showsApproval: boolean;
  /** Whether the accounts are those of the Matrix Authentication Service. */
  readonly isDelegated: boolean;
}

/** A change of an account; what is not named stays. */
export interface UserChange {
  readonly password?: string;
  readonly logoutDevices: boolean;
  readonly displayname?: string | null;
  readonly avatarUrl?: string | null;
  readonly threepids?: readonly { readonly medium: string; readonly address: string }[];
  /** Who the user is at identity providers: all of it. */
  readonly externalIds?: readonly ExternalId[];
  readonly isAdmin?: boolean;
  readonly isDeactivated?: boolean;
  readonly isLocked?: boolean;
  readonly isApproved?: boolean;
  /** Null for none. */
  readonly userType?: string | null;
}

const KEY_REPLACEMENT_MS = 600_000;

/** Administers accounts. */
export class UserAdmin {
  readonly #deps: UserAdminDeps;

  constructor(deps: UserAdminDeps) {
    this.#deps = deps;
  }

  /** Returns a page of accounts and how many there are. */
  async list(page: Parameters<typeof selectUsersPage>[1]): Promise<{ users: JsonObject[]; total: number }> {
    const { db, lastSeen, showsApproval, isDelegated } = this.#deps;
    if (isDelegated && page.filter.guests) {
      throw invalidParam("The guests parameter is not supported when delegating to MAS.");
    }
    await lastSeen.flush();
    const filter = showsApproval ? page.filter : { ...page.filter, onlyApproved: false };
    const { users, total } = await selectUsersPage(db, { ...page, filter });
    return { users: users.map((user) => listedJson(user, showsApproval)), total };
  }

  /** Returns an account. Throws 400 for a user of another server, 404 where there is none. */
  async get(userId: UserId): Promise<JsonObject> {
    const { db, lastSeen, accounts, showsApproval } = this.#deps;
    const user = await this.require(userId, "Can only look up local users");
    await lastSeen.flush();
    const [profile, consent] = [await selectProfile(db, userId), await selectConsent(db, userId)];
    const threepids = await accounts.threepids(userId);
    const externalIds = await selectExternalIds(db, userId);
    return {
      name: userId,
      admin: user.isAdmin,
      deactivated: user.isDeactivated,
      locked: user.isLocked,
      shadow_banned: user.isShadowBanned,
      // Synapse tells this one in seconds.
      creation_ts: Math.floor(user.createdTs / 1000),
      appservice_id: user.appserviceId,
      consent_server_notice_sent: consent?.noticeVersion ?? null,
      consent_version: consent?.version ?? null,
      consent_ts: consent?.consentedTs ?? null,
      user_type: user.userType,
      is_guest: user.isGuest,
      suspended: user.isSuspended,
      ...(showsApproval ? { approved: await accounts.isApproved(userId) } : {}),
      displayname: profile?.displayname ?? null,
      avatar_url: profile?.avatarUrl ?? null,
      threepids: threepids.map(({ medium, address, validatedTs, addedTs }) => ({
        ...{ medium, address, validated_at: validatedTs, added_at: addedTs },
      })),
      external_ids: externalIds.map(({ authProvider: auth_provider, externalId: external_id }) => ({
        ...{ auth_provider, external_id },
      })),
      erased: user.isErased,
      last_seen_ts: await selectLastSeen(db, userId),
    };
  }

  /** Changes an account, or makes it; returns whether it is new. */
  async put(requester: Requester, { userId, change }: { userId: UserId; change: UserChange }): Promise<boolean> {
    this.#assertLocal(userId, "This endpoint can only be used with local users");
    await this.#assertSound(userId, change);
    const user = await selectUser(this.#deps.db, userId);
    const isNewUser = user === null;
    if (user === null) await this.#create(userId, change);
    else await this.#change(requester, { user, change });
    await this.#finish(requester, { userId, isNewUser, change });
    return isNewUser;
  }

  /** Sets a user's password. */
  async resetPassword(userId: UserId, change: { password: string; logoutDevices: boolean }): Promise<void> {
    await this.require(userId, "Can only reset the password of local users");
    await this.#deps.accounts.setPassword({ userId, ...change, keep: null });
  }

  /** Closes an account. */
  async deactivate(userId: UserId, erase: boolean): Promise<void> {
    await this.require(userId, "Can only deactivate local users");
    await this.#deps.accounts.deactivate(userId, { erase });
  }

  /** Makes a user an administrator, or no longer one; nobody does the latter to themselves. */
  async setAdmin(requester: Requester, { userId, isAdmin }: { userId: UserId; isAdmin: boolean }): Promise<void> {
    await this.require(userId, "Only local users can be admins of this homeserver");
    if (userId === requester.userId && !isAdmin) throw badRequest("You may not demote yourself.");
    await this.#deps.accounts.setFlags(userId, { isAdmin });
  }

  /** Suspends a user, or lifts that. */
  async setSuspended(userId: UserId, isSuspended: boolean): Promise<void> {
    await this.require(userId, "Can only suspend local users");
    await this.#deps.accounts.setFlags(userId, { isSuspended });
  }

  /** Shadow-bans a user, or lifts that. */
  async setShadowBanned(userId: UserId, isShadowBanned: boolean): Promise<void> {
    await this.require(userId, "Only local users can be shadow-banned");
    await this.#deps.accounts.setShadowBan(userId, isShadowBanned);
  }

  /** Lets a user replace their cross-signing keys without proof for a while; returns until when. Throws 404. */
  async allowKeyReplacement(userId: UserId): Promise<number> {
    const { db, clock } = this.#deps;
    const keys = await selectCrossSigningKeys(db, [userId]);
    if (!keys.some(({ usage }) => usage === "master")) throw notFound("User has no master cross-signing key");
    const untilTs = clock.now() + KEY_REPLACEMENT_MS;
    await db.transaction((tx) => upsertCrossSigningReset(tx, { userId, untilTs }));
    return untilTs;
  }

  /** Makes a token by which an administrator acts as a user. */
  async logInAs(
    requester: Requester,
    { userId, expiresTs }: { userId: UserId; expiresTs: number | null },
  ): Promise<string> {
    await this.require(userId, "Only local users can be logged in as");
    if (userId === requester.userId) throw badRequest("Cannot use admin API to login as self");
    return await this.#deps.tokens.issuePuppet({ userId, admin: requester.userId, expiresTs });
  }

  /** Returns an account. Throws 400 with this message for a user of another server, 404 where there is none. */
  async require(userId: UserId, otherwise: string): Promise<User> {
    this.#assertLocal(userId, otherwise);
    const user = await selectUser(this.#deps.db, userId);
    if (user === null) throw notFound("User not found");
    return user;
  }

  #assertLocal(userId: UserId, otherwise: string): void {
    if (!this.#deps.isLocal(userId)) throw badRequest(otherwise);
  }

  /** Refuses before anything has been changed. */
  async #assertSound(
    userId: UserId,
    { userType, isDeactivated, isLocked, threepids, externalIds = [] }: UserChange,
  ): Promise<void> {
    if (typeof userType === "string" && !this.#deps.userTypes.includes(userType)) throw badRequest("Invalid user type");
    if (isDeactivated && isLocked) throw badRequest("An user can't be deactivated and locked");
    if (threepids !== undefined) await this.#deps.threepids.assertFree(userId, threepids);
    for (const person of externalIds) {
      const owner = await selectUserByExternalId(this.#deps.db, person);
      if (owner !== null && owner !== userId) throw externalIdInUse();
    }
  }

  async #create(userId: UserId, { password, displayname, isAdmin, userType }: UserChange): Promise<void> {
    const { registration, credentials, isDelegated } = this.#deps;
    if (isDelegated) throw forbidden("The authentication service has the accounts: create the user there");
    const localpart = localpartOf(userId);
    // Registering takes capitals for small letters: that would make another user than the one who is asked for.
    assertLocalpart(localpart);
    await registration.createUser({
      localpart,
      passwordHash: password === undefined ? null : await credentials.hashNew(password),
      isAdmin: isAdmin === true,
      userType: userType ?? null,
      ...(typeof displayname === "string" ? { displayname } : {}),
    });
  }

  async #change(requester: Requester, { user, change }: { user: User; change: UserChange }): Promise<void> {
    const { accounts, profiles } = this.#deps;
    const { userId } = user;
    const { isAdmin, password, userType } = change;
    if (isAdmin === false && user.isAdmin && userId === requester.userId) {
      throw badRequest("You may not demote yourself.");
    }
    if (change.displayname !== undefined) {
      await profiles.setField({ requester, userId, key: "displayname", value: change.displayname ?? undefined });
    }
    if (isAdmin !== undefined && isAdmin !== user.isAdmin) await accounts.setFlags(userId, { isAdmin });
    if (password !== undefined) {
      await accounts.setPassword({ userId, password, logoutDevices: change.logoutDevices, keep: null });
    }
    if (userType !== undefined) await accounts.setUserType(userId, userType);
    if (change.isDeactivated === true && !user.isDeactivated) await accounts.deactivate(userId, { erase: false });
    if (change.isDeactivated === false && user.isDeactivated) await accounts.reactivate(userId);
  }

  /** What is the same for new accounts and others. */
  async #finish(
    requester: Requester,
    { userId, isNewUser, change }: { userId: UserId; isNewUser: boolean; change: UserChange },
  ): Promise<void> {
    const { accounts, profiles, threepids, showsApproval } = this.#deps;
    if (change.threepids !== undefined) {
      await threepids.replaceAll(userId, { addresses: change.threepids, isNewUser });
    }
    if (change.externalIds !== undefined) await this.#replaceExternalIds(userId, change.externalIds);
    if (change.avatarUrl !== undefined) {
      await profiles.setField({ requester, userId, key: "avatar_url", value: change.avatarUrl ?? undefined });
    }
    if (change.isLocked !== undefined) await accounts.setFlags(userId, { isLocked: change.isLocked });
    if (change.isApproved !== undefined && showsApproval) await accounts.setApproved(userId, change.isApproved);
  }

  async #replaceExternalIds(userId: UserId, externalIds: readonly ExternalId[]): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      await deleteExternalIds(tx, userId);
      for (const person of externalIds) {
        if (!await insertExternalId(tx, { ...person, userId })) throw externalIdInUse();
      }
    });
  }
}

function externalIdInUse(): MatrixError {
  return new MatrixError(409, "M_UNKNOWN", "External id is already in use.");
}

function badRequest(message: string): MatrixError {
  return new MatrixError(400, "M_UNKNOWN", message);
}

function listedJson(user: ListedUser, showsApproval: boolean): JsonObject {
  return {
    name: user.userId,
    user_type: user.userType,
    is_guest: user.isGuest,
    admin: user.isAdmin,
    deactivated: user.isDeactivated,
    shadow_banned: user.isShadowBanned,
    displayname: user.displayname,
    avatar_url: user.avatarUrl,
    creation_ts: user.createdTs,
    ...(showsApproval ? { approved: user.isApproved } : {}),
    erased: user.isErased,
    last_seen_ts: user.lastSeenTs,
    locked: user.isLocked,
  };
}
