import { equal, throws } from "node:assert/strict";
import type { ServerName } from "../protocol/ids.ts";
import { contentPath, parseMediaId, thumbnailFolder, thumbnailPath } from "./blob_paths.ts";

const HERE = "here.example" as ServerName;
const THERE = "there.example:8448" as ServerName;
const FILE_ID = "GerZNDnDZVjsOtardLuwfIBg";

Deno.test("paths are those of Synapse's media folder", () => {
  const local = { origin: HERE, fileId: FILE_ID, isUrlCache: false };
  const remote = { ...local, origin: THERE };
  const preview = { ...local, fileId: "2026-01-31_abcdefGHIJK", isUrlCache: true };
  equal(contentPath(local, HERE), "local_content/Ge/rZ/NDnDZVjsOtardLuwfIBg");
  equal(contentPath(remote, HERE), "remote_content/there.example:8448/Ge/rZ/NDnDZVjsOtardLuwfIBg");
  equal(contentPath(preview, HERE), "url_cache/2026-01-31/abcdefGHIJK");
  equal(thumbnailFolder(remote, HERE), "remote_thumbnail/there.example:8448/Ge/rZ/NDnDZVjsOtardLuwfIBg");
  equal(thumbnailFolder(preview, HERE), "url_cache_thumbnails/2026-01-31/abcdefGHIJK");
  const size = { width: 32, height: 16, method: "crop", contentType: "image/jpeg" } as const;
  equal(
    thumbnailPath(thumbnailFolder(local, HERE), size),
    "local_thumbnails/Ge/rZ/NDnDZVjsOtardLuwfIBg/32-16-image-jpeg-crop",
  );
});

Deno.test("nothing but letters, digits, dashes and underscores gets into a path", () => {
  for (const bad of ["", ".", "..", "a/b", "../../etc", "a\0", "a b", "é", "a".repeat(256)]) {
    equal(parseMediaId(bad), null);
    throws(() => contentPath({ origin: HERE, fileId: bad, isUrlCache: false }, HERE));
    throws(() => contentPath({ origin: HERE, fileId: bad, isUrlCache: true }, HERE));
  }
  for (const bad of ["..", ".", "...", "a/../b", "a\\b", ""]) {
    throws(() => contentPath({ origin: bad as ServerName, fileId: FILE_ID, isUrlCache: false }, HERE), bad);
  }
  const folder = thumbnailFolder({ origin: HERE, fileId: FILE_ID, isUrlCache: false }, HERE);
  throws(() => thumbnailPath(folder, { width: 1, height: 1, method: "scale", contentType: "image/../../x" }));
});

Deno.test("short ids have paths of their own", () => {
  const paths = ["a", "ab", "abc", "abcd", "abcde", "a_", "____"].map((fileId) =>
    contentPath({ origin: HERE, fileId, isUrlCache: false }, HERE)
  );
  equal(new Set(paths).size, paths.length);
});
