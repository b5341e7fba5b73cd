/**
 * Where files are in the store: the layout of Synapse's media folder, so that one can be taken over.
 *
 *     local_content/aa/bb/rest                     local_thumbnails/aa/bb/rest/WIDTH-HEIGHT-TYPE-SUBTYPE-METHOD
 *     remote_content/SERVER/aa/bb/rest             remote_thumbnail/SERVER/aa/bb/rest/…
 *     url_cache/YYYY-MM-DD/rest                    url_cache_thumbnails/YYYY-MM-DD/rest/…
 *
 * Paths are built from checked parts only: nothing of a request reaches the file system otherwise.
 */
import { parseServerName, type ServerName } from "../protocol/ids.ts";
import type { Brand } from "../protocol/ids.ts";

/** A path within the blob store. Made by the functions of this file. */
export type BlobPath = Brand<string, "BlobPath">;

/** What a path is made of. */
export interface BlobOwner {
  readonly origin: ServerName;
  readonly fileId: string;
  readonly isUrlCache: boolean;
}

/** What tells the thumbnails of a file apart. */
export interface ThumbnailName {
  readonly width: number;
  readonly height: number;
  readonly method: "crop" | "scale";
  readonly contentType: string;
}

const MEDIA_ID = /^[A-Za-z0-9_-]{1,255}$/;
const DATED_ID = /^(\d{4}-\d{2}-\d{2})[_-](.+)$/;

/** Accepts the characters that the spec allows in a media id. */
export function parseMediaId(text: string): string | null {
  return MEDIA_ID.test(text) ? text : null;
}

function splitId(fileId: string): string {
  if (parseMediaId(fileId) === null) throw new Error("A file id with characters that no path may have");
  // Ids of fewer than five characters, which other servers may have, would leave a part empty.
  if (fileId.length < 5) return `${fileId.padEnd(4, "_").replace(/^(..)(..).*$/, "$1/$2")}/_${fileId}`;
  return `${fileId.slice(0, 2)}/${fileId.slice(2, 4)}/${fileId.slice(4)}`;
}

function checkedServer(origin: ServerName): string {
  // A server name has no slash; "." and ".." have the grammar of one.
  if (parseServerName(origin) === null || /^\.+$/.test(origin)) throw new Error("A server name that no path may have");
  return origin;
}

function datedId(fileId: string): string {
  const match = DATED_ID.exec(fileId);
  return match === null || parseMediaId(fileId) === null ? splitId(fileId) : `${match[1]}/${match[2]}`;
}

/** Returns the path of a file. `localServer` tells local from remote. */
export function contentPath({ origin, fileId, isUrlCache }: BlobOwner, localServer: ServerName): BlobPath {
  if (isUrlCache) return `url_cache/${datedId(fileId)}` as BlobPath;
  if (origin === localServer) return `local_content/${splitId(fileId)}` as BlobPath;
  return `remote_content/${checkedServer(origin)}/${splitId(fileId)}` as BlobPath;
}

/** Returns the folder of a file's thumbnails. */
export function thumbnailFolder({ origin, fileId, isUrlCache }: BlobOwner, localServer: ServerName): BlobPath {
  if (isUrlCache) return `url_cache_thumbnails/${datedId(fileId)}` as BlobPath;
  if (origin === localServer) return `local_thumbnails/${splitId(fileId)}` as BlobPath;
  return `remote_thumbnail/${checkedServer(origin)}/${splitId(fileId)}` as BlobPath;
}

/** Returns the path of a thumbnail. */
export function thumbnailPath(folder: BlobPath, { width, height, method, contentType }: ThumbnailName): BlobPath {
  const type = contentType.replace("/", "-");
  if (!/^[a-z]+-[a-z0-9]+$/.test(type)) throw new Error("A thumbnail type that no path may have");
  return `${folder}/${width}-${height}-${type}-${method}` as BlobPath;
}
