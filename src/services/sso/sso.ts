/**
 * Logins at identity providers, from the moment somebody comes back: whose account it is, what a new one needs, and how
 * the client gets its token. Spec: client-server API, "SSO client login/authentication".
 */
import type { Clock } from "../../lib/clock.ts";
import { describeError } from "../../lib/describe_error.ts";
import type { Logger } from "../../lib/log.ts";
import { MatrixError, notFound, unrecognized } from "../../protocol/errors.ts";
import type { UserId } from "../../protocol/ids.ts";
import type { Database } from "../../storage/database.ts";
import { insertExternalId, selectExternalIds, selectUserByExternalId } from "../../storage/external_ids.ts";
import { deleteLoginsOfAuthSession, selectDevicesOfAuthSession } from "../../storage/sso_sessions.ts";
import { selectUser } from "../../storage/users.ts";
import type { Accounts } from "../accounts.ts";
import type { Devices } from "../devices.ts";
import type { MemberProfile } from "../profile.ts";
import type { Registration } from "../registration.ts";
import type { LoginOrigin, Tokens } from "../tokens.ts";
import type { Uia } from "../uia.ts";
import { type Arrival, type IdentityProvider, type SsoAttributes, SsoError } from "./identity_provider.ts";
import { type NewUser, NewUsers, type NewUserSession } from "./new_user.ts";
import { isTrustedUrl, withLoginToken } from "./redirect_urls.ts";

/** Options of the configuration. */
export interface SsoOptions {
  /** Addresses of clients that get their tokens without asking the user; prefixes. */
  readonly clientWhitelist: readonly string[];
  readonly updateProfileInformation: boolean;
  /** The version of the terms that new users must agree to; null where there are none. */
  readonly termsVersion: string | null;
}

/** What the service is built from. */
export interface SsoDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly providers: readonly IdentityProvider[];
  readonly options: SsoOptions;
  readonly accounts: Pick<Accounts, "find">;
  readonly devices: Pick<Devices, "remove">;
  readonly registration: Pick<Registration, "isFree" | "registerVouched" | "assertAvailable" | "userIdOf">;
  readonly tokens: Pick<Tokens, "issueLoginToken">;
  readonly uia: Pick<Uia, "settleOnPage">;
  readonly profileOf: (userId: UserId) => Promise<MemberProfile>;
  /** Sets a name that a provider gave, whatever users may change by themselves. */
  readonly setDisplayName: (userId: UserId, displayName: string) => Promise<void>;
  /** Fetches a picture and makes it the user's. */
  readonly setPicture: (userId: UserId, url: string) => Promise<void>;
  /** Notes that a new user agreed to the terms. */
  readonly onTermsAccepted: (user: { userId: UserId; version: string }) => Promise<void>;
}

/** What the browser of somebody who came back does next. */
export type SsoStep =
  | { readonly kind: "choose"; readonly page: "account_details" | "terms" | "register"; readonly token: string }
  | {
    readonly kind: "client";
    /** The client's address with its token. */
    readonly location: string;
    readonly redirectUrl: string;
    /** Whether to go there at once. */
    readonly isTrusted: boolean;
    readonly isNew: boolean;
    readonly userId: UserId;
    readonly profile: MemberProfile;
  }
  | { readonly kind: "deactivated" }
  | { readonly kind: "confirmed" }
  | { readonly kind: "not_confirmed"; readonly userId: UserId | null };

/** What a new user picked on the page about their account. */
export interface AccountChoice {
  readonly localpart: string;
  readonly useDisplayName: boolean;
  readonly usePicture: boolean;
  readonly emails: readonly string[];
}

const MAX_NAME_TRIES = 1_000;
const LOGIN_TOKEN_LIFETIME_MS = 2 * 60_000;

/** Logs people in who proved themselves elsewhere. */
export class Sso {
  readonly #deps: SsoDeps;
  readonly #newUsers: NewUsers;

  constructor(deps: SsoDeps) {
    this.#deps = deps;
    this.#newUsers = new NewUsers(deps);
  }

  /** All providers in the order of the configuration. */
  get providers(): readonly IdentityProvider[] {
    return this.#deps.providers;
  }

  /** Returns a provider, or with null the only one there is. Throws 404 for one that does not exist. */
  provider(id: string | null): IdentityProvider | null {
    const { providers } = this.#deps;
    if (providers.length === 0) throw unrecognized();
    if (id === null) return providers.length === 1 ? providers[0] ?? null : null;
    const found = providers.find(({ info }) => info.id === id);
    if (found === undefined) throw notFound("Unknown identity provider");
    return found;
  }

