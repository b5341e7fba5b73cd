/** Limits of their own that administrators give to users: kept in the database, applied from memory. */
import type { UserId } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import {
  deleteRateLimitOverride,
  type RateLimitOverride,
  selectRateLimitOverride,
  selectRateLimitOverrides,
  upsertRateLimitOverride,
} from "../storage/rate_limit_overrides.ts";
import type { RateLimits } from "./rate_limits.ts";

const PAGE = 1_000;

/** Reads, sets and applies them. */
export class RateLimitOverrides {
  readonly #db: Database;
  readonly #limits: RateLimits;

  constructor({ db, limits }: { db: Database; limits: RateLimits }) {
    this.#db = db;
    this.#limits = limits;
  }

  /** Applies what the database holds; called when the server starts. */
  async start(): Promise<void> {
    for (let after = "";;) {
      const page = await selectRateLimitOverrides(this.#db, { after, limit: PAGE });
      for (const override of page) this.#apply(override);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      after = last.userId;
    }
  }

  /** Returns a user's own limit, or null. */
  async get(userId: UserId): Promise<RateLimitOverride | null> {
    return await selectRateLimitOverride(this.#db, userId);
  }

  /** Gives a user a limit of their own, from now on. */
  async set(override: RateLimitOverride): Promise<void> {
    await this.#db.transaction(async (tx) => {
      await upsertRateLimitOverride(tx, override);
      tx.afterCommit(() => this.#apply(override));
    });
  }

  /** Has the server's limits apply to a user again. */
  async clear(userId: UserId): Promise<void> {
    await this.#db.transaction(async (tx) => {
      await deleteRateLimitOverride(tx, userId);
      tx.afterCommit(() => this.#limits.clearOverride(userId));
    });
  }

  #apply({ userId, messagesPerSecond, burstCount }: RateLimitOverride): void {
    this.#limits.setOverride(userId, messagesPerSecond === 0 ? null : { perSecond: messagesPerSecond, burstCount });
  }
}
