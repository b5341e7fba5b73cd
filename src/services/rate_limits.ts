/**
 * Rate limits by Synapse's option names: token buckets refilled at `perSecond` up to `burstCount`.
 *
 * Buckets live in memory of one process. A full bucket is the same as none, so buckets that have refilled are dropped
 * whenever the table has doubled since the last sweep.
 */
import type { Clock } from "../lib/clock.ts";
import { limitExceeded } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Requester } from "../rooms/types.ts";

/** Refill in actions per second, and the size of the bucket in actions. */
export interface Limit {
  readonly perSecond: number;
  readonly burstCount: number;
}

/** The limiters, named by their options. */
export type LimitName =
  | "rc_3pid_validation"
  | "rc_admin_redaction"
  | "rc_delayed_event_mgmt"
  | "rc_invites.per_issuer"
  | "rc_invites.per_room"
  | "rc_invites.per_user"
  | "rc_joins.local"
  | "rc_joins.remote"
  | "rc_joins_per_room"
  | "rc_key_requests"
  | "rc_login.account"
  | "rc_login.address"
  | "rc_login.failed_attempts"
  | "rc_media_create"
  | "rc_message"
  | "rc_presence.per_user"
  | "rc_profile"
  | "rc_registration"
  | "rc_registration_token_validity"
  | "rc_reports"
  | "rc_room_creation"
  | "rc_third_party_invite"
  | "rc_user_directory";

/** A limit for each name. */
export type Limits = Readonly<Record<LimitName, Limit>>;

/** The rate limits of the configuration, as far as they apply to clients. */
export interface LimitOptions {
  readonly rc3pidValidation: Limit;
  readonly rcAdminRedaction: Limit | null;
  readonly rcDelayedEventMgmt: Limit;
  readonly rcInvites: { readonly perIssuer: Limit; readonly perRoom: Limit; readonly perUser: Limit };
  readonly rcJoins: { readonly local: Limit; readonly remote: Limit };
  readonly rcJoinsPerRoom: Limit;
  readonly rcKeyRequests: Limit;
  readonly rcLogin: { readonly account: Limit; readonly address: Limit; readonly failedAttempts: Limit };
  readonly rcMediaCreate: Limit;
  readonly rcMessage: Limit;
  readonly rcPresence: { readonly perUser: Limit };
  readonly rcProfile: Limit;
  readonly rcRegistration: Limit;
  readonly rcRegistrationTokenValidity: Limit;
  readonly rcReports: Limit;
  readonly rcRoomCreation: Limit;
  readonly rcThirdPartyInvite: Limit;
  readonly rcUserDirectory: Limit;
}

/** Names the limits of the configuration as the limiters are named. */
export function limitsOf(options: LimitOptions): Limits {
  return {
    "rc_3pid_validation": options.rc3pidValidation,
    "rc_admin_redaction": options.rcAdminRedaction ?? options.rcMessage,
    "rc_delayed_event_mgmt": options.rcDelayedEventMgmt,
    "rc_invites.per_issuer": options.rcInvites.perIssuer,
    "rc_invites.per_room": options.rcInvites.perRoom,
    "rc_invites.per_user": options.rcInvites.perUser,
    "rc_joins.local": options.rcJoins.local,
    "rc_joins.remote": options.rcJoins.remote,
    "rc_joins_per_room": options.rcJoinsPerRoom,
    "rc_key_requests": options.rcKeyRequests,
    "rc_login.account": options.rcLogin.account,
    "rc_login.address": options.rcLogin.address,
    "rc_login.failed_attempts": options.rcLogin.failedAttempts,
    "rc_media_create": options.rcMediaCreate,
    "rc_message": options.rcMessage,
    "rc_presence.per_user": options.rcPresence.perUser,
    "rc_profile": options.rcProfile,
    "rc_registration": options.rcRegistration,
    "rc_registration_token_validity": options.rcRegistrationTokenValidity,
    "rc_reports": options.rcReports,
    "rc_room_creation": options.rcRoomCreation,
    "rc_third_party_invite": options.rcThirdPartyInvite,
    "rc_user_directory": options.rcUserDirectory,
  };
}

interface Bucket {
  tokens: number;
  updated: number;
  readonly limit: Limit;
}

/** What a user's own limit is for. */
const OVERRIDDEN: LimitName = "rc_message";
const MIN_SWEEP_SIZE = 1024;

