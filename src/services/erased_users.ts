/**
 * Users who asked, when they deactivated their accounts, that their messages be hidden from newcomers.
 * Spec: client-server API, `POST /account/deactivate`, `erase`.
 */
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { selectErasedUsers } from "../storage/users.ts";

/** Knows them all: asked for every event that is shown. */
export class ErasedUsers {
  readonly #users: Set<UserId>;

  private constructor(users: Set<UserId>) {
    this.#users = users;
  }

  /** Reads them. */
  static async load(db: Db): Promise<ErasedUsers> {
    const users = new Set<UserId>();
    let after = "";
    while (true) {
      const page = await selectErasedUsers(db, { after, limit: PAGE });
      for (const userId of page) users.add(userId);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return new ErasedUsers(users);
      after = last;
    }
  }

  /** Tells whether a user's messages are hidden. */
  has(userId: UserId): boolean {
    return this.#users.has(userId);
  }

  /** Removes a user, after the commit that opens their account again. */
  delete(userId: UserId): void {
    this.#users.delete(userId);
  }

  /** Adds a user, after the commit that erases them. */
  add(userId: UserId): void {
    this.#users.add(userId);
  }
}

const PAGE = 1_000;
