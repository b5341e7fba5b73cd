/** One media child as the server holds it. */
import { type ChildAnswer, type ChildJob, encodeHead, MessageReader } from "./messages.ts";

/** How a child is started. */
export interface ChildCommand {
  readonly program: string;
  readonly args: readonly string[];
}

/** The bytes that a job is about. */
export interface JobInput {
  readonly stream: ReadableStream<Uint8Array>;
  /** In bytes: exactly what the stream has. */
  readonly length: number;
}

/** The answer to a job, and the bytes that came with it. */
export interface JobOutput {
  readonly answer: ChildAnswer;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Thumbnails are far smaller; what is larger is no answer. */
const MAX_ANSWER_BYTES = 134_217_728;
/** Of the child's JavaScript heap; images are outside of it. */
const HEAP_LIMIT_MB = 512;

/** Returns how to start a child: the executable itself, or from the sources their `child_main.ts`. */
export function mediaChildCommand(): ChildCommand {
  const program = Deno.execPath();
  if (Deno.build.standalone) return { program, args: ["media-child"] };
  const main = new URL("./child_main.ts", import.meta.url).pathname;
  return { program, args: ["run", "--quiet", "--no-check", "--allow-read", "--allow-env", "--allow-sys", main] };
}

/** A running child. */
export class MediaChild {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: MessageReader;
  #isAlive = true;
  jobs = 0;

  constructor({ program, args }: ChildCommand) {
    this.#process = new Deno.Command(program, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      env: { DENO_V8_FLAGS: `--max-old-space-size=${HEAP_LIMIT_MB}`, NO_COLOR: "1" },
    }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#reader = new MessageReader(this.#process.stdout, { maxBodyBytes: MAX_ANSWER_BYTES });
    this.#process.status.then(() => this.#isAlive = false);
  }

  /** Whether it can take another job. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Does one job; null when the child ended instead. */
  async run(job: ChildJob, input: JobInput): Promise<JobOutput | null> {
    this.jobs++;
    const [, message] = await Promise.all([this.#send(job, input), this.#reader.next().catch(() => null)]);
    return message && { answer: message.head as ChildAnswer, bytes: message.body };
  }

  /** Ends the process at once; resolves when it is gone. */
  async kill(): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    this.#isAlive = false;
    await this.#writer.abort().catch(() => {});
    await this.#process.status;
  }

  async #send(job: ChildJob, { stream, length }: JobInput): Promise<void> {
    const reader = stream.getReader();
    try {
      await this.#writer.write(encodeHead(job, length));
      let left = length;
      while (left > 0) {
        const { value } = await reader.read();
        // The store has less than the database says: only the end of the child ends the job.
        if (value === undefined) return await this.kill();
        const part = value.subarray(0, left);
        left -= part.length;
        await this.#writer.write(part);
      }
    } catch {
      // The child is gone, which its answer tells, or the file cannot be read, which the child waits for.
      await this.kill();
    } finally {
      await reader.cancel().catch(() => {});
    }
  }
}
