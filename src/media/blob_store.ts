/** Where the bytes of media are kept. Two kinds: a folder (`disk_store.ts`) and a bucket (`s3_store.ts`). */
import type { BlobPath } from "./blob_paths.ts";

/** A part of a file, in bytes; `end` is exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Keeps files by path. A file appears whole or not at all, and is never changed. */
export interface BlobStore extends AsyncDisposable {
  /** Writes a file as its bytes arrive; resolves once it is durable. Rejects, leaving nothing, when `bytes` does. */
  put(path: BlobPath, bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** Opens a file, or a part of it; null when there is none. The stream must be read or canceled. */
  read(path: BlobPath, range?: ByteRange): Promise<ReadableStream<Uint8Array> | null>;
  /** Deletes a file; does nothing when there is none. */
  delete(path: BlobPath): Promise<void>;
  /** Deletes all files below a folder. */
  deleteFolder(path: BlobPath): Promise<void>;
}
