/**
 * Media. Spec: client-server API, "Content repository".
 *   POST /_matrix/media/v3/upload
 *   PUT /_matrix/media/v3/upload/{serverName}/{mediaId}
 *   POST /_matrix/media/v1/create
 *   GET /_matrix/client/v1/media/config, /_matrix/media/v3/config
 *   GET /_matrix/client/v1/media/download/{serverName}/{mediaId}[/{fileName}], and the same below /_matrix/media/v3
 *   GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}, and the same below /_matrix/media/v3
 *   GET /_matrix/client/v1/media/preview_url, /_matrix/media/v3/preview_url
 *
 * The old paths need no token and serve what was uploaded before media needed one. `r0` and `v1` are their aliases.
 */
import { z } from "zod";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isStorable, parseServerName } from "../../protocol/ids.ts";
import { parseMediaId } from "../../media/blob_paths.ts";
import { acceptContentType, dispositionOf, servedContentType } from "../../media/content_headers.ts";
import type { FindOptions, MediaDownloads } from "../../media/downloads.ts";
import type { UrlPreviews } from "../../media/preview/url_previews.ts";
import { MAX_REQUESTED_SIDE } from "../../media/thumbnail_sizes.ts";
import type { Thumbnails } from "../../media/thumbnails.ts";
import type { MediaUploads, Upload } from "../../media/uploads.ts";
import type { MediaKey } from "../../storage/media.ts";
import { type App, client, type Ctx, plain, type Registrar, requester } from "../app.ts";
import type { Auth } from "../middleware/auth.ts";
import { boolParam, intParam, pathIds, query, searchParams } from "../middleware/params.ts";
import type { RequestLimits } from "../middleware/rate_limit.ts";
import { json, jsonText } from "../middleware/responses.ts";
import { fileResponse } from "./media_files.ts";

/** What the routes are built from. */
export interface MediaRoutesDeps {
  readonly auth: Auth;
  readonly limits: RequestLimits;
  readonly uploads: MediaUploads;
  readonly downloads: MediaDownloads;
  readonly thumbnails: Thumbnails;
  readonly previews: UrlPreviews;
}

const MAX_NAME_BYTES = 1_024;
const DEFAULT_TIMEOUT_MS = 20_000;
const MAX_TIMEOUT_MS = 60_000;

const FIND_QUERY = {
  timeout_ms: intParam().optional(),
  allow_remote: boolParam().optional(),
  allow_redirect: boolParam().optional(),
  admin_unsafely_bypass_quarantine: boolParam().optional(),
};
const DownloadQuery = z.object(FIND_QUERY);
const PreviewQuery = z.object({ url: z.string(), ts: intParam().optional() });
const ThumbnailQuery = z.object({
  ...FIND_QUERY,
  width: intParam({ min: 1, max: MAX_REQUESTED_SIDE }),
  height: intParam({ min: 1, max: MAX_REQUESTED_SIDE }),
  method: z.enum(["crop", "scale"]).optional(),
  animated: boolParam().optional(),
});

/** Registers what is below `/_matrix/media` under all its versions. */
function legacyMedia(app: App): readonly Registrar[] {
  return ["v3", "r0", "v1"].map((version) => plain(app, `/_matrix/media/${version}`));
}

/** Returns the file that the path names. */
function mediaKeyOf(c: Ctx): MediaKey {
  const { serverName, mediaId } = pathIds(c, { serverName: parseServerName, mediaId: parseMediaId });
  return { origin: serverName, mediaId };
}

/** Returns how the request asks for a file. */
function findOptionsOf(
  c: Ctx,
  { found, isAuthenticated }: { found: z.output<typeof DownloadQuery>; isAuthenticated: boolean },
): FindOptions {
  return {
    timeoutMs: Math.min(found.timeout_ms ?? DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS),
    isAuthenticated,
    allowRemote: found.allow_remote ?? true,
    clientIp: c.env.clientIp,
    signal: c.req.raw.signal,
    includeQuarantined: isAuthenticated && found.admin_unsafely_bypass_quarantine === true && assertAdmin(c),
  };
}

function assertAdmin(c: Ctx): true {
  if (requester(c).isAdmin) return true;
  throw new MatrixError(400, "M_UNKNOWN", "Must be a server admin to bypass quarantine");
}

