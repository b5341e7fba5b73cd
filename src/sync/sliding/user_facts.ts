/** What a user's account data says of rooms: which are direct chats, which have which tags. */
import { LruCache } from "../../lib/lru.ts";
import type { UserId } from "../../protocol/ids.ts";
import { isJsonObject } from "../../protocol/json.ts";
import { selectAccountData, selectAccountDataOfType } from "../../storage/account_data.ts";
import type { Db } from "../../storage/database.ts";

interface Held<T> {
  /** The position of the account data stream at which it was read. */
  readonly at: number;
  readonly value: T;
}

/** Tags by room. */
export type TagsByRoom = ReadonlyMap<string, ReadonlySet<string>>;

const CACHED_USERS = 5_000;
const CACHED_TAGS = 500;

/** Reads these facts; they are kept until anybody's account data changes. */
export class UserFacts {
  readonly #db: Db;
  readonly #direct = new LruCache<UserId, Held<ReadonlySet<string>>>({
    name: "sliding_direct_rooms",
    maxEntries: CACHED_USERS,
  });
  readonly #tags = new LruCache<UserId, Held<TagsByRoom>>({ maxEntries: CACHED_TAGS });

  constructor({ db }: { db: Db }) {
    this.#db = db;
  }

  /** Returns the ids of a user's direct chats. Spec: "Direct Messaging". */
  async directRooms(userId: UserId, at: number): Promise<ReadonlySet<string>> {
    const held = this.#direct.get(userId);
    if (held?.at === at) return held.value;
    const text = await selectAccountData(this.#db, { userId, roomId: "", type: "m.direct" });
    const content: unknown = text === null ? null : JSON.parse(text);
    const value = new Set<string>();
    for (const roomIds of isJsonObject(content) ? Object.values(content) : []) {
      if (!Array.isArray(roomIds)) continue;
      for (const roomId of roomIds) if (typeof roomId === "string") value.add(roomId);
    }
    this.#direct.set(userId, { at, value });
    return value;
  }

  /** Returns the tags of a user's rooms. Spec: "Room Tagging". */
  async tags(userId: UserId, at: number): Promise<TagsByRoom> {
    const held = this.#tags.get(userId);
    if (held?.at === at) return held.value;
    const value = new Map<string, ReadonlySet<string>>();
    for (const { roomId, content } of await selectAccountDataOfType(this.#db, { userId, type: "m.tag" })) {
      const parsed: unknown = JSON.parse(content);
      const tags = isJsonObject(parsed) && isJsonObject(parsed.tags) ? Object.keys(parsed.tags) : [];
      if (tags.length > 0) value.set(roomId, new Set(tags));
    }
    this.#tags.set(userId, { at, value });
    return value;
  }
}
