/** The terminal as commands use it: text out, and answers to questions in. */

/** Streams of a command. */
export interface Terminal {
  /** Writes to standard output. */
  out(text: string): void;
  /** Writes to standard error. */
  err(text: string): void;
  /** Whether standard input is a terminal. */
  readonly isInteractive: boolean;
  /** Asks a question and returns the line answered, or null at the end of input. */
  ask(question: string): Promise<string | null>;
  /** Asks without showing what is typed; the question goes to standard error. */
  askSecret(question: string): Promise<string | null>;
}

const ENTER = new Set([10, 13]);
const BACKSPACE = new Set([8, 127]);
const INTERRUPT = 3;
const END_OF_INPUT = 4;
const MAX_LINE_BYTES = 64 * 1024;

/** Thrown when a question is answered with Ctrl-C. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
}

/** Returns the terminal of this process. */
export function processTerminal(): Terminal {
  const input = new LineReader();
  const out = (text: string) => writeSync(Deno.stdout, text);
  const err = (text: string) => writeSync(Deno.stderr, text);
  const isInteractive = Deno.stdin.isTerminal();
  return {
    out,
    err,
    isInteractive,
    ask(question) {
      out(question);
      return input.readLine();
    },
    async askSecret(question) {
      err(question);
      if (!isInteractive) return await input.readLine();
      try {
        return await input.readHidden();
      } finally {
        err("\n");
      }
    },
  };
}

function writeSync(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let start = 0; start < bytes.length;) start += stream.writeSync(bytes.subarray(start));
  } catch (error) {
    // `synapse-ts --help | head` closes the pipe before everything is written.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

class LineReader {
  #bytes: number[] = [];
  #isAtEnd = false;

  async readLine(): Promise<string | null> {
    const line: number[] = [];
    for (let byte = await this.#next(); byte !== null; byte = await this.#next()) {
      if (byte === 10) return decode(line);
      line.push(byte);
      if (line.length > MAX_LINE_BYTES) throw new Error("The line is too long");
    }
    return line.length > 0 ? decode(line) : null;
  }

  async readHidden(): Promise<string | null> {
    Deno.stdin.setRaw(true, { cbreak: false });
    try {
      const line: number[] = [];
      for (let byte = await this.#next(); byte !== null; byte = await this.#next()) {
        if (byte === INTERRUPT) throw new Interrupted();
        if (ENTER.has(byte)) return decode(line);
        if (byte === END_OF_INPUT && line.length === 0) return null;
        if (BACKSPACE.has(byte)) removeCharacter(line);
        else if (line.length < MAX_LINE_BYTES) line.push(byte);
      }
      return line.length > 0 ? decode(line) : null;
    } finally {
      Deno.stdin.setRaw(false);
    }
  }

  async #next(): Promise<number | null> {
    if (this.#bytes.length === 0 && !this.#isAtEnd) {
      const chunk = new Uint8Array(4096);
      const length = await Deno.stdin.read(chunk);
      if (length === null) this.#isAtEnd = true;
      else this.#bytes = [...chunk.subarray(0, length)];
    }
    return this.#bytes.shift() ?? null;
  }
}

/** Removes the last character, which may be several bytes of UTF-8. */
function removeCharacter(line: number[]): void {
  while (line.length > 0 && ((line.pop() ?? 0) & 0xc0) === 0x80);
}

function decode(bytes: readonly number[]): string {
  return new TextDecoder().decode(Uint8Array.from(bytes)).replace(/\r$/, "");
}
