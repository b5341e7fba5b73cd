/**
 * Media in a folder of the local disk.
 *
 * A file is written under a temporary name in the same folder tree, synced, renamed, and its folder is synced: whatever
 * happens meanwhile, a path has the whole file or none. Temporary files of a killed process are removed at start.
 */
import { dirname, join, resolve } from "node:path";
import { randomString } from "../lib/random.ts";
import type { BlobPath } from "./blob_paths.ts";
import type { BlobStore, ByteRange } from "./blob_store.ts";

/** The folder of files on their way. */
export const TEMPORARY_FOLDER = "tmp";
const CHUNK_BYTES = 65_536;
const MAX_REMEMBERED_FOLDERS = 50_000;
const FOLDER_MODE = 0o750;
const FILE_MODE = 0o640;

/** A `BlobStore` in a folder. */
export class DiskStore implements BlobStore {
  readonly #root: string;
  /** Folders whose own entries are known to be durable. */
  readonly #synced = new Set<string>();

  private constructor(root: string) {
    this.#root = root;
  }

  /** Makes the folder where it is missing and removes what a killed process has left half-written. */
  static async open(root: string, { unfinishedBefore }: { unfinishedBefore: number }): Promise<DiskStore> {
    const folder = join(root, TEMPORARY_FOLDER);
    await Deno.mkdir(folder, { recursive: true, mode: FOLDER_MODE });
    for await (const { name } of Deno.readDir(folder)) {
      const path = join(folder, name);
      const { mtime } = await Deno.stat(path).catch(() => ({ mtime: null }));
      // Another process on the same disk may be writing the younger ones.
      if (mtime !== null && mtime.getTime() < unfinishedBefore) await removeIfThere(path);
    }
    return new DiskStore(resolve(root));
  }

  async put(path: BlobPath, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const temporary = join(this.#root, TEMPORARY_FOLDER, randomString(24));
    const target = join(this.#root, path);
    try {
      await writeFile(temporary, bytes);
      await this.#moveTo(temporary, target);
    } catch (error) {
      await removeIfThere(temporary);
      throw error;
    }
  }

  async read(path: BlobPath, range?: ByteRange): Promise<ReadableStream<Uint8Array> | null> {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(join(this.#root, path), { read: true });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
    try {
      const { isFile } = await file.stat();
      if (!isFile) throw new Error("A media path is not a file");
      if (range !== undefined && range.start > 0) await file.seek(range.start, Deno.SeekMode.Start);
      return streamFile(file, range === undefined ? Infinity : range.end - range.start);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  async delete(path: BlobPath): Promise<void> {
    await removeIfThere(join(this.#root, path));
  }

  async deleteFolder(path: BlobPath): Promise<void> {
    const folder = join(this.#root, path);
    await removeIfThere(folder, { recursive: true });
    this.#synced.delete(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #moveTo(temporary: string, target: string): Promise<void> {
    const folder = dirname(target);
    try {
      await Deno.rename(temporary, target);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      await Deno.mkdir(folder, { recursive: true, mode: FOLDER_MODE });
      await Deno.rename(temporary, target);
    }
    await this.#sync(folder);
  }

  /** Makes the entries of a folder survive a power loss, and those of the folders above that may be as new as it. */
  async #sync(folder: string): Promise<void> {
    const unsure: string[] = [];
    let path = folder;
    for (; path.length > this.#root.length && !this.#synced.has(path); path = dirname(path)) unsure.push(path);
    await Promise.all([folder, ...unsure.map((each) => dirname(each))].map(syncFolder));
    if (this.#synced.size > MAX_REMEMBERED_FOLDERS) this.#synced.clear();
    for (const each of unsure) this.#synced.add(each);
  }
}

/** Makes the entries of a folder survive a power loss. */
async function syncFolder(path: string): Promise<void> {
  using handle = await Deno.open(path, { read: true });
  await handle.sync();
}

async function writeFile(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true, mode: FILE_MODE });
  for await (const chunk of bytes) {
    let written = 0;
    while (written < chunk.length) written += await file.write(written === 0 ? chunk : chunk.subarray(written));
  }
  await file.sync();
}

/** Streams up to `length` bytes; closes the file at the end or when the reader goes away. */
function streamFile(file: Deno.FsFile, length: number): ReadableStream<Uint8Array> {
  let left = length;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const buffer = new Uint8Array(Math.min(CHUNK_BYTES, left));
        const count = left === 0 ? null : await file.read(buffer);
        if (count === null) {
          file.close();
          controller.close();
          return;
        }
        left -= count;
        controller.enqueue(buffer.subarray(0, count));
      } catch (error) {
        file.close();
        throw error;
      }
    },
    cancel() {
      file.close();
    },
  }, { highWaterMark: 1 });
}

async function removeIfThere(path: string, options: { recursive?: boolean } = {}): Promise<void> {
  try {
    await Deno.remove(path, options);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
