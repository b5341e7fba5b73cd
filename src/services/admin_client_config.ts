/**
 * What administrators ask to be shown besides, by their account data of the type `io.element.synapse.admin_client_config`.
 * https://element-hq.github.io/synapse/latest/admin_api/client_server_api_extensions.html
 *
 * `return_soft_failed_events` has effect. `return_policy_server_spammy_events` follows it, as in Synapse, but has none by
 * itself: it is not kept why an event was soft-failed.
 */
import type { UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { selectAccountDataOfAll } from "../storage/account_data.ts";
import type { Db } from "../storage/database.ts";

/** The type of the account data. */
export const ADMIN_CLIENT_CONFIG = "io.element.synapse.admin_client_config";

/** Knows who asks for what; kept in memory, because every read of a room asks. Whether they are administrators is not. */
export class AdminClientConfigs {
  readonly #softFailed = new Set<UserId>();

  /** Loads all. */
  static async load(db: Db): Promise<AdminClientConfigs> {
    const configs = new AdminClientConfigs();
    for (const { userId, content } of await selectAccountDataOfAll(db, ADMIN_CLIENT_CONFIG)) {
      const config: unknown = JSON.parse(content);
      if (isJsonObject(config)) configs.note(userId, config);
    }
    return configs;
  }

  /** Takes over what a user asks for. Call it after the commit. */
  note(userId: UserId, content: JsonObject): void {
    if (content["return_soft_failed_events"] === true) this.#softFailed.add(userId);
    else this.#softFailed.delete(userId);
  }

  /** Tells whether a user wants to see soft-failed events. */
  wantsSoftFailed(userId: UserId): boolean {
    return this.#softFailed.has(userId);
  }
}
