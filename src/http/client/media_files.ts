/** Answers that carry a file: ranges, validators, and the headers that make it harmless. */
import { notFound } from "../../protocol/errors.ts";
import type { ByteRange } from "../../media/blob_store.ts";
import { CONTENT_SECURITY_POLICY } from "../../media/content_headers.ts";
import type { Ctx } from "../app.ts";

/** A file that can be sent. */
export interface ServedFile {
  readonly contentType: string;
  readonly disposition: string;
  readonly length: number;
  /** Without quotes; null where the content has no stable name. */
  readonly etag: string | null;
  /** Whether shared caches may keep it: only what needs no token. */
  readonly isPublic: boolean;
  /** Opens the file or a part of it; null when it is gone. */
  readonly open: (range?: ByteRange) => Promise<ReadableStream<Uint8Array> | null>;
}

const DAY_S = 86_400;

/** Answers with a file, a part of it, or nothing when the client has it already. HEAD opens no file. */
export async function fileResponse(c: Ctx, file: ServedFile): Promise<Response> {
  const headers = headersOf(file);
  const request = c.req.raw.headers;
  if (file.etag !== null && matchesEtag(request.get("if-none-match"), file.etag)) {
    return new Response(null, { status: 304, headers });
  }
  const range = rangeOf(request, file);
  if (range === "unsatisfiable") {
    headers.set("content-range", `bytes */${file.length}`);
    return new Response(null, { status: 416, headers });
  }
  if (range !== null) headers.set("content-range", `bytes ${range.start}-${range.end - 1}/${file.length}`);
  headers.set("content-length", String(range === null ? file.length : range.end - range.start));
  const status = range === null ? 200 : 206;
  if (c.req.raw.method === "HEAD") return new Response(null, { status, headers });
  const body = await file.open(range ?? undefined);
  if (body === null) throw notFound();
  return new Response(body, { status, headers });
}

function headersOf({ contentType, disposition, etag, isPublic }: ServedFile): Headers {
  const headers = new Headers({
    "content-type": contentType,
    "content-disposition": disposition,
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow, noarchive, noimageindex",
    "accept-ranges": "bytes",
    "cache-control": isPublic ? `public, max-age=${DAY_S}, s-maxage=${DAY_S}` : `private, max-age=${DAY_S}`,
  });
  if (etag !== null) headers.set("etag", `"${etag}"`);
  return headers;
}

function matchesEtag(header: string | null, etag: string): boolean {
  if (header === null) return false;
  return header.split(",").some((part) => {
    const tag = part.trim().replace(/^W\//, "");
    return tag === "*" || tag === `"${etag}"`;
  });
}

/** Returns the one range that is asked for; null for the whole, which is also the answer to several ranges. */
function rangeOf(request: Headers, { length, etag }: ServedFile): ByteRange | "unsatisfiable" | null {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(request.get("range")?.trim() ?? "");
  if (match === null) return null;
  const condition = request.get("if-range");
  if (condition !== null && (etag === null || condition.trim() !== `"${etag}"`)) return null;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return null;
  if (first === "") {
    const count = Math.min(Number(last), length);
    return count === 0 ? "unsatisfiable" : { start: length - count, end: length };
  }
  const start = Number(first);
  const end = last === "" ? length : Math.min(Number(last) + 1, length);
  if (last !== "" && Number(last) < start) return null;
  return start >= length ? "unsatisfiable" : { start, end };
}
