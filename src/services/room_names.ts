/**
 * Whose name stands in a text: finds, among the local members of a room, those whom a message may mention by name,
 * without looking at every member. Push rules then decide.
 *
 * A name is found by its first run of letters and digits, which a text that has the name has too; a name without any by
 * its first character. Names are kept in memory per room and follow the member events.
 */
import { LruCache } from "../lib/lru.ts";
import { localpartOf, type UserId } from "../protocol/ids.ts";
import type { PersistedBatch } from "../rooms/pending.ts";
import type { StoredEvent } from "../rooms/types.ts";
import type { Tx } from "../storage/database.ts";
import { deleteMemberNames, selectMemberNames, upsertMemberNames } from "../storage/member_names.ts";

/** Members whose names are kept, of all rooms together. */
const MAX_CACHED_NAMES = 200_000;
/** Not more of a text is looked at. */
const MAX_TEXT_LENGTH = 8_192;
/** Not more members of a room are found by one text: each costs an evaluation of their rules. */
const MAX_FOUND = 200;
const MAX_NAME_LENGTH = 256;

/** Finds members by name. */
export class RoomNames {
  readonly #rooms = new LruCache<number, NameIndex>({ maxBytes: MAX_CACHED_NAMES, sizeOf: (index) => index.size + 1 });

  /** Notes the names that the member events of a batch bring. */
  async record(tx: Tx, { room: { roomNid }, events }: PersistedBatch): Promise<void> {
    const kept = new Map<UserId, string>();
    const gone = new Set<UserId>();
    for (const { deltas } of events) {
      for (const { stateKey, before, after } of deltas.localMembers) {
        const userId = stateKey as UserId;
        const name = nameOf(userId, after);
        if (name !== null) kept.set(userId, name);
        else if (kept.delete(userId) || nameOf(userId, before) !== null) gone.add(userId);
      }
    }
    if (kept.size === 0 && gone.size === 0) return;
    for (const userId of kept.keys()) gone.delete(userId);
    await upsertMemberNames(tx, { roomNid, names: [...kept].map(([userId, name]) => ({ userId, name })) });
    await deleteMemberNames(tx, { roomNid, userIds: [...gone] });
    tx.afterCommit(() => this.#rooms.delete(roomNid));
  }

  /** Returns the members among `joined` whose name or id may stand in a text; of very many only some. */
  async find(
    tx: Tx,
    { roomNid, joined, text }: { roomNid: number; joined: ReadonlySet<UserId>; text: string },
  ): Promise<ReadonlySet<UserId>> {
    let index = this.#rooms.get(roomNid);
    if (index === undefined || index.members !== joined.size) {
      index = new NameIndex(joined, await selectMemberNames(tx, roomNid));
      this.#rooms.set(roomNid, index);
    }
    return index.find(text.slice(0, MAX_TEXT_LENGTH).toLowerCase());
  }
}

/** Returns the name of a joined member in lower case; null where it is the user's id, by which they are found anyway. */
function nameOf(userId: UserId, member: StoredEvent | null): string | null {
  const { membership, displayname } = member?.event.content ?? {};
  if (membership !== "join" || typeof displayname !== "string" || displayname.length > MAX_NAME_LENGTH) return null;
  const name = displayname.toLowerCase();
  return name === "" || name === localpartOf(userId) ? null : name;
}

class NameIndex {
  readonly members: number;
  readonly size: number;
  readonly #byKey = new Map<string, UserId[]>();

  constructor(joined: ReadonlySet<UserId>, names: readonly { userId: UserId; name: string }[]) {
    this.members = joined.size;
    for (const userId of joined) this.#add(localpartOf(userId).toLowerCase(), userId);
    for (const { userId, name } of names) if (joined.has(userId)) this.#add(name, userId);
    this.size = joined.size + names.length;
  }

  find(text: string): Set<UserId> {
    const found = new Set<UserId>();
    const keys = new Set<string>(text.match(/[a-z0-9_]+/g));
    for (const character of text) if (!/[a-z0-9_]/.test(character)) keys.add(character);
    for (const key of keys) {
      for (const userId of this.#byKey.get(key) ?? []) {
        if (found.size >= MAX_FOUND) return found;
        found.add(userId);
      }
    }
    return found;
  }

  #add(name: string, userId: UserId): void {
    const key = /[a-z0-9_]+/.exec(name)?.[0] ?? String.fromCodePoint(name.codePointAt(0) ?? 0);
    const users = this.#byKey.get(key);
    if (users === undefined) this.#byKey.set(key, [userId]);
    else users.push(userId);
  }
}
