/**
 * Child processes for tests and tools.
 *
 * A child belongs to the process group of its parent, so that the test runner, which gives each test file a group of
 * its own, ends with it whatever it started.
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";

/** How to start a program. */
export interface ProcessOptions {
  readonly args?: readonly string[];
  readonly cwd?: string;
  /** The whole environment when `clearEnv` is set, else additions to this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  readonly clearEnv?: boolean;
  /** Makes a process group, so that a signal reaches what the program starts too. See `endChildrenOnSignals`. */
  readonly ownGroup?: boolean;
}

/** What a finished program left. */
export interface ProcessResult {
  /** The exit code; null when a signal or the time limit ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

const SIGNAL_GRACE_MS = 8_000;
const DRAIN_MS = 500;
const alive = new Set<RunningProcess>();

/** A program that runs until it is stopped. */
export class RunningProcess implements AsyncDisposable {
  readonly pid: number;
  /** Resolves with the exit code, null after a signal; rejects when the program could not be started. */
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #ownGroup: boolean;
  #stdout = "";
  #stderr = "";
  #changed: (() => void)[] = [];
  #hasEnded = false;

  constructor(command: string, options: ProcessOptions = {}) {
    this.#child = spawn(command, [...options.args ?? []], {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: options.clearEnv ? { ...options.env } : { ...Deno.env.toObject(), ...options.env },
      detached: options.ownGroup ?? false,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.pid = this.#child.pid ?? 0;
    this.#ownGroup = options.ownGroup ?? false;
    alive.add(this);
    this.#collect("stdout", (text) => this.#stdout += text);
    this.#collect("stderr", (text) => this.#stderr += text);
    this.exited = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      let timer: ReturnType<typeof setTimeout> | undefined;
      this.#child.once("close", (code) => {
        clearTimeout(timer);
        resolve(code);
      });
      // What the program started may outlive it and keep its outputs open.
      this.#child.once("exit", (code) => timer = setTimeout(() => resolve(code), DRAIN_MS));
    });
    this.exited.catch(() => {}).finally(() => {
      this.#hasEnded = true;
      alive.delete(this);
      this.#wake();
    });
    // A program that ends without reading its input breaks the pipe.
    this.#child.stdin?.on("error", () => {});
  }

  /** Everything written so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** Everything written so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Writes the text as the program's whole standard input. */
  input(text: string): void {
    this.#child.stdin?.end(text);
  }

  /** Resolves once standard output or error contains the pattern; rejects when the program ends or time is up first. */
  async waitFor(pattern: RegExp, { timeoutMs = 20_000 } = {}): Promise<RegExpExecArray> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const found = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
      if (found !== null) return found;
      const left = end - performance.now();
      if (this.#hasEnded || left <= 0) {
        const why = this.#hasEnded ? "the program ended" : "time is up";
        throw new Error(`${why} without ${pattern} in its output:\n${this.#stdout}${this.#stderr}`);
      }
      await this.#nextChange(left);
    }
  }

  /** Sends a signal to the program, and to its group when it has one; does nothing when it has ended. */
  signal(name: NodeJS.Signals): void {
    if (this.pid === 0 || (this.#hasEnded && !this.#ownGroup)) return;
    try {
      process.kill(this.#ownGroup ? -this.pid : this.pid, name);
    } catch {
      // It is gone already.
    }
  }

  /** Asks the program to end, and makes it end after `graceMs`. Returns the exit code. */
  async stop({ graceMs = 10_000 } = {}): Promise<number | null> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the program without warning, as a power failure would. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.exited.catch(() => null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #collect(name: "stdout" | "stderr", add: (text: string) => void): void {
    this.#child[name]?.setEncoding("utf8").on("data", (text: string) => {
      add(text);
      this.#wake();
    });
  }

  #wake(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }

  async #nextChange(timeoutMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#changed.push(resolve);
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
  }
}

/** Runs a program to its end, with `input` as its whole standard input; kills it after `timeoutMs`. */
export async function runProcess(
  command: string,
  { timeoutMs = 60_000, input = "", ...options }: ProcessOptions & { timeoutMs?: number; input?: string } = {},
): Promise<ProcessResult> {
  const running = new RunningProcess(command, options);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    running.signal("SIGKILL");
  }, timeoutMs);
  running.input(input);
  try {
    const code = await running.exited;
    return { code, stdout: running.stdout, stderr: running.stderr, timedOut };
  } finally {
    clearTimeout(timer);
  }
}

/** Makes SIGINT, SIGTERM and SIGHUP stop the children, which a group of their own would keep alive, and then exit. */
export function endChildrenOnSignals(): void {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(name, () => {
      const stopping = [...alive].map((child) => child.stop({ graceMs: SIGNAL_GRACE_MS }).catch(() => null));
      Promise.all(stopping).finally(() => {
        // Those that were started meanwhile.
        for (const child of alive) child.signal("SIGKILL");
        Deno.exit(130);
      });
    });
  }
}
