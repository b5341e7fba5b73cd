/**
 * Proposals that are switched on for everybody by `experimental_features`, or by administrators for single users:
 * - `msc3575`: sliding sync, which is on unless the configuration switches it off;
 * - `msc3881`: pushers that can be switched off from another device;
 * - `msc4222`: `state_after` in the answers of sync. It is in the specification by now, so whoever asks for it gets it;
 *   the switch is kept for tools that set it.
 */
import type { UserId } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { selectUserFeatures, updateUserFeature } from "../storage/user_features.ts";

/** What can be switched for a user, as Synapse names it. */
export const USER_FEATURES = ["msc3881", "msc3575", "msc4222"] as const;
/** One of `USER_FEATURES`. */
export type UserFeature = typeof USER_FEATURES[number];

/** What the service is built from. */
export interface UserFeaturesDeps {
  readonly db: Database;
  /** Whether something is on for everybody. */
  readonly isOnForAll: (feature: UserFeature) => boolean;
}

/** Reads and sets the switches. */
export class UserFeatures {
  readonly #deps: UserFeaturesDeps;

  constructor(deps: UserFeaturesDeps) {
    this.#deps = deps;
  }

  /** Returns the switches of a user alone. */
  async list(userId: UserId): Promise<Record<UserFeature, boolean>> {
    const on = new Set(await selectUserFeatures(this.#deps.db, userId));
    return { msc3881: on.has("msc3881"), msc3575: on.has("msc3575"), msc4222: on.has("msc4222") };
  }

  /** Sets switches of a user; what is not named stays. */
  async set(userId: UserId, switches: ReadonlyMap<UserFeature, boolean>): Promise<void> {
    await this.#deps.db.transaction(async (tx) => {
      for (const [feature, isEnabled] of switches) await updateUserFeature(tx, { userId, feature, isEnabled });
    });
  }

  /** Tells whether something is on for a user; null stands for whoever has no account. */
  async isOn(feature: UserFeature, userId: UserId | null): Promise<boolean> {
    if (this.#deps.isOnForAll(feature)) return true;
    return userId !== null && (await this.list(userId))[feature];
  }
}
