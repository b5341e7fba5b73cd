/** Which files of this server are pictures of somebody or of a room: those outlive the other ones. */
import { nextTurn } from "../lib/turn.ts";
import { isJsonObject, type JsonValue } from "../protocol/json.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import {
  type AvatarRow,
  selectAvatarEvents,
  selectDirectoryAvatars,
  selectProfileAvatars,
} from "../storage/media_admin.ts";
import { parseMxc } from "./room_media.ts";

const PAGE = 500;

/** Returns the ids of files that are in use as pictures: of profiles, of members of rooms, of rooms. */
export async function usedAsAvatars(db: Database, serverName: ServerName): Promise<ReadonlySet<string>> {
  const used = new Set<string>();
  const note = (uri: JsonValue | undefined) => {
    const key = typeof uri === "string" ? parseMxc(uri) : null;
    if (key?.origin === serverName) used.add(key.mediaId);
  };
  for (const select of [selectProfileAvatars, selectDirectoryAvatars]) {
    for await (const { avatarUrl } of avatarsOf(db, select)) note(avatarUrl);
  }
  for await (const json of avatarEvents(db)) {
    if (!json.includes(`mxc://${serverName}/`)) continue;
    const { type, content } = JSON.parse(json) as { type?: JsonValue; content?: JsonValue };
    if (isJsonObject(content)) note(type === "m.room.avatar" ? content["url"] : content["avatar_url"]);
  }
  return used;
}

async function* avatarsOf(
  db: Database,
  select: (db: Database, page: { after: string; limit: number }) => Promise<AvatarRow[]>,
): AsyncGenerator<AvatarRow> {
  for (let after = "";;) {
    const rows = await select(db, { after, limit: PAGE });
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return;
    after = last.userId;
    await nextTurn();
  }
}

async function* avatarEvents(db: Database): AsyncGenerator<string> {
  for (let after = { roomNid: 0, stateKeyNid: 0 };;) {
    const rows = await selectAvatarEvents(db, { after, limit: PAGE });
    yield* rows.map(({ json }) => json);
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) return;
    after = last;
    await nextTurn();
  }
}
