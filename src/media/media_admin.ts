/** What administrators see of media and delete of them, as in Synapse's admin API. */
import { nextTurn } from "../lib/turn.ts";
import { notFound } from "../protocol/errors.ts";
import type { RoomId, ServerName } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { type MediaKey, type MediaRow, selectMedia } from "../storage/media.ts";
import { selectOldMedia, selectUserMediaPage, type UserMediaPage } from "../storage/media_admin.ts";
import { selectUnusedMedia } from "../storage/media_removal.ts";
import { usedAsAvatars } from "./avatars.ts";
import type { MediaLastAccess } from "./last_access.ts";
import type { MediaQuarantine } from "./quarantine.ts";
import type { MediaRemoval } from "./removal.ts";
import { mediaOfRoom } from "./room_media.ts";

/** What the service is built from. */
export interface MediaAdminDeps {
  readonly db: Database;
  readonly serverName: ServerName;
  readonly removal: MediaRemoval;
  readonly quarantine: MediaQuarantine;
  readonly lastAccess: MediaLastAccess;
}

const BATCH = 100;

/** Lists and deletes files. */
export class MediaAdmin {
  readonly #deps: MediaAdminDeps;

  constructor(deps: MediaAdminDeps) {
    this.#deps = deps;
  }

  /** Returns what is known of a file. Throws 404. */
  async info(key: MediaKey): Promise<JsonObject> {
    const { db, serverName, lastAccess } = this.#deps;
    await lastAccess.flush();
    const row = await selectMedia(db, key);
    if (row === null) throw notFound("Unknown media");
    const isLocal = row.origin === serverName;
    return {
      ...mediaJson(row),
      media_origin: isLocal ? null : row.origin,
      filesystem_id: isLocal ? null : row.fileId,
      safe_from_quarantine: isLocal ? row.safeFromQuarantine : null,
    };
  }

  /** Returns a page of a user's files. */
  async listOfUser(page: UserMediaPage): Promise<{ media: JsonObject[]; total: number }> {
    await this.#deps.lastAccess.flush();
    const { media, total } = await selectUserMediaPage(this.#deps.db, page);
    return { media: media.map(mediaJson), total };
  }

  /** Deletes a page of a user's files; returns their ids. */
  async deleteOfUser(page: UserMediaPage): Promise<string[]> {
    await this.#deps.lastAccess.flush();
    const { media } = await selectUserMediaPage(this.#deps.db, page);
    return await this.#remove(media);
  }

  /** Deletes files of this server that were last used before a time and are larger than `size`; returns their ids. */
  async deleteOld(
    { before, size, keepsAvatars }: { before: number; size: number; keepsAvatars: boolean },
  ): Promise<string[]> {
    const { db, serverName, lastAccess } = this.#deps;
    await lastAccess.flush();
    const deleted: string[] = [];
    let used: ReadonlySet<string> | null = keepsAvatars ? null : new Set();
    for (let after = "";;) {
      const rows = await selectOldMedia(db, { serverName, before, size, after, limit: BATCH });
      const last = rows.at(-1);
      if (last === undefined) return deleted;
      used ??= await usedAsAvatars(db, serverName);
      const unused = rows.filter(({ mediaId }) => used?.has(mediaId) === false);
      deleted.push(...await this.#remove(unused));
      after = last.mediaId;
    }
  }

  /** Deletes copies of other servers' files that were last used before a time; returns how many. */
  async purgeRemote(before: number): Promise<number> {
    const { db, serverName, lastAccess } = this.#deps;
    await lastAccess.flush();
    for (let count = 0;;) {
      const rows = await selectUnusedMedia(db, { before, isLocal: false, serverName, limit: BATCH });
      if (rows.length === 0) return count;
      count += (await this.#remove(rows)).length;
    }
  }

  /** Returns the addresses of media that a room's messages name. */
  async listOfRoom(roomId: RoomId): Promise<{ local: string[]; remote: string[] }> {
    const [local, remote] = [new Set<string>(), new Set<string>()];
    for await (const keys of mediaOfRoom(this.#deps.db, roomId)) {
      for (const { origin, mediaId } of keys) {
        (origin === this.#deps.serverName ? local : remote).add(`mxc://${origin}/${mediaId}`);
      }
    }
    return { local: [...local], remote: [...remote] };
  }

  /** Hides all media that a room's messages name; returns how many files. */
  async quarantineRoom(roomId: RoomId, by: Parameters<MediaQuarantine["hide"]>[1]): Promise<number> {
    let count = 0;
    for await (const keys of mediaOfRoom(this.#deps.db, roomId)) count += await this.#deps.quarantine.hide(keys, by);
    return count;
  }

  async #remove(rows: readonly MediaRow[]): Promise<string[]> {
    await this.#deps.removal.remove(rows);
    await nextTurn();
    return rows.map(({ mediaId }) => mediaId);
  }
}

/** What Synapse tells of local files. */
function mediaJson(row: MediaRow): JsonObject {
  return {
    media_id: row.mediaId,
    media_type: row.contentType,
    media_length: row.length,
    upload_name: row.uploadName,
    created_ts: row.createdTs,
    url_cache: row.sourceUrl,
    last_access_ts: row.lastAccessTs,
    quarantined_by: row.quarantinedBy,
    safe_from_quarantine: row.safeFromQuarantine,
    user_id: row.userId,
    authenticated: row.isAuthenticated,
    sha256: row.sha256 === null ? null : Buffer.from(row.sha256, "base64url").toString("hex"),
  };
}
