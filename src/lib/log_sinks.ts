/** Where lines of the log go: the console, or files that are rotated by size or by time. */

/** Takes text and writes it in order, later. */
export interface Sink {
  write(text: string): void;
  /** Resolves once everything so far is written. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** The most characters that may wait to be written. */
const MAX_WAITING = 4 * 1024 * 1024;
/** So soon after the last write, lines wait for more: a write of its own costs a line more than all else. */
const GATHER_MS = 100;

/** Writes a line at once when it is quiet; under load gathers what arrives and writes it together. */
export abstract class BufferedSink implements Sink {
  #waiting: string[] = [];
  #waitingLength = 0;
  #dropped = 0;
  #writing: Promise<void> | null = null;
  #writtenAt = -Infinity;
  #isFlushing = false;
  /** Ends the time in which lines gather. */
  #endGathering: (() => void) | null = null;

  write(text: string): void {
    if (this.#waitingLength > MAX_WAITING) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(text);
    this.#waitingLength += text.length;
    this.#writing ??= this.#drain();
  }

  async flush(): Promise<void> {
    this.#isFlushing = true;
    this.#endGathering?.();
    while (this.#writing !== null) await this.#writing;
    this.#isFlushing = false;
  }

  async close(): Promise<void> {
    await this.flush();
    await this.closeFile();
  }

  async #drain(): Promise<void> {
    await Promise.resolve();
    const encoder = new TextEncoder();
    while (this.#waiting.length > 0) {
      await this.#gather();
      const lost = this.#dropped === 0 ? "" : `${this.#dropped} lines of the log were dropped\n`;
      const text = this.#waiting.join("") + lost;
      this.#waiting = [];
      this.#waitingLength = 0;
      this.#dropped = 0;
      try {
        await this.writeBytes(encoder.encode(text));
      } catch {
        // A full disk or a closed pipe must not stop the server, and there is nowhere left to say so.
      }
    }
    this.#writing = null;
  }

  async #gather(): Promise<void> {
    const waitMs = this.#writtenAt + GATHER_MS - performance.now();
    if (waitMs > 0 && !this.#isFlushing) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, waitMs);
      this.#endGathering = resolve;
      await promise;
      clearTimeout(timer);
      this.#endGathering = null;
    }
    this.#writtenAt = performance.now();
  }

  protected abstract writeBytes(bytes: Uint8Array): Promise<void>;
  protected closeFile(): Promise<void> {
    return Promise.resolve();
  }
}

async function writeAll(file: { write(bytes: Uint8Array): Promise<number> }, bytes: Uint8Array): Promise<void> {
  for (let start = 0; start < bytes.length;) start += await file.write(bytes.subarray(start));
}

/** Writes to standard output or standard error. */
export class ConsoleSink extends BufferedSink {
  readonly #stream: "stdout" | "stderr";

  constructor(stream: "stdout" | "stderr") {
    super();
    this.#stream = stream;
  }

  protected override writeBytes(bytes: Uint8Array): Promise<void> {
    return writeAll(Deno[this.#stream], bytes);
  }
}

/** When a file is put aside and a new one begun; `keep` old ones remain (0: no limit for times, no rotation for sizes). */
export type Rotation =
  | { readonly by: "size"; readonly maxBytes: number; readonly keep: number }
  | { readonly by: "day" | "hour"; readonly keep: number };

/** Appends to a file. */
export class FileSink extends BufferedSink {
  readonly #path: string;
  readonly #rotation: Rotation | null;
  #file: Deno.FsFile | null = null;
  #size = 0;
  /** The day or hour that the file is of. */
  #period = "";

  constructor(path: string, rotation: Rotation | null) {
    super();
    this.#path = path;
    this.#rotation = rotation;
  }

  /** Opens the file, so that a path that cannot be written is an error at start. */
  async open(): Promise<void> {
    this.#file = await Deno.open(this.#path, { append: true, create: true });
    const info = await this.#file.stat();
    this.#size = info.size;
    this.#period = this.#periodOf(info.size === 0 ? new Date() : info.mtime ?? new Date());
  }

  protected override async writeBytes(bytes: Uint8Array): Promise<void> {
    if (this.#isFull(bytes.length)) await this.#rotate();
    if (this.#file === null) await this.open();
    if (this.#file !== null) await writeAll(this.#file, bytes);
    this.#size += bytes.length;
  }

  protected override closeFile(): Promise<void> {
    this.#file?.close();
    this.#file = null;
    return Promise.resolve();
  }

  #isFull(more: number): boolean {
    if (this.#rotation === null || this.#size === 0) return false;
    if (this.#rotation.by !== "size") return this.#periodOf(new Date()) !== this.#period;
    return this.#rotation.maxBytes > 0 && this.#rotation.keep > 0 && this.#size + more > this.#rotation.maxBytes;
  }

  #periodOf(date: Date): string {
    const day = dayOf(date);
    return this.#rotation?.by === "hour" ? `${day}_${String(date.getHours()).padStart(2, "0")}` : day;
  }

  async #rotate(): Promise<void> {
    const period = this.#period;
    await this.closeFile();
    if (this.#rotation !== null && this.#rotation.by !== "size") {
      await Deno.rename(this.#path, `${this.#path}.${period}`);
      await removeOldPeriods(this.#path, this.#rotation.keep);
    } else if (this.#rotation !== null) {
      for (let i = this.#rotation.keep - 1; i >= 1; i--) {
        await Deno.rename(`${this.#path}.${i}`, `${this.#path}.${i + 1}`).catch(ignoreNotFound);
      }
      await Deno.rename(this.#path, `${this.#path}.1`);
    }
    await this.open();
  }
}

function dayOf(date: Date): string {
  const month = String(date.getMonth() + 1).padStart(2, "0");
  return `${date.getFullYear()}-${month}-${String(date.getDate()).padStart(2, "0")}`;
}

async function removeOldPeriods(path: string, keep: number): Promise<void> {
  if (keep === 0) return;
  const slash = path.lastIndexOf("/");
  const folder = slash < 0 ? "." : path.slice(0, slash + 1);
  const name = path.slice(slash + 1);
  const old: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.name.startsWith(`${name}.`) && /^\d{4}-\d\d-\d\d(?:_\d\d)?$/.test(entry.name.slice(name.length + 1))) {
      old.push(entry.name);
    }
  }
  for (const entry of old.sort().slice(0, -keep)) await Deno.remove(`${folder}/${entry}`).catch(ignoreNotFound);
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
