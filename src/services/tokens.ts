/**
 * Access, refresh and login tokens. Spec: client-server API, "Using access tokens", "Refreshing access tokens".
 *
 * Tokens are random text handed out once; the database has their hashes. The way from token to session is on the path
 * of every request, so sessions are cached by token; whatever changes an account or removes a token drops the cached
 * sessions after its commit. `#generation` keeps a read that was under way meanwhile from caching what it found.
 *
 * A refresh token may be used again until its successor (or the access token that came with it) is used: then the
 * tokens before it end. So a client that lost the answer to a refresh is not logged out.
 */
import type { Clock } from "../lib/clock.ts";
import { hashSecret } from "../lib/digest.ts";
import { LruCache } from "../lib/lru.ts";
import { randomString } from "../lib/random.ts";
import { Tally } from "../lib/tally.ts";
import { forbidden, MatrixError, unknownToken } from "../protocol/errors.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Requester } from "../rooms/types.ts";
import {
  deleteAccessToken,
  deleteExpiredLoginTokens,
  deleteLoginToken,
  deleteRefreshToken,
  deleteTokensBefore,
  insertAccessToken,
  insertLoginToken,
  insertRefreshToken,
  lockRefreshToken,
  type RefreshToken,
  selectAccessToken,
  updateAccessTokenUsed,
  updateNextRefreshToken,
} from "../storage/access_tokens.ts";
import type { Database, Tx } from "../storage/database.ts";
import { selectDevice } from "../storage/devices.ts";
import { selectUser } from "../storage/users.ts";
import type { Introspection } from "./mas.ts";

/** An access token in use and who it stands for. */
export interface Session {
  readonly requester: Requester;
  readonly tokenHash: string;
  /** Null for a token that does not expire. */
  readonly expiresTs: number | null;
  /** A locked account can only log out. */
  readonly isLocked: boolean;
  /** A suspended account reads, and sends nothing. */
  readonly isSuspended: boolean;
  /** The administrator who acts as the user. */
  readonly puppetedBy?: UserId | null;
}

/** Lifetimes in milliseconds by Synapse's options; null is for ever. */
export interface TokenLifetimes {
  readonly sessionLifetime: number | null;
  readonly refreshableAccessTokenLifetime: number | null;
  readonly refreshTokenLifetime: number | null;
  readonly nonrefreshableAccessTokenLifetime: number | null;
}

/** Tokens as a client gets them. */
export interface IssuedTokens {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  /** From now; null for a token that does not expire. */
  readonly expiresInMs: number | null;
}

/** The login at an identity provider behind a login here. */
export interface LoginOrigin {
  readonly authProvider: string;
  /** The session there, which ends the login here with it; null where the provider tells of none. */
  readonly authSession: string | null;
  /** What the client is told beside its tokens. */
  readonly extra: JsonObject;
}

/** How long a login token is good, and what it came from. */
export interface LoginTokenOptions {
  readonly lifetimeMs: number;
  readonly origin?: LoginOrigin | null;
}

/** What the service is built from. */
export interface TokensDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly lifetimes: TokenLifetimes;
  /** Asks whom tokens stand for where another server makes them; null where this one does. */
  readonly introspect?: ((accessToken: string) => Promise<Introspection>) | null;
  /** Sessions kept in memory. */
  readonly cacheEntries?: number;
}

/** Longer than any token of ours; longer ones are not even hashed. */
const MAX_TOKEN_LENGTH = 512;
/** Those of other servers may be longer. */
const MAX_FOREIGN_TOKEN_LENGTH = 4_096;
const TOKEN_RANDOM_LENGTH = 40;

