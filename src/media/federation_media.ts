/**
 * Files from the servers they were uploaded to. Spec: server-server API, "Content Repository"; servers of before version
 * 1.11 give them on the old path without a signature.
 */
import type { FederationClient } from "../federation/client.ts";
import { badAnswer, RemoteError } from "../federation/remote_error.ts";
import { boundaryOf, type MultipartPart, readMultipart } from "../lib/multipart.ts";
import { MatrixError, notFound } from "../protocol/errors.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { MediaKey } from "../storage/media.ts";
import type { RemoteFile, RemoteMedia } from "./remote_media.ts";

const DEFAULT_TYPE = "application/octet-stream";
const MAX_METADATA_BYTES = 65_536;

type Answer = Parameters<Parameters<FederationClient["stream"]>[1]>[0];

/** Fetches files over federation. */
export class FederationMedia implements RemoteMedia {
  readonly #client: FederationClient;

  constructor(client: FederationClient) {
    this.#client = client;
  }

  /** Starts a download. Throws 404 when the server does not have the file, 502 when it does not give it. */
  async fetch(key: MediaKey, options: { timeoutMs: number; signal: AbortSignal }): Promise<RemoteFile> {
    try {
      return await this.#fetchSigned(key, options).catch((error) => {
        if (!isUnknownEndpoint(error)) throw error;
        return this.#fetchOld(key, options);
      });
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error;
      if (error.status === 404) throw notFound("The file was not found on its server");
      throw new MatrixError(502, "M_UNKNOWN", "The file could not be fetched from its server");
    }
  }

  async #fetchSigned(
    { origin: server, mediaId }: MediaKey,
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ): Promise<RemoteFile> {
    const path = `/_matrix/federation/v1/media/download/${encodeURIComponent(mediaId)}?timeout_ms=${timeoutMs}`;
    return await this.#client.stream({ server, method: "GET", path, signal }, (answer) => readParts(server, answer));
  }

  async #fetchOld(
    { origin: server, mediaId }: MediaKey,
    { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  ): Promise<RemoteFile> {
    const place = `${encodeURIComponent(server)}/${encodeURIComponent(mediaId)}`;
    const path = `/_matrix/media/v3/download/${place}?allow_remote=false&timeout_ms=${timeoutMs}`;
    return await this.#client.stream({ server, method: "GET", path, signal, unsigned: true }, (answer) => {
      const header = (name: string) => {
        const value = answer.headers[name];
        return typeof value === "string" ? value : null;
      };
      return Promise.resolve({
        contentType: header("content-type") ?? DEFAULT_TYPE,
        uploadName: fileNameOf(header("content-disposition")),
        body: ReadableStream.from(answer.body as AsyncIterable<Uint8Array>),
      });
    });
  }
}

/** The first part describes the file, the second is the file. */
async function readParts(server: ServerName, { headers, body }: Answer): Promise<RemoteFile> {
  const type = headers["content-type"];
  const boundary = typeof type === "string" ? boundaryOf(type) : null;
  if (boundary === null) throw badAnswer(server, "The answer is not in parts");
  const parts = readMultipart(body as AsyncIterable<Uint8Array>, boundary);
  const metadata = (await parts.next()).value;
  if (!metadata) throw badAnswer(server, "The answer has no parts");
  await skip(server, metadata);
  const file = (await parts.next()).value;
  if (!file || file.headers.has("location")) throw badAnswer(server, "The answer has no file in it");
  return {
    contentType: file.headers.get("content-type") ?? DEFAULT_TYPE,
    uploadName: fileNameOf(file.headers.get("content-disposition") ?? null),
    body: ReadableStream.from(file.body),
  };
}

async function skip(server: ServerName, { body }: MultipartPart): Promise<void> {
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_METADATA_BYTES) throw badAnswer(server, "The description of the file is too long");
  }
}

/** Returns the name in a `Content-Disposition`: the extended form counts more. RFC 6266. */
function fileNameOf(disposition: string | null): string | null {
  if (disposition === null) return null;
  const extended = /;\s*filename\*\s*=\s*utf-8''([^;\s]+)/i.exec(disposition)?.[1];
  if (extended !== undefined) {
    try {
      return decodeURIComponent(extended);
    } catch {
      return null;
    }
  }
  const plain = /;\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(disposition);
  if (plain === null) return null;
  return plain[1]?.replace(/\\(.)/g, "$1") ?? plain[2] ?? null;
}

/** Tells whether the server does not know the endpoint; old ones answer in their own ways. */
function isUnknownEndpoint(error: unknown): boolean {
  return error instanceof RemoteError && (error.status === 400 || error.status === 404 || error.status === 405) &&
    (error.errcode === null || error.errcode === "M_UNRECOGNIZED");
}
