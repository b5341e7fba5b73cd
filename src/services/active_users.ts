/**
 * How many people may use the server: `limit_usage_by_mau` and what belongs to it, `hs_disabled`.
 *
 * Who was active within thirty days may go on. Everybody else may begin while there are fewer than the limit; new accounts
 * neither count nor are kept out during their trial.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import { MatrixError } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import { countActiveUsers, deleteInactiveUsers, selectIsActive, upsertActiveUser } from "../storage/active_users.ts";
import type { Database } from "../storage/database.ts";
import { selectThreepidOwner, selectThreepids, selectUser } from "../storage/users.ts";

/** Options of the configuration, by Synapse's names. */
export interface ActiveUserOptions {
  readonly hsDisabled: boolean;
  readonly hsDisabledMessage: string;
  readonly adminContact: string | null;
  readonly limitUsageByMau: boolean;
  readonly mauStatsOnly: boolean;
  readonly maxMauValue: number;
  readonly mauTrialDays: number;
  readonly mauAppserviceTrialDays: Readonly<Record<string, number>>;
  readonly mauLimitReservedThreepids: readonly { readonly medium: string; readonly address: string }[];
  readonly trackAppserviceUserIps: boolean;
}

/** What the service is built from. */
export interface ActiveUsersDeps {
  readonly db: Database;
  readonly clock: Clock;
  /** The user whom notices come from, who is no person. */
  readonly noticesUser: UserId | null;
  readonly options: ActiveUserOptions;
}

const DAY_MS = 86_400_000;
const MONTH_MS = 30 * DAY_MS;
/** Being active is written down this often. */
const NOTE_EVERY_MS = 3_600_000;
const CACHED_USERS = 20_000;

/** Counts and limits. */
export class ActiveUsers {
  readonly #deps: ActiveUsersDeps;
  readonly #noted = new LruCache<UserId, number>({ name: "active_users", maxEntries: CACHED_USERS });

  constructor(deps: ActiveUsersDeps) {
    this.#deps = deps;
  }

  /** Throws `M_RESOURCE_LIMIT_EXCEEDED` where no account may be made, with this address if any. */
  async assertMayRegister(addresses: readonly { readonly medium: string; readonly address: string }[]): Promise<void> {
    this.#assertOpen();
    const { limitUsageByMau, mauTrialDays } = this.#deps.options;
    if (!limitUsageByMau || mauTrialDays > 0) return;
    if (addresses.some(({ medium, address }) => this.#isReserved(medium, address))) return;
    if (await this.isFull()) throw this.#full();
  }

  /** Throws `M_RESOURCE_LIMIT_EXCEEDED` where a user may not use the server now. */
  async assertMayUse(
    { userId, appserviceId }: { userId: UserId; appserviceId: string | null },
  ): Promise<void> {
    const { db, clock, options, noticesUser } = this.#deps;
    if (userId === noticesUser) return;
    if (appserviceId !== null && !options.trackAppserviceUserIps) return;
    this.#assertOpen();
    if (!options.limitUsageByMau && !options.mauStatsOnly) return;
    const now = clock.now();
    if ((this.#noted.get(userId) ?? -Infinity) > now - NOTE_EVERY_MS) return;
    if (!await selectIsActive(db, { userId, after: now - MONTH_MS })) {
      if (await this.#isOnTrial(userId)) return;
      if (options.limitUsageByMau && await this.isFull() && !await this.#hasReserved(userId)) throw this.#full();
    }
    await db.transaction((tx) => upsertActiveUser(tx, { userId, now }));
    this.#noted.set(userId, now);
  }

  /** Forgets who was active long ago. Called by a timer. */
  async reap(): Promise<void> {
    const { db, clock } = this.#deps;
    await db.transaction((tx) => deleteInactiveUsers(tx, clock.now() - MONTH_MS));
  }

  #assertOpen(): void {
    const { hsDisabled, hsDisabledMessage, adminContact } = this.#deps.options;
    if (!hsDisabled) return;
    throw new MatrixError(403, "M_RESOURCE_LIMIT_EXCEEDED", hsDisabledMessage, {
      limit_type: "hs_disabled",
      ...(adminContact === null ? {} : { admin_contact: adminContact }),
    });
  }

  #full(): MatrixError {
    const { adminContact } = this.#deps.options;
    const message = "This server has reached the number of users that it may have within a month";
    return new MatrixError(403, "M_RESOURCE_LIMIT_EXCEEDED", message, {
      limit_type: "monthly_active_user",
      ...(adminContact === null ? {} : { admin_contact: adminContact }),
    });
  }

  /** Tells whether a user counts as active. */
  async isActive(userId: UserId): Promise<boolean> {
    const { db, clock } = this.#deps;
    return await selectIsActive(db, { userId, after: clock.now() - MONTH_MS });
  }

  /** Counts the active users; 0 where nobody counts them. */
  async count(): Promise<number> {
    const { db, clock } = this.#deps;
    return await countActiveUsers(db, clock.now() - MONTH_MS);
  }

  /** Counts the accounts with an address of `mau_limit_reserved_threepids`. */
  async countReserved(): Promise<number> {
    const owners = new Set<UserId>();
    for (const threepid of this.#deps.options.mauLimitReservedThreepids) {
      const owner = await selectThreepidOwner(this.#deps.db, threepid);
      if (owner !== null) owners.add(owner);
    }
    return owners.size;
  }

  /** Tells whether there are as many active users as there may be. */
  async isFull(): Promise<boolean> {
    return await this.count() >= this.#deps.options.maxMauValue;
  }

  async #isOnTrial(userId: UserId): Promise<boolean> {
    const { db, clock, options } = this.#deps;
    const user = await selectUser(db, userId);
    if (user === null) return false;
    const own = user.appserviceId === null ? undefined : options.mauAppserviceTrialDays[user.appserviceId];
    return clock.now() - user.createdTs < (own ?? options.mauTrialDays) * DAY_MS;
  }

  #isReserved(medium: string, address: string): boolean {
    return this.#deps.options.mauLimitReservedThreepids.some((reserved) =>
      reserved.medium === medium && reserved.address.toLowerCase() === address
    );
  }

  async #hasReserved(userId: UserId): Promise<boolean> {
    if (this.#deps.options.mauLimitReservedThreepids.length === 0) return false;
    const own = await selectThreepids(this.#deps.db, userId);
    return own.some(({ medium, address }) => this.#isReserved(medium, address));
  }
}
