/**
 * Media of our users for other servers. Spec: server-server API, "Content Repository".
 *   GET /v1/media/download/{mediaId}, /v1/media/thumbnail/{mediaId}
 */
import { z } from "zod";
import { randomString } from "../../lib/random.ts";
import { parseMediaId } from "../../media/blob_paths.ts";
import { dispositionOf, servedContentType } from "../../media/content_headers.ts";
import type { FoundMedia, MediaDownloads } from "../../media/downloads.ts";
import { MAX_REQUESTED_SIDE } from "../../media/thumbnail_sizes.ts";
import type { Thumbnails } from "../../media/thumbnails.ts";
import { notFound } from "../../protocol/errors.ts";
import type { ServerName } from "../../protocol/ids.ts";
import type { App, Ctx } from "../app.ts";
import { boolParam, intParam, pathIds, query } from "../middleware/params.ts";
import { type FederationAuth, signed } from "./signed.ts";

/** What the routes are built from. */
export interface FederationMediaRoutesDeps {
  readonly auth: FederationAuth;
  readonly serverName: ServerName;
  readonly downloads: MediaDownloads;
  readonly thumbnails: Thumbnails;
}

/** A file as the second part of an answer. */
interface FilePart {
  readonly contentType: string;
  readonly disposition: string;
  readonly open: () => Promise<ReadableStream<Uint8Array> | null>;
}

const DEFAULT_TIMEOUT_MS = 20_000;
const MAX_TIMEOUT_MS = 60_000;
const BOUNDARY_LENGTH = 32;

const FIND_QUERY = { timeout_ms: intParam().default(DEFAULT_TIMEOUT_MS) };
const DownloadQuery = z.object(FIND_QUERY);
const ThumbnailQuery = z.object({
  ...FIND_QUERY,
  width: intParam({ min: 1, max: MAX_REQUESTED_SIDE }),
  height: intParam({ min: 1, max: MAX_REQUESTED_SIDE }),
  method: z.enum(["crop", "scale"]).default("scale"),
  animated: boolParam().default(false),
});

/** Registers the endpoints. */
export function federationMediaRoutes(app: App, deps: FederationMediaRoutesDeps): void {
  const { auth, serverName, downloads, thumbnails } = deps;
  async function find(c: Ctx, timeoutMs: number): Promise<FoundMedia> {
    const { mediaId } = pathIds(c, { mediaId: parseMediaId });
    return await downloads.find({ origin: serverName, mediaId }, {
      timeoutMs: Math.min(timeoutMs, MAX_TIMEOUT_MS),
      isAuthenticated: true,
      allowRemote: false,
      clientIp: null,
      signal: c.req.raw.signal,
    });
  }
  signed(app, auth)
    .get("/v1/media/download/:mediaId", async (c) => {
      const media = await find(c, query(c, DownloadQuery).timeout_ms);
      return await multipart({
        contentType: servedContentType(media.contentType),
        disposition: dispositionOf(media.contentType, media.uploadName),
        open: () => downloads.open(media),
      });
    })
    .get("/v1/media/thumbnail/:mediaId", async (c) => {
      const { timeout_ms: timeoutMs, animated, width, height, method } = query(c, ThumbnailQuery);
      const media = await find(c, timeoutMs);
      const made = await thumbnails.find(media, { size: { width, height, method }, isAnimated: animated });
      const name = `thumbnail.${made.contentType.slice("image/".length)}`;
      return await multipart({ ...made, disposition: dispositionOf(made.contentType, name) });
    });
}

/** Answers with two parts: an empty description, and the file as it comes from the store. */
async function multipart({ contentType, disposition, open }: FilePart): Promise<Response> {
  const file = await open();
  if (file === null) throw notFound();
  const boundary = randomString(BOUNDARY_LENGTH);
  const utf8 = new TextEncoder();
  const head = utf8.encode(
    `--${boundary}\r\nContent-Type: application/json\r\n\r\n{}\r\n` +
      `--${boundary}\r\nContent-Type: ${contentType}\r\nContent-Disposition: ${disposition}\r\n\r\n`,
  );
  const tail = utf8.encode(`\r\n--${boundary}--\r\n`);
  // Without a length: behind TLS a client that has counted all bytes may ask again before the answer has ended here, and
  // node:https then never sends the next one.
  return new Response(framed(file, { head, tail }), {
    headers: {
      "content-type": `multipart/mixed; boundary=${boundary}`,
      "x-content-type-options": "nosniff",
    },
  });
}

/** Returns a stream with something before and after it; giving it up gives up the stream in it. */
function framed(
  inner: ReadableStream<Uint8Array>,
  { head, tail }: { head: Uint8Array; tail: Uint8Array },
): ReadableStream<Uint8Array> {
  const reader = inner.getReader();
  return new ReadableStream({
    start(controller) {
      controller.enqueue(head);
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (!done) return controller.enqueue(value);
      controller.enqueue(tail);
      controller.close();
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
