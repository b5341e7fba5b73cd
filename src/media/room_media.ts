/** Which media a room's messages name: those of encrypted messages are not known to the server. */
import { nextTurn } from "../lib/turn.ts";
import { isJsonObject, type JsonValue } from "../protocol/json.ts";
import { parseServerName, type RoomId } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import type { MediaKey } from "../storage/media.ts";
import { selectEventTexts } from "../storage/room_media.ts";
import { selectRoomById } from "../storage/rooms.ts";
import { MAX_POSITION } from "../storage/timeline.ts";
import { parseMediaId } from "./blob_paths.ts";

const PAGE = 100;

/** Reads the media of a room's events, newest first, page by page; each is named once in a page. */
export async function* mediaOfRoom(db: Database, roomId: RoomId): AsyncGenerator<MediaKey[]> {
  const room = await selectRoomById(db, roomId);
  let before: number | null = room === null ? null : MAX_POSITION;
  while (room !== null && before !== null) {
    const { texts, next } = await selectEventTexts(db, { roomNid: room.roomNid, before, limit: PAGE });
    yield mediaOfEvents(texts);
    before = next;
    await nextTurn();
  }
}

function mediaOfEvents(texts: readonly string[]): MediaKey[] {
  const found = new Map<string, MediaKey>();
  for (const text of texts) {
    if (!text.includes("mxc:")) continue;
    const { content } = JSON.parse(text) as { content?: JsonValue };
    if (!isJsonObject(content) || typeof content["url"] !== "string") continue;
    const info = content["info"];
    for (const uri of [content["url"], isJsonObject(info) ? info["thumbnail_url"] : null]) {
      const key = typeof uri === "string" ? parseMxc(uri) : null;
      if (key !== null) found.set(`${key.origin}/${key.mediaId}`, key);
    }
  }
  return [...found.values()];
}

/** Reads an `mxc://` URI; null for what is none that could be downloaded. */
export function parseMxc(uri: string): MediaKey | null {
  const [, server = "", id = ""] = /^mxc:\/\/([^/]+)\/([^/#?]+)/.exec(uri) ?? [];
  const [origin, mediaId] = [parseServerName(server), parseMediaId(id)];
  return origin === null || mediaId === null ? null : { origin, mediaId };
}
