/** Posts to a collector of reports or traces, in the background: one at a time, few waiting, none tried again. */

/** A body with what it is. */
export interface Posting {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const MAX_WAITING = 20;
const ANSWER_LIMIT_MS = 5_000;
const FLUSH_LIMIT_MS = 3_000;
/** A collector that refuses or does not answer is left alone for this long. */
const PAUSE_MS = 60_000;

/** Sends what it is given, or drops it: a collector must never hold up the server. */
export class BackgroundPost {
  readonly #waiting: Posting[] = [];
  #sending: Promise<void> | null = null;
  #pausedUntil = 0;
  #dropped = 0;

  /** How many were dropped, waiting or refused. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Queues a posting. */
  add(posting: Posting): void {
    if (this.#waiting.length >= MAX_WAITING || performance.now() < this.#pausedUntil) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(posting);
    this.#sending ??= this.#sendAll();
  }

  /** Resolves once nothing is waiting, or after a while: the server is about to end. */
  async flush(): Promise<void> {
    if (this.#sending === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, FLUSH_LIMIT_MS));
    await Promise.race([this.#sending, limit]);
    clearTimeout(timer);
  }

  async #sendAll(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (await isTaken(next)) continue;
      this.#dropped += 1 + this.#waiting.length;
      this.#waiting.length = 0;
      this.#pausedUntil = performance.now() + PAUSE_MS;
    }
    this.#sending = null;
  }
}

async function isTaken({ url, headers, body }: Posting): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(ANSWER_LIMIT_MS);
    const response = await fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
    await response.body?.cancel();
    return response.status < 400 && response.status >= 200;
  } catch {
    return false;
  }
}
