/** Whom a user ignores, kept until anything changes in the account data stream. */
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import type { AccountDataProvider } from "./providers.ts";

const CACHED_USERS = 10_000;

/** Reads the lists of ignored users. */
export class IgnoredUsers {
  readonly #accountData: AccountDataProvider;
  readonly #held = new LruCache<UserId, { readonly at: number; readonly users: ReadonlySet<string> }>({
    maxEntries: CACHED_USERS,
  });

  constructor(accountData: AccountDataProvider) {
    this.#accountData = accountData;
  }

  /** Returns the users whom a user ignores; `at` is a position of the account data stream. */
  async of(userId: UserId, at: number): Promise<ReadonlySet<string>> {
    const held = this.#held.get(userId);
    if (held?.at === at) return held.users;
    const users = await this.#accountData.ignoredUsers(userId);
    this.#held.set(userId, { at, users });
    return users;
  }
}
