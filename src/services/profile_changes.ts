/**
 * What changed in local users' profiles, for clients that follow it by sync. Spec: MSC4262.
 *
 * Changes take positions of the account_data stream, whose readers they wake. Profiles of other servers' users are not
 * followed: no server tells of its own (MSC4259 would).
 */
import type { UserId } from "../protocol/ids.ts";
import { isJsonObject, type JsonObject } from "../protocol/json.ts";
import type { Database, Tx } from "../storage/database.ts";
import {
  deleteOldProfileChanges,
  selectLocalJoined,
  selectProfileChanges,
  selectSharedProfiles,
  upsertProfileChanges,
} from "../storage/profile_changes.ts";
import type { ProfileRow } from "../storage/profiles.ts";
import { selectLocalUsersSharingRoom } from "../storage/shared_rooms.ts";
import { advanceStream } from "../storage/streams.ts";
import type { Notifier } from "../streams/notifier.ts";

/** What the service is built from. */
export interface ProfileChangesDeps {
  readonly db: Database;
  readonly notifier: Notifier;
}

/**
 * More changed fields than this are forgotten, the oldest first. A profile of 64 KiB has fewer that matter; what goes are
 * fields that were set and removed again.
 */
const MAX_FIELDS_PER_USER = 256;
const PAGE = 1_000;

/** Records and reads changes. */
export class ProfileChanges {
  readonly #deps: ProfileChangesDeps;

  constructor(deps: ProfileChangesDeps) {
    this.#deps = deps;
  }

  /** Notes that fields of a profile were set or removed, and wakes who follows them. */
  async note(tx: Tx, { userId, fields }: { userId: UserId; fields: readonly string[] }): Promise<void> {
    const { notifier } = this.#deps;
    const audience = new Set([userId, ...await selectLocalUsersSharingRoom(tx, { userIds: [userId] })]);
    const position = await advanceStream(tx, "account_data");
    await upsertProfileChanges(tx, { userId, fields, position });
    await deleteOldProfileChanges(tx, { userId, keep: MAX_FIELDS_PER_USER });
    tx.afterCommit(() => notifier.publish("account_data", position, audience));
  }

  /** Returns the names of the fields that changed in `(after, upTo]`, by user: of `viewer` and who shares a room. */
  async changedFields(
    viewer: UserId,
    { after, upTo }: { after: number; upTo: number },
  ): Promise<Map<UserId, string[]>> {
    const changed = new Map<UserId, string[]>();
    let from = { userId: "", field: "" };
    while (true) {
      const rows = await selectProfileChanges(this.#deps.db, { viewer, after, upTo, from, limit: PAGE });
      for (const { userId, field } of rows) changed.set(userId, [...changed.get(userId) ?? [], field]);
      const last = rows[rows.length - 1];
      if (rows.length < PAGE || last === undefined) return changed;
      from = last;
    }
  }

  /** Returns the profiles of those among `userIds` who are `viewer` or share a room with them. */
  async profiles(viewer: UserId, userIds: readonly UserId[]): Promise<Map<UserId, JsonObject>> {
    const found = new Map<UserId, JsonObject>();
    for (let start = 0; start < userIds.length; start += PAGE) {
      const part = userIds.slice(start, start + PAGE);
      const rows = await selectSharedProfiles(this.#deps.db, { viewer, userIds: part });
      for (const [userId, row] of rows) found.set(userId, profileJson(row));
    }
    return found;
  }

  /** Returns local users who are joined to a room, at most `limit`. */
  async localJoined(roomNid: number, limit: number): Promise<UserId[]> {
    return await selectLocalJoined(this.#deps.db, { roomNid, limit });
  }
}

/** Returns a profile as clients see it. */
export function profileJson({ displayname, avatarUrl, fields }: ProfileRow): JsonObject {
  const others: unknown = JSON.parse(fields);
  return {
    ...(isJsonObject(others) ? others : {}),
    ...(displayname === null ? {} : { displayname }),
    ...(avatarUrl === null ? {} : { avatar_url: avatarUrl }),
  };
}