/** Registers the media endpoints. */
export function mediaRoutes(app: App, deps: MediaRoutesDeps): void {
  uploadRoutes(app, deps);
  for (const path of ["/download/:serverName/:mediaId", "/download/:serverName/:mediaId/:fileName"]) {
    downloadRoutes(app, path, deps);
  }
  thumbnailRoutes(app, deps);
  previewRoutes(app, deps);
}

function uploadRoutes(app: App, { auth, limits, uploads }: MediaRoutesDeps): void {
  const config = () => json({ "m.upload.size": uploads.maxUploadSize });
  client(app, ["v1"]).get("/media/config", auth.user(), config);
  for (const media of legacyMedia(app)) {
    media
      .get("/config", auth.user(), config)
      .post("/upload", auth.active(), async (c) => json({ content_uri: await uploads.upload(uploadOf(c)) }))
      .put("/upload/:serverName/:mediaId", auth.active(), async (c) => {
        await uploads.complete(uploadOf(c), mediaKeyOf(c));
        return json({});
      });
  }
  plain(app, "/_matrix/media/v1").post("/create", auth.active(), limits.perUser("rc_media_create"), async (c) => {
    const { contentUri, unusedExpiresAt } = await uploads.create(requester(c).userId);
    return json({ content_uri: contentUri, unused_expires_at: unusedExpiresAt });
  });
}

function downloadRoutes(app: App, path: string, { auth, downloads }: MediaRoutesDeps): void {
  async function download(c: Ctx, { isAuthenticated }: { isAuthenticated: boolean }): Promise<Response> {
    const key = mediaKeyOf(c);
    const name = checkName(c.req.param("fileName") ?? null);
    const options = findOptionsOf(c, { found: query(c, DownloadQuery), isAuthenticated });
    const media = await downloads.find(key, options);
    return await fileResponse(c, {
      contentType: servedContentType(media.contentType),
      disposition: dispositionOf(media.contentType, name ?? media.uploadName),
      length: media.length,
      etag: media.sha256,
      isPublic: !isAuthenticated,
      open: (range) => downloads.open(media, range),
    });
  }
  client(app, ["v1"]).get(`/media${path}`, auth.guestOk(), (c) => download(c, { isAuthenticated: true }));
  for (const media of legacyMedia(app)) media.get(path, (c) => download(c, { isAuthenticated: false }));
}

function thumbnailRoutes(app: App, { auth, downloads, thumbnails }: MediaRoutesDeps): void {
  const path = "/thumbnail/:serverName/:mediaId";
  async function thumbnail(c: Ctx, { isAuthenticated }: { isAuthenticated: boolean }): Promise<Response> {
    const key = mediaKeyOf(c);
    const found = query(c, ThumbnailQuery);
    const media = await downloads.find(key, findOptionsOf(c, { found, isAuthenticated }));
    const size = { width: found.width, height: found.height, method: found.method ?? "scale" };
    const made = await thumbnails.find(media, { size, isAnimated: found.animated ?? false });
    const name = `thumbnail.${made.contentType.slice("image/".length)}`;
    return await fileResponse(c, {
      ...made,
      disposition: dispositionOf(made.contentType, name),
      isPublic: !isAuthenticated,
    });
  }
  client(app, ["v1"]).get(`/media${path}`, auth.guestOk(), (c) => thumbnail(c, { isAuthenticated: true }));
  for (const media of legacyMedia(app)) media.get(path, (c) => thumbnail(c, { isAuthenticated: false }));
}

function previewRoutes(app: App, { auth, previews }: MediaRoutesDeps): void {
  async function preview(c: Ctx): Promise<Response> {
    const { url, ts } = query(c, PreviewQuery);
    return jsonText(await previews.preview(url, { at: ts ?? null }));
  }
  client(app, ["v1"]).get("/media/preview_url", auth.user(), preview);
  for (const media of legacyMedia(app)) media.get("/preview_url", auth.user(), preview);
}

function uploadOf(c: Ctx): Upload {
  const { headers, body } = c.req.raw;
  const length = headers.get("content-length");
  return {
    userId: requester(c).userId,
    contentType: acceptContentType(headers.get("content-type")),
    uploadName: checkName(searchParams(c).get("filename")),
    declaredLength: length === null ? null : Number(length),
    body,
  };
}

function checkName(name: string | null): string | null {
  if (name === null || name === "") return null;
  if (!isStorable(name, MAX_NAME_BYTES)) throw invalidParam("The file name is too long or not text");
  return name;
}
