/** The write-ahead log beside an SQLite file. */

/**
 * Pages (4 KiB each) in the write-ahead log at which a commit copies them into the file. The same few pages change with
 * every event, so a longer log is copied with less work.
 */
export const CHECKPOINT_PAGES = 4000;

/** The log's header, and for each page a header and the page. https://www.sqlite.org/fileformat2.html#walformat */
const LOG_BYTES = 32 + CHECKPOINT_PAGES * (24 + 4096);
const CHUNK_BYTES = 131_072;

/**
 * Makes the log as long as it gets between two checkpoints. Waiting for the disk takes half as long when a commit
 * overwrites what the file has than when the file grows with it: the file system has nothing to note of its own.
 *
 * Only for a file that nobody writes to at the moment. Zeros behind the log's last frame are no frames to SQLite, like the
 * old frames that are there after a checkpoint. A disk without room for them is left as it was.
 */
export function extendLog(path: string): void {
  using file = Deno.openSync(`${path}-wal`, { write: true });
  const before = file.statSync().size;
  const zeros = new Uint8Array(CHUNK_BYTES);
  try {
    file.seekSync(before, Deno.SeekMode.Start);
    for (let at = before; at < LOG_BYTES;) {
      at += file.writeSync(zeros.subarray(0, Math.min(CHUNK_BYTES, LOG_BYTES - at)));
    }
    file.syncSync();
  } catch (error) {
    file.truncateSync(before);
    // Nobody needs the length: what is wrong with the disk is told to whoever writes something of use.
    if (!(error instanceof Error)) throw error;
  }
}
