/** Media of other servers, as far as this layer needs to know how they are fetched. */
import type { MediaKey } from "../storage/media.ts";

/** A file on its way from another server. */
export interface RemoteFile {
  readonly contentType: string;
  readonly uploadName: string | null;
  /** Must be read or canceled. */
  readonly body: ReadableStream<Uint8Array>;
}

/** Fetches files from the servers they were uploaded to. */
export interface RemoteMedia {
  /** Starts a download. Throws the `MatrixError` that the client shall see: 404, 502, 504. */
  fetch(key: MediaKey, options: { timeoutMs: number; maxBytes: number; signal: AbortSignal }): Promise<RemoteFile>;
}