function earliest(...times: (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length === 0 ? null : Math.min(...known);
}

function later(now: number, lifetime: number | null): number | null {
  return lifetime === null ? null : now + lifetime;
}

/** Gives out tokens and recognizes them. */
export class Tokens {
  /** Login tokens that were refused, and why. */
  readonly badLoginTokens = new Tally("reason");
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #lifetimes: TokenLifetimes;
  readonly #sessions: LruCache<string, Session>;
  /** What application services act with, by service and user. */
  readonly #serviceSessions: LruCache<string, Session>;
  readonly #introspect: ((accessToken: string) => Promise<Introspection>) | null;
  /** Tokens that are being asked about. */
  readonly #asking = new Map<string, Promise<Session>>();
  #generation = 0;

  constructor({ db, clock, lifetimes, introspect = null, cacheEntries = 10_000 }: TokensDeps) {
    this.#introspect = introspect;
    this.#db = db;
    this.#clock = clock;
    this.#lifetimes = lifetimes;
    this.#sessions = new LruCache({ name: "access_tokens", maxEntries: cacheEntries });
    this.#serviceSessions = new LruCache({ maxEntries: cacheEntries });
  }

  /** Forgets what application services act with: they may be others now. */
  forgetServices(): void {
    this.#generation++;
    this.#serviceSessions.clear();
  }

  /** Returns the session of an access token, at once when it is cached; throws `M_UNKNOWN_TOKEN`. */
  resolve(accessToken: string): Session | Promise<Session> {
    const cached = this.#sessions.get(accessToken);
    if (this.#introspect !== null) return this.#resolveElsewhere(accessToken, cached);
    if (cached === undefined) return this.#load(accessToken);
    this.#assertNotExpired(cached.expiresTs);
    return cached;
  }

  /** Returns the session in which a service acts, at once when it is cached; else `make` finds it. */
  async resolveService(key: string, make: () => Promise<Session>): Promise<Session> {
    const cached = this.#serviceSessions.get(key);
    if (cached !== undefined) return cached;
    const generation = this.#generation;
    const session = await make();
    if (generation === this.#generation) this.#serviceSessions.set(key, session);
    return session;
  }

  /** Makes tokens for a new login of a device. */
  async issue(
    tx: Tx,
    { userId, deviceId, withRefresh }: { userId: UserId; deviceId: DeviceId; withRefresh: boolean },
  ): Promise<IssuedTokens> {
    const now = this.#clock.now();
    const sessionExpiresTs = later(now, this.#lifetimes.sessionLifetime);
    if (withRefresh) return await this.#issuePair(tx, { userId, deviceId, sessionExpiresTs });
    const expiresTs = earliest(later(now, this.#lifetimes.nonrefreshableAccessTokenLifetime), sessionExpiresTs);
    const accessToken = await this.#issueAccess(tx, { userId, deviceId, expiresTs, validatedTs: now });
    return { accessToken, refreshToken: null, expiresInMs: expiresTs === null ? null : expiresTs - now };
  }

  /** Makes a token without a device, for an admin to act as a user. */
  async issuePuppet(
    { userId, admin, expiresTs }: { userId: UserId; admin: UserId; expiresTs: number | null },
  ): Promise<string> {
    return await this.#db.transaction((tx) =>
      this.#issueAccess(tx, { userId, deviceId: null, expiresTs, puppetedBy: admin })
    );
  }

  /** Exchanges a refresh token; throws `M_UNKNOWN_TOKEN` when it is unknown, used up or expired. */
  async refresh(refreshToken: string): Promise<IssuedTokens> {
    const tokenHash = hashSecret(refreshToken.slice(0, MAX_TOKEN_LENGTH));
    return await this.#db.transaction(async (tx) => {
      const current = await lockRefreshToken(tx, tokenHash);
      if (current === null) throw unknownToken({ softLogout: false });
      this.#assertNotExpired(earliest(current.expiresTs, current.sessionExpiresTs));
      const ended = await deleteTokensBefore(tx, tokenHash);
      // An earlier use of this token gave tokens that nobody has used since: they are replaced.
      if (current.nextHash !== null) ended.push(...await deleteRefreshToken(tx, current.nextHash));
      const issued = await this.#issuePair(tx, { ...current, previous: current });
      if (ended.length > 0) tx.afterCommit(() => this.forgetTokens(ended));
      return issued;
    });
  }

  /** Makes a token that logs its bearer in as `userId`, once. */
  async issueLoginToken(userId: UserId, { lifetimeMs, origin = null }: LoginTokenOptions): Promise<string> {
    const token = `syl_${randomString(TOKEN_RANDOM_LENGTH)}`;
    const now = this.#clock.now();
    await this.#db.transaction(async (tx) => {
      await deleteExpiredLoginTokens(tx, now);
      await insertLoginToken(tx, {
        tokenHash: hashSecret(token),
        userId,
        expiresTs: now + lifetimeMs,
        authProvider: origin?.authProvider ?? null,
        authSession: origin?.authSession ?? null,
        loginExtra: origin === null ? null : JSON.stringify(origin.extra),
      });
    });
    return token;
  }

  /** Uses up a login token and returns whose it is and where it came from; throws `M_FORBIDDEN`. */
  async consumeLoginToken(token: string): Promise<{ userId: UserId; origin: LoginOrigin | null }> {
    const tokenHash = hashSecret(token.slice(0, MAX_TOKEN_LENGTH));
    const found = await this.#db.transaction((tx) => deleteLoginToken(tx, tokenHash));
    if (found === null || found.expiresTs < this.#clock.now()) {
      this.badLoginTokens.add([found === null ? "invalid" : "expired"]);
      throw forbidden("Invalid login token");
    }
    const { userId, authProvider, authSession, loginExtra } = found;
    if (authProvider === null) return { userId, origin: null };
    return { userId, origin: { authProvider, authSession, extra: JSON.parse(loginExtra ?? "{}") } };
  }

  /** Ends one access token that has no device. */
  async revoke(tokenHash: string): Promise<void> {
    await this.#db.transaction(async (tx) => {
      await deleteAccessToken(tx, tokenHash);
      tx.afterCommit(() => this.forgetTokens([tokenHash]));
    });
  }

  /** Drops cached sessions by token hash. Call after the commit that removed the tokens. */
  forgetTokens(hashes: Iterable<string>): void {
    const gone = new Set(hashes);
    this.#forget((session) => gone.has(session.tokenHash));
  }

  /** Drops a user's cached sessions. Call after the commit that changed the account. */
  forgetUser(userId: UserId): void {
    this.#forget((session) => session.requester.userId === userId);
  }

  #forget(matches: (session: Session) => boolean): void {
    this.#generation++;
    for (const sessions of [this.#sessions, this.#serviceSessions]) {
      for (const key of [...sessions.keys()]) {
        const session = sessions.peek(key);
        if (session !== undefined && matches(session)) sessions.delete(key);
      }
    }
  }

  async #load(accessToken: string): Promise<Session> {
    if (accessToken.length > MAX_TOKEN_LENGTH) throw unknownToken({ softLogout: false });
    const generation = this.#generation;
    const tokenHash = hashSecret(accessToken);
    const found = await selectAccessToken(this.#db, tokenHash);
    if (found === null) throw unknownToken({ softLogout: false });
    this.#assertNotExpired(found.expiresTs);
    if (!found.isUsed && found.refreshHash !== null) await this.#endPredecessors(tokenHash, found.refreshHash);
    const session: Session = {
      requester: {
        userId: found.userId,
        deviceId: found.deviceId,
        isGuest: found.isGuest,
        isAdmin: found.isAdmin,
        isShadowBanned: found.isShadowBanned,
        appserviceId: null,
      },
      tokenHash,
      expiresTs: found.expiresTs,
      isLocked: found.isLocked,
      isSuspended: found.isSuspended,
      puppetedBy: found.puppetedBy,
    };
    if (generation === this.#generation) this.#sessions.set(accessToken, session);
    return session;
  }

  /** Returns the session of a token that another server made, which is asked again from time to time. */
  #resolveElsewhere(accessToken: string, cached: Session | undefined): Session | Promise<Session> {
    if (cached !== undefined && (cached.expiresTs ?? 0) > this.#clock.now()) return cached;
    if (accessToken.length > MAX_FOREIGN_TOKEN_LENGTH) throw unknownToken({ softLogout: false });
    const asking = this.#asking.get(accessToken) ??
      this.#ask(accessToken).finally(() => this.#asking.delete(accessToken));
    this.#asking.set(accessToken, asking);
    return asking;
  }

  async #ask(accessToken: string): Promise<Session> {
    const generation = this.#generation;
    const introspection = await this.#introspect?.(accessToken);
    if (introspection === undefined) throw unknownToken({ softLogout: false });
    const { userId, deviceId, isAdmin, goodUntilTs } = introspection;
    const user = await selectUser(this.#db, userId);
    if (user === null) throw new MatrixError(500, "M_UNKNOWN", "The user of this access token does not exist here");
    const device = deviceId === null ? null : await selectDevice(this.#db, { userId, deviceId });
    // The other server has yet to tell of the device, or the device has just gone.
    if (user.isDeactivated || (deviceId !== null && device === null)) throw unknownToken({ softLogout: false });
    const { isShadowBanned, isLocked, isSuspended } = user;
    const session: Session = {
      requester: { userId, deviceId, isGuest: false, isAdmin, isShadowBanned, appserviceId: null },
      ...{ tokenHash: hashSecret(accessToken), expiresTs: goodUntilTs, isLocked, isSuspended },
    };
    if (generation === this.#generation) this.#sessions.set(accessToken, session);
    return session;
  }

  async #endPredecessors(tokenHash: string, refreshHash: string): Promise<void> {
    await this.#db.transaction(async (tx) => {
      if (!await updateAccessTokenUsed(tx, tokenHash)) return;
      const ended = await deleteTokensBefore(tx, refreshHash);
      if (ended.length > 0) tx.afterCommit(() => this.forgetTokens(ended));
    });
  }

  #assertNotExpired(expiresTs: number | null): void {
    if (expiresTs !== null && expiresTs <= this.#clock.now()) throw unknownToken({ softLogout: true });
  }

  async #issueAccess(
    tx: Tx,
    { userId, deviceId, expiresTs, refreshHash = null, validatedTs = null, puppetedBy = null }: {
      userId: UserId;
      deviceId: DeviceId | null;
      expiresTs: number | null;
      refreshHash?: string | null;
      validatedTs?: number | null;
      puppetedBy?: UserId | null;
    },
  ): Promise<string> {
    const token = `syt_${randomString(TOKEN_RANDOM_LENGTH)}`;
    const createdTs = this.#clock.now();
    await insertAccessToken(tx, {
      tokenHash: hashSecret(token),
      userId,
      deviceId,
      createdTs,
      expiresTs,
      refreshHash,
      validatedTs,
      puppetedBy,
    });
    return token;
  }

  async #issuePair(
    tx: Tx,
    { userId, deviceId, sessionExpiresTs, previous = null }: {
      userId: UserId;
      deviceId: DeviceId;
      sessionExpiresTs: number | null;
      previous?: RefreshToken | null;
    },
  ): Promise<IssuedTokens> {
    const now = this.#clock.now();
    const refreshToken = `syr_${randomString(TOKEN_RANDOM_LENGTH)}`;
    const refreshHash = hashSecret(refreshToken);
    const refreshExpiresTs = later(now, this.#lifetimes.refreshTokenLifetime);
    const lifetime = this.#lifetimes.refreshableAccessTokenLifetime;
    const expiresTs = earliest(later(now, lifetime), sessionExpiresTs);
    await insertRefreshToken(tx, {
      tokenHash: refreshHash,
      userId,
      deviceId,
      expiresTs: refreshExpiresTs,
      sessionExpiresTs,
      nextHash: null,
    });
    if (previous !== null) {
      await updateNextRefreshToken(tx, { tokenHash: previous.tokenHash, nextHash: refreshHash });
    }
    const validatedTs = previous === null ? now : null;
    const accessToken = await this.#issueAccess(tx, { userId, deviceId, expiresTs, refreshHash, validatedTs });
    return { accessToken, refreshToken, expiresInMs: expiresTs === null ? null : expiresTs - now };
  }
}
