/**
 * Account data, global and per room. Spec: client-server API, "Client Config" and "Room Tagging".
 *
 * Tags are the account data type `m.tag` of a room. `m.fully_read` and `m.push_rules` are kept by other endpoints and
 * refused here.
 */
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { RoomId, UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import {
  type AccountDataRow,
  countAccountData,
  deleteAccountDataOfUser,
  selectAccountData,
  selectAccountDataBetween,
  upsertAccountData,
} from "../storage/account_data.ts";
import type { Database, Tx } from "../storage/database.ts";
import { advanceStream } from "../storage/streams.ts";
import type { Notifier } from "../streams/notifier.ts";
import { ADMIN_CLIENT_CONFIG, type AdminClientConfigs } from "./admin_client_config.ts";
import type { Ignores } from "./ignores.ts";

/** What the service is built from. */
export interface AccountDataDeps {
  readonly db: Database;
  readonly notifier: Notifier;
  readonly ignores: Ignores;
  readonly adminConfigs: AdminClientConfigs;
}

/** Types that have endpoints of their own. */
const MANAGED_TYPES: ReadonlySet<string> = new Set(["m.fully_read", "m.push_rules"]);
const MAX_ENTRIES_PER_USER = 10_000;
const MAX_TAGS_PER_ROOM = 100;
/** How a deleted piece is kept, so that syncs can tell of it. */
const DELETED = "{}";
const IGNORED_USERS = "m.ignored_user_list";

/** Reads and writes account data. */
export class AccountDataService {
  readonly #db: Database;
  readonly #notifier: Notifier;
  readonly #ignores: Ignores;
  readonly #adminConfigs: AdminClientConfigs;

  constructor({ db, notifier, ignores, adminConfigs }: AccountDataDeps) {
    this.#db = db;
    this.#notifier = notifier;
    this.#ignores = ignores;
    this.#adminConfigs = adminConfigs;
  }

  /** Stores a piece sent by a client. Throws 405 `M_BAD_JSON` for a type that the server manages. */
  async set(entry: { userId: UserId; roomId: RoomId | null; type: string; content: JsonObject }): Promise<void> {
    if (MANAGED_TYPES.has(entry.type)) {
      throw new MatrixError(405, "M_BAD_JSON", `Account data of type "${entry.type}" is set through its own endpoint`);
    }
    await this.put(entry);
  }

  /** Stores a piece, whatever its type. */
  async put(
    { userId, roomId, type, content }: { userId: UserId; roomId: RoomId | null; type: string; content: JsonObject },
  ): Promise<void> {
    await this.#db.transaction((tx) => this.#write(tx, { userId, roomId: roomId ?? "", type, content }));
  }

  /** Returns a piece. Throws 404 when it was never set. */
  async get(key: { userId: UserId; roomId: RoomId | null; type: string }): Promise<string> {
    const content = await this.#find(this.#db, key);
    if (content === null || content === DELETED) throw notFound("Account data not found");
    return content;
  }

  /** Deletes a piece (MSC3391): to set it to an empty object means the same. */
  async delete(entry: { userId: UserId; roomId: RoomId | null; type: string }): Promise<void> {
    await this.set({ ...entry, content: {} });
  }

  /** Deletes pieces of a user's global account data that are there, within a transaction. */
  async deleteIn(tx: Tx, { userId, types }: { userId: UserId; types: readonly string[] }): Promise<void> {
    for (const type of types) {
      const content = await this.#find(tx, { userId, roomId: null, type });
      if (content !== null && content !== DELETED) await this.#write(tx, { userId, roomId: "", type, content: {} });
    }
  }

  /** Removes all account data of a user, within a transaction. */
  async deleteAll(tx: Tx, userId: UserId): Promise<void> {
    await deleteAccountDataOfUser(tx, userId);
    tx.afterCommit(() => {
      this.#ignores.note(userId, {});
      this.#adminConfigs.note(userId, {});
    });
  }

  /** Returns a piece parsed, or null. */
  async read(key: { userId: UserId; roomId: RoomId | null; type: string }): Promise<JsonObject | null> {
    const content = await this.#find(this.#db, key);
    if (content === null) return null;
    const value: unknown = JSON.parse(content);
    return isJsonObject(value) ? value : null;
  }

  /** Changes a piece by a function of its old content, in one transaction; null leaves it as it is. */
  async update(
    { userId, roomId, type }: { userId: UserId; roomId: RoomId | null; type: string },
    change: (content: JsonObject) => JsonObject | null | Promise<JsonObject | null>,
  ): Promise<void> {
    await this.#db.transaction(async (tx) => {
      const text = await this.#find(tx, { userId, roomId, type });
      const old: unknown = text === null ? {} : JSON.parse(text);
      const content = await change(isJsonObject(old) ? old : {});
      if (content !== null) await this.#write(tx, { userId, roomId: roomId ?? "", type, content });
    });
  }

  /** Returns what changed in `(after, upTo]` of the account data stream. */
  between(range: { userId: UserId; after: number; upTo: number }): Promise<AccountDataRow[]> {
    return selectAccountDataBetween(this.#db, range);
  }

  /** Tells whether somebody who reads a room is shown its soft-failed events too. */
  showsSoftFailed({ userId, isAdmin = false }: { readonly userId: UserId; readonly isAdmin?: boolean }): boolean {
    return isAdmin && this.#adminConfigs.wantsSoftFailed(userId);
  }

  /** Returns the users whom this user ignores. Spec: "Ignoring Users". */
  ignoredUsers(userId: UserId): ReadonlySet<string> {
    return this.#ignores.by(userId);
  }

  /** Returns the tags of a room. */
  async tags({ userId, roomId }: { userId: UserId; roomId: RoomId }): Promise<JsonObject> {
    const content = await this.read({ userId, roomId, type: "m.tag" });
    return isJsonObject(content?.tags) ? content.tags : {};
  }

  /** Sets one tag of a room. */
  async setTag(
    { userId, roomId, tag, content }: { userId: UserId; roomId: RoomId; tag: string; content: JsonObject },
  ): Promise<void> {
    await this.update({ userId, roomId, type: "m.tag" }, (old) => {
      const tags = new Map(Object.entries(isJsonObject(old.tags) ? old.tags : {}));
      tags.set(tag, content);
      if (tags.size > MAX_TAGS_PER_ROOM) throw new MatrixError(400, "M_INVALID_PARAM", "Too many tags on this room");
      return { tags: Object.fromEntries(tags) };
    });
  }

  /** Removes one tag of a room; a tag that is not there is no error. */
  async deleteTag({ userId, roomId, tag }: { userId: UserId; roomId: RoomId; tag: string }): Promise<void> {
    await this.update({ userId, roomId, type: "m.tag" }, (old) => {
      const tags = new Map(Object.entries(isJsonObject(old.tags) ? old.tags : {}));
      return tags.delete(tag) ? { tags: Object.fromEntries(tags) } : null;
    });
  }

  #find(
    db: Database | Tx,
    { userId, roomId, type }: { userId: UserId; roomId: RoomId | null; type: string },
  ): Promise<string | null> {
    return selectAccountData(db, { userId, roomId: roomId ?? "", type });
  }

  async #write(
    tx: Tx,
    { userId, roomId, type, content }: { userId: UserId; roomId: string; type: string; content: JsonObject },
  ): Promise<void> {
    const isNew = await selectAccountData(tx, { userId, roomId, type }) === null;
    if (isNew && await countAccountData(tx, userId) >= MAX_ENTRIES_PER_USER) {
      throw new MatrixError(400, "M_RESOURCE_LIMIT_EXCEEDED", "Too much account data is stored for this user");
    }
    const position = await advanceStream(tx, "account_data", 1);
    await upsertAccountData(tx, { userId, roomId, type, content: JSON.stringify(content), position });
    tx.afterCommit(() => {
      if (type === IGNORED_USERS && roomId === "") this.#ignores.note(userId, content);
      if (type === ADMIN_CLIENT_CONFIG && roomId === "") this.#adminConfigs.note(userId, content);
      this.#notifier.publish("account_data", position, [userId]);
    });
  }
}
