/** Who ignores whom, among local users. Spec: client-server API, "Ignoring Users": nothing of the ignored notifies. */
import type { UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import { selectIgnoreLists } from "../storage/account_data.ts";
import type { Db } from "../storage/database.ts";

const NOBODY: ReadonlySet<UserId> = new Set();

/** Looks up who ignores whom; kept in memory, because every event and every sync asks. */
export class Ignores {
  readonly #byIgnored = new Map<string, Set<UserId>>();
  readonly #lists = new Map<UserId, ReadonlySet<string>>();

  /** Loads all lists. */
  static async load(db: Db): Promise<Ignores> {
    const ignores = new Ignores();
    for (const { userId, content } of await selectIgnoreLists(db)) {
      const list: unknown = JSON.parse(content);
      if (isJsonObject(list)) ignores.note(userId, list);
    }
    return ignores;
  }

  /** Takes over the new list of a user. Call it after the commit. */
  note(userId: UserId, content: JsonObject): void {
    for (const ignored of this.#lists.get(userId) ?? []) this.#remove(ignored, userId);
    const list = new Set(isJsonObject(content.ignored_users) ? Object.keys(content.ignored_users) : []);
    if (list.size === 0) {
      this.#lists.delete(userId);
      return;
    }
    this.#lists.set(userId, list);
    for (const ignored of list) {
      const users = this.#byIgnored.get(ignored);
      if (users === undefined) this.#byIgnored.set(ignored, new Set([userId]));
      else users.add(userId);
    }
  }

  /** Returns the local users who ignore `sender`. */
  of(sender: UserId): ReadonlySet<UserId> {
    return this.#byIgnored.get(sender) ?? NOBODY;
  }

  /** Returns whom a local user ignores. */
  by(userId: UserId): ReadonlySet<string> {
    return this.#lists.get(userId) ?? NOBODY;
  }

  #remove(ignored: string, userId: UserId): void {
    const users = this.#byIgnored.get(ignored);
    users?.delete(userId);
    if (users?.size === 0) this.#byIgnored.delete(ignored);
  }
}
