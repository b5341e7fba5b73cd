/**
 * Hiding media from everybody, for administrators. What is hidden is a content: all files that have it, those that are
 * uploaded or fetched later included.
 */
import { nextTurn } from "../lib/turn.ts";
import type { UserId } from "../protocol/ids.ts";
import type { Database, Tx } from "../storage/database.ts";
import { type MediaKey, selectMedia } from "../storage/media.ts";
import {
  insertQuarantineChanges,
  lockContent,
  type QuarantineChange,
  selectIsContentQuarantined,
  selectLastQuarantineChange,
  selectQuarantineChanges,
  selectShownMediaOfUser,
  updateQuarantine,
  updateSafeFromQuarantine,
} from "../storage/media_quarantine.ts";

const BATCH = 100;
/** As Synapse names who quarantines a new file with a quarantined content. */
const THE_SYSTEM = "system";

/** Returns by whom a new file is quarantined; null for a content that is not. Nobody hides it before the end of `tx`. */
export async function quarantinerOf(tx: Tx, sha256: string): Promise<string | null> {
  await lockContent(tx, sha256);
  return await selectIsContentQuarantined(tx, sha256) ? THE_SYSTEM : null;
}

/** Quarantines and protects files. */
export class MediaQuarantine {
  readonly #db: Database;

  constructor({ db }: { db: Database }) {
    this.#db = db;
  }

  /** Hides files, and all with the same contents; returns how many. Protected files stay, unknown ones are ignored. */
  async hide(keys: readonly MediaKey[], by: UserId): Promise<number> {
    let count = 0;
    for (let start = 0; start < keys.length; start += BATCH) {
      count += await this.#set(keys.slice(start, start + BATCH), by);
      await nextTurn();
    }
    return count;
  }

  /** Shows a file again, and all with the same content; returns how many. */
  async show(key: MediaKey): Promise<number> {
    return await this.#set([key], null);
  }

  /** Hides everything that a user has uploaded; returns how many files. */
  async hideAllOf(userId: UserId, by: UserId): Promise<number> {
    let count = 0;
    let after = "";
    while (true) {
      const rows = await selectShownMediaOfUser(this.#db, { userId, after, limit: BATCH });
      count += await this.hide(rows, by);
      const last = rows.at(-1);
      if (last === undefined) return count;
      after = last.mediaId;
    }
  }

  /** Protects a file from quarantine, or no longer; tells whether there is such a file. */
  async setSafe(key: MediaKey, isSafe: boolean): Promise<boolean> {
    return await this.#db.transaction((tx) => updateSafeFromQuarantine(tx, { ...key, isSafe }));
  }

  /** Returns what changed after a position, oldest first; null for a position that is yet to come. */
  async changes(after: number, limit: number): Promise<QuarantineChange[] | null> {
    if (after > await selectLastQuarantineChange(this.#db)) return null;
    return await selectQuarantineChanges(this.#db, { after, limit });
  }

  async #set(keys: readonly MediaKey[], by: UserId | null): Promise<number> {
    return await this.#db.transaction(async (tx) => {
      const rows = [];
      for (const key of keys) {
        const row = await selectMedia(tx, key);
        if (row !== null && !(by !== null && row.safeFromQuarantine)) rows.push(row);
      }
      // In one order for all, so that two of them cannot wait for each other.
      const contents = [...new Set(rows.flatMap(({ sha256 }) => sha256 ?? []))].sort();
      for (const content of contents) await lockContent(tx, content);
      const changed = [];
      for (const row of rows) changed.push(...await updateQuarantine(tx, { row, by }));
      await insertQuarantineChanges(tx, { keys: changed, isQuarantined: by !== null });
      return changed.length;
    });
  }
}
