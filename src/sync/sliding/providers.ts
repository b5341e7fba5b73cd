/** What sliding sync takes from the services beyond what `/sync` does. */
import type { UserId } from "../../protocol/ids.ts";
import type { Range, SyncProviders } from "../providers.ts";

/** A change of a subscription to a thread. */
export interface ThreadSubscriptionChange {
  readonly roomId: string;
  readonly threadRootId: string;
  /** Null when the user is no longer subscribed. */
  readonly subscription: { readonly automatic: boolean } | null;
  /** Position of the change in the stream of thread subscriptions. */
  readonly position: number;
}

/** Subscriptions to threads (MSC4306, MSC4308). */
export interface ThreadSubscriptionsProvider {
  /** Returns where the stream of all users' changes stands. */
  position(): number;
  /**
   * Returns the last change of each thread in a range; where there are more than `limit`, the newest ones, and the token
   * with which the endpoint of MSC4308 goes on to the older ones.
   */
  between(range: Range & { userId: UserId; limit: number }): Promise<{
    readonly changes: readonly ThreadSubscriptionChange[];
    readonly prevBatch: string | null;
  }>;
}

/** All providers. */
export interface SlidingProviders extends SyncProviders {
  /** Null while the server has no thread subscriptions. */
  readonly threadSubscriptions: ThreadSubscriptionsProvider | null;
}
