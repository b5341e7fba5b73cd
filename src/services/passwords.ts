/**
 * Hashing and checking of passwords off the main thread.
 *
 * Threads start with the first password and end after a while without any. Hashes that take a millisecond (`bcrypt_rounds`
 * of 4 or 5, as in tests) are computed in place.
 */
import { randomBytes } from "node:crypto";
import { limitExceeded } from "../protocol/errors.ts";
import { computeHash, passwordBytes, type PasswordJob, roundsOf, verifyHash } from "./password_hash.ts";

const MAX_WAITING = 256;
const IN_PLACE_ROUNDS = 5;
const IDLE_MS = 60_000;

/** What `Passwords` needs. */
export interface PasswordsDeps {
  /** `bcrypt_rounds`. */
  readonly rounds: number;
  /** `password_config.pepper`. */
  readonly pepper: string | null;
  /** The most threads; by default one, or two where there are more than two cores. */
  readonly threads?: number;
}

interface Waiting {
  readonly job: PasswordJob;
  readonly resolve: (result: string | boolean) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  current: Waiting | null;
}

/** Hashes and checks passwords. Must be disposed of. */
export class Passwords implements AsyncDisposable {
  readonly #deps: PasswordsDeps;
  readonly #maxThreads: number;
  readonly #threads: Thread[] = [];
  readonly #waiting: Waiting[] = [];
  #idleTimer: ReturnType<typeof setTimeout> | null = null;
  #dummyHash: Promise<string> | null = null;

  constructor(deps: PasswordsDeps) {
    this.#deps = deps;
    this.#maxThreads = deps.threads ?? (navigator.hardwareConcurrency > 2 ? 2 : 1);
  }

  /** Returns the hash of a password; throws 429 when too many others wait. */
  async hashPassword(password: string): Promise<string> {
    const { bytes } = passwordBytes(password, this.#deps.pepper);
    const job = { kind: "hash", secret: bytes, salt: randomBytes(16), rounds: this.#deps.rounds } as const;
    if (job.rounds <= IN_PLACE_ROUNDS) return await computeHash(job);
    return String(await this.#run(job));
  }

  /**
   * Tells whether `hash` is of the password.
   *
   * Without a hash (no such user, or no password) it takes as long and returns false, so that time does not tell which.
   */
  async verifyPassword(password: string, hash: string | null): Promise<boolean> {
    const stored = hash !== null && roundsOf(hash) !== null ? hash : await (this.#dummyHash ??= this.#makeDummyHash());
    const job = { kind: "verify", secret: passwordBytes(password, this.#deps.pepper).bytes, hash: stored } as const;
    const isCheap = (roundsOf(stored) ?? 0) <= IN_PLACE_ROUNDS;
    const isRight = job.secret.length > 0 && (isCheap ? await verifyHash(job) : await this.#run(job)) === true;
    return isRight && stored === hash;
  }

  /** Ends the threads; passwords still waiting are refused. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#stopThreads();
    for (const { reject } of this.#waiting.splice(0)) reject(new Error("The server is stopping"));
    return Promise.resolve();
  }

  async #makeDummyHash(): Promise<string> {
    try {
      return await this.hashPassword(randomBytes(16).toString("hex"));
    } catch (error) {
      this.#dummyHash = null;
      throw error;
    }
  }

  #run(job: PasswordJob): Promise<string | boolean> {
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(limitExceeded(5_000));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#threads.find(({ current }) => current === null) ?? this.#startThread();
      if (thread === null) return;
      const next = this.#waiting.shift();
      if (next === undefined) return;
      thread.current = next;
      thread.worker.postMessage({ id: 0, job: next.job });
    }
    this.#armIdleTimer();
  }

  #startThread(): Thread | null {
    if (this.#threads.length >= this.#maxThreads) return null;
    const worker = new Worker(new URL("./passwords_worker.ts", import.meta.url), { type: "module" });
    const thread: Thread = { worker, current: null };
    worker.onmessage = ({ data }: MessageEvent<{ result?: string | boolean; error?: string }>) => {
      const done = thread.current;
      thread.current = null;
      if (data.result === undefined) done?.reject(new Error(data.error ?? "Password thread failed"));
      else done?.resolve(data.result);
      this.#dispatch();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#threads.splice(this.#threads.indexOf(thread), 1);
      worker.terminate();
      thread.current?.reject(new Error(`Password thread failed: ${event.message}`));
      this.#dispatch();
    };
    this.#threads.push(thread);
    return thread;
  }

  #armIdleTimer(): void {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    if (this.#threads.length === 0 || this.#threads.some(({ current }) => current !== null)) return;
    this.#idleTimer = setTimeout(() => this.#stopThreads(), IDLE_MS);
    Deno.unrefTimer(Number(this.#idleTimer));
  }

  #stopThreads(): void {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer);
    this.#idleTimer = null;
    for (const { worker, current } of this.#threads.splice(0)) {
      worker.terminate();
      current?.reject(new Error("The server is stopping"));
    }
  }
}
