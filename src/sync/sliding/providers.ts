/** What sliding sync takes from the services beyond what `/sync` does. */
import type { UserId } from "../../protocol/ids.ts";
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

/** Met by `ProfileChanges`, whose changes take positions of the account data stream. */
export interface ProfilesProvider {
  /** Returns the names of the fields that changed, by user: of the viewer and who shares a room with them. */
  changedFields(viewer: UserId, range: Range): Promise<ReadonlyMap<UserId, readonly string[]>>;
  /** Returns the profiles of those who are the viewer or share a room with them. */
  profiles(viewer: UserId, userIds: readonly UserId[]): Promise<ReadonlyMap<UserId, JsonObject>>;
  /** Returns local users who are joined to a room. */
  localJoined(roomNid: number, limit: number): Promise<readonly UserId[]>;
}

/** All providers. */
export interface SlidingProviders extends SyncProviders {
  readonly profiles: ProfilesProvider;
  readonly threadSubscriptions: ThreadSubscriptionsProvider;
}