/** Counts actions by limiter and key (a user, an address, a room). */
export class RateLimits {
  #limits: Limits;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();
  readonly #overrides = new Map<UserId, Limit | null>();
  #sweepAt = MIN_SWEEP_SIZE;

  constructor({ limits, clock }: { limits: Limits; clock: Clock }) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Uses other limits from now on. */
  setLimits(limits: Limits): void {
    this.#limits = limits;
    this.#buckets.clear();
  }

  /**
   * Sets a user's own limit on sending; null lifts all limits, as in Synapse. An admin's decision, kept by the caller.
   * It begins with a full bucket.
   */
  setOverride(userId: UserId, limit: Limit | null): void {
    this.#overrides.set(userId, limit);
    this.#buckets.delete(`${OVERRIDDEN}\n${userId}`);
  }

  /** Removes a user's own limit. */
  clearOverride(userId: UserId): void {
    this.#overrides.delete(userId);
    this.#buckets.delete(`${OVERRIDDEN}\n${userId}`);
  }

  /** Takes one action from the bucket, or returns the milliseconds until there is one; 0 means it was allowed. */
  take(name: LimitName, key: string): number {
    return this.#take({ id: `${name}\n${key}`, limit: this.#limits[name], consume: true });
  }

  /** Returns what `take` would, without taking. */
  peek(name: LimitName, key: string): number {
    return this.#take({ id: `${name}\n${key}`, limit: this.#limits[name], consume: false });
  }

  /** Throws `M_LIMIT_EXCEEDED` when the bucket is empty, without taking from it. */
  assertNotExceeded(name: LimitName, key: string): void {
    const waitMs = this.peek(name, key);
    if (waitMs > 0) throw limitExceeded(waitMs);
  }

  /** Takes one action or throws `M_LIMIT_EXCEEDED`. */
  check(name: LimitName, key: string): void {
    const waitMs = this.take(name, key);
    if (waitMs > 0) throw limitExceeded(waitMs);
  }

  /** As `check`, per user: honors the user's own limit, and lets those pass who have none. */
  checkUser(name: LimitName, requester: Requester): void {
    if (this.#isUnlimited(requester)) return;
    const override = name === OVERRIDDEN ? this.#overrides.get(requester.userId) : undefined;
    const waitMs = this.#take({
      id: `${name}\n${requester.userId}`,
      limit: override ?? this.#limits[name],
      consume: true,
    });
    if (waitMs > 0) throw limitExceeded(waitMs);
  }

  /** As `check`, for what a user does to a room or to others: lets those pass who have no limits. */
  checkTarget(requester: Requester, { name, key }: { name: LimitName; key: string }): void {
    if (!this.#isUnlimited(requester)) this.check(name, key);
  }

  /** Application services may be without limits, and whoever an administrator lifts them for. */
  #isUnlimited({ userId, isUnlimited }: Requester): boolean {
    return isUnlimited === true || this.#overrides.get(userId) === null;
  }

  #take({ id, limit, consume }: { id: string; limit: Limit; consume: boolean }): number {
    // A rate this high is how Synapse's users switch a limit off; it needs no bookkeeping.
    if (limit.perSecond >= 1_000_000) return 0;
    const now = this.#clock.monotonic();
    const bucket = this.#buckets.get(id);
    const tokens = bucket === undefined
      ? limit.burstCount
      : Math.min(limit.burstCount, bucket.tokens + ((now - bucket.updated) / 1000) * limit.perSecond);
    if (tokens < 1) return limit.perSecond > 0 ? ((1 - tokens) / limit.perSecond) * 1000 : 86_400_000;
    if (!consume) return 0;
    if (bucket !== undefined && bucket.limit === limit) {
      bucket.tokens = tokens - 1;
      bucket.updated = now;
    } else {
      this.#buckets.set(id, { tokens: tokens - 1, updated: now, limit });
      if (this.#buckets.size >= this.#sweepAt) this.#sweep(now);
    }
    return 0;
  }

  #sweep(now: number): void {
    for (const [id, { tokens, updated, limit }] of this.#buckets) {
      if (tokens + ((now - updated) / 1000) * limit.perSecond >= limit.burstCount) this.#buckets.delete(id);
    }
    this.#sweepAt = Math.max(MIN_SWEEP_SIZE, this.#buckets.size * 2);
  }
}
