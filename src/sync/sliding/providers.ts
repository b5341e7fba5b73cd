/** What sliding sync takes from the services beyond what `/sync` does. */
import type { JsonObject } from "../../protocol/json.ts";
import type { Sender } from "../../rooms/transaction_ids.ts";
import type { Range, SyncProviders } from "../providers.ts";

/** Met by `ThreadSubscriptions`, whose changes take positions of the account data stream. */
export interface ThreadSubscriptionsProvider {
  /**
   * Returns the last change of each thread in a range, as MSC4308 shows them; where there are more than `limit` the newest
   * ones, and the position from which on the others are to be had.
   */
  changes(sender: Sender, range: Range & { limit: number }): Promise<{
    readonly subscribed: JsonObject;
    readonly unsubscribed: JsonObject;
    readonly goesOnBefore: number | null;
  }>;
}

/** All providers. */
export interface SlidingProviders extends SyncProviders {
  readonly threadSubscriptions: ThreadSubscriptionsProvider;
}