  /** Returns the provider with which a user confirms a request. Throws 400 where the user has none. */
  async providerOf(userId: UserId, preferred: string | null): Promise<IdentityProvider> {
    const known = new Set((await selectExternalIds(this.#deps.db, userId)).map(({ authProvider }) => authProvider));
    const usable = this.#deps.providers.filter(({ info }) => known.has(info.id));
    const found = preferred === null ? usable[0] : usable.find(({ info }) => info.id === preferred);
    if (found === undefined) throw new MatrixError(400, "M_INVALID_PARAM", "User has no SSO identities");
    return found;
  }

  /** Receives somebody who came back. Throws `SsoError` and `MatrixError`, which pages show. */
  async arrive(arrival: Arrival): Promise<SsoStep> {
    const { purpose, externalId, provider, authSession, extra } = arrival;
    if (purpose.kind === "confirm") return await this.#confirm(arrival, purpose.uiaSession);
    const userId = await this.#knownUser(arrival);
    const origin = { authProvider: provider.id, authSession, extra };
    if (userId !== null) {
      await this.#updateProfile(arrival, userId);
      return await this.#finish({ userId, origin, redirectUrl: purpose.redirectUrl, isNew: false });
    }
    if (!arrival.mayRegister) {
      throw new SsoError("mapping_error", "User does not exist and registrations are disabled", { status: 403 });
    }
    const attributes = await this.#freeAttributes(arrival);
    const mayChoose = attributes.localpart === null || attributes.confirmLocalpart;
    const { displayName, picture, emails, localpart } = attributes;
    const user: NewUser = {
      ...{ externalId, redirectUrl: purpose.redirectUrl, extra, displayName, picture, emails, localpart, mayChoose },
      ...{ hasChosen: !mayChoose, useDisplayName: true, usePicture: true, emailsToUse: emails, termsVersion: null },
    };
    const session = { authProvider: provider.id, authSession, user };
    if (this.#nextPage(user) === "register") return await this.#register({ ...session, token: "" });
    const token = await this.#newUsers.begin(session);
    return { kind: "choose", page: this.#nextPage(user), token };
  }

  /** Returns a new user's session. Throws `SsoError` for one that is not known. */
  async newUser(token: string): Promise<NewUserSession> {
    return await this.#newUsers.get(token);
  }

  /** Returns the user id that a new user will have. */
  newUserId({ user }: NewUserSession): UserId {
    if (!user.hasChosen) throw new SsoError("no_user", "No user name has been selected.");
    return this.#deps.registration.userIdOf(user.localpart ?? "");
  }

  /** Notes what a new user picked. Throws 400 for a name that cannot be. */
  async choose(token: string, { localpart, useDisplayName, usePicture, emails }: AccountChoice): Promise<SsoStep> {
    const session = await this.#newUsers.get(token);
    if (!session.user.mayChoose) throw new SsoError("bad_param", "The name of your account is not yours to choose.");
    await this.#deps.registration.assertAvailable(localpart);
    const next = await this.#newUsers.change(session, {
      ...{ localpart, hasChosen: true, useDisplayName, usePicture },
      emailsToUse: session.user.emails.filter((email) => emails.includes(email)),
    });
    return { kind: "choose", page: this.#nextPage(next.user), token };
  }

  /** Notes that a new user agrees to a version of the terms. */
  async acceptTerms(token: string, version: string): Promise<SsoStep> {
    const session = await this.#newUsers.get(token);
    if (version !== this.#deps.options.termsVersion) {
      throw new SsoError("bad_param", "These are not the present terms of this server.");
    }
    const next = await this.#newUsers.change(session, { termsVersion: version });
    return { kind: "choose", page: this.#nextPage(next.user), token };
  }

  /** Makes the account of a new user, or says what is missing. */
  async complete(token: string): Promise<SsoStep> {
    const session = await this.#newUsers.get(token);
    const page = this.#nextPage(session.user);
    return page === "register" ? await this.#register(session) : { kind: "choose", page, token };
  }

  /** Ends the logins here that came from a session at a provider; with `externalId` only those of that person. */
  async endSession(
    { authProvider, authSession, externalId }: { authProvider: string; authSession: string; externalId: string | null },
  ): Promise<void> {
    const { db, devices, log } = this.#deps;
    const session = { authProvider, authSession };
    const expected = externalId === null ? null : await selectUserByExternalId(db, { authProvider, externalId });
    await db.transaction((tx) => deleteLoginsOfAuthSession(tx, session));
    for (const { userId, deviceId } of await selectDevicesOfAuthSession(db, session)) {
      if (expected === null || expected === userId) await devices.remove(userId, [deviceId]);
      else {log.error(
          `Logout of ${expected} by ${authProvider} names a session of ${userId}; is the subject not "sub"?`,
        );}
    }
  }

  #nextPage({ hasChosen, termsVersion }: NewUser): "account_details" | "terms" | "register" {
    if (!hasChosen) return "account_details";
    return this.#deps.options.termsVersion !== null && termsVersion === null ? "terms" : "register";
  }

  async #confirm({ provider, externalId }: Arrival, sessionId: string): Promise<SsoStep> {
    const userId = await selectUserByExternalId(this.#deps.db, { authProvider: provider.id, externalId });
    const asked = await this.#deps.uia.settleOnPage({ sessionId, stage: "m.login.sso", userId });
    return asked === null ? { kind: "confirmed" } : { kind: "not_confirmed", userId: asked };
  }

  async #knownUser({ provider, externalId, ownsAccount }: Arrival): Promise<UserId | null> {
    const { db, registration, accounts } = this.#deps;
    const person = { authProvider: provider.id, externalId };
    const known = await selectUserByExternalId(db, person);
    if (known !== null) return known;
    const localpart = await ownsAccount?.() ?? null;
    if (localpart === null) return null;
    const userId = registration.userIdOf(localpart);
    if (await accounts.find(userId) === null) return null;
    await db.transaction((tx) => insertExternalId(tx, { ...person, userId }));
    return await selectUserByExternalId(db, person);
  }

  async #freeAttributes(arrival: Arrival): Promise<SsoAttributes> {
    for (let failures = 0; failures < MAX_NAME_TRIES; failures++) {
      const attributes = await arrival.attributes(failures);
      if (attributes.localpart === null || await this.#deps.registration.isFree(attributes.localpart)) {
        return attributes;
      }
    }
    throw new SsoError("mapping_error", "Unable to generate a Matrix ID from the SSO response");
  }

  async #register(session: NewUserSession): Promise<SsoStep> {
    const { registration, onTermsAccepted } = this.#deps;
    const { authProvider, authSession, user } = session;
    await registration.assertAvailable(user.localpart ?? "");
    if (session.token !== "") await this.#newUsers.end(session);
    const userId = await registration.registerVouched({
      localpart: user.localpart ?? "",
      displayName: user.useDisplayName ? user.displayName : null,
      emails: user.emailsToUse,
      authProvider,
      settle: async (tx, userId) => {
        if (await insertExternalId(tx, { authProvider, externalId: user.externalId, userId })) return;
        throw new SsoError("mapping_error", "You have an account by now. Please begin again in your app.");
      },
    });
    if (user.termsVersion !== null) await onTermsAccepted({ userId, version: user.termsVersion });
    if (user.usePicture && user.picture !== null) await this.#setPicture(userId, user.picture);
    const origin = { authProvider, authSession, extra: user.extra };
    return await this.#finish({ userId, origin, redirectUrl: user.redirectUrl, isNew: true });
  }

  async #updateProfile(arrival: Arrival, userId: UserId): Promise<void> {
    if (!this.#deps.options.updateProfileInformation) return;
    const { displayName, picture } = await arrival.attributes(0);
    const current = await this.#deps.profileOf(userId);
    if (displayName !== null && displayName !== current.displayname) {
      await this.#deps.setDisplayName(userId, displayName);
    }
    if (picture !== null) await this.#setPicture(userId, picture);
  }

  /** A picture that cannot be had keeps nobody out. */
  async #setPicture(userId: UserId, url: string): Promise<void> {
    try {
      await this.#deps.setPicture(userId, url);
    } catch (error) {
      this.#deps.log.warn(`Cannot take over the picture of ${userId}: ${describeError(error)}`);
    }
  }

  async #finish(
    { userId, origin, redirectUrl, isNew }: {
      userId: UserId;
      origin: LoginOrigin;
      redirectUrl: string;
      isNew: boolean;
    },
  ): Promise<SsoStep> {
    const { db, tokens, options, profileOf } = this.#deps;
    if ((await selectUser(db, userId))?.isDeactivated !== false) return { kind: "deactivated" };
    const token = await tokens.issueLoginToken(userId, { lifetimeMs: LOGIN_TOKEN_LIFETIME_MS, origin });
    return {
      ...{ kind: "client", userId, redirectUrl, isNew },
      location: withLoginToken(redirectUrl, token),
      isTrusted: isTrustedUrl(redirectUrl, options.clientWhitelist),
      profile: await profileOf(userId),
    };
  }
}
