/**
 * Leaving servers alone that fail: after each failure for longer, until they answer or speak to us. Kept in the database,
 * so that a restart does not try thousands of dead servers at once.
 */
import type { Clock } from "../lib/clock.ts";
import { LruCache } from "../lib/lru.ts";
import type { ServerName } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import {
  clearDestinationFailure,
  type DestinationFailure,
  selectDestinationFailure,
  upsertDestinationFailure,
} from "../storage/destinations.ts";

/** `federation.destination_*` of the configuration, in milliseconds. */
export interface BackoffOptions {
  readonly minRetryIntervalMs: number;
  readonly retryMultiplier: number;
  readonly maxRetryIntervalMs: number;
}

/** What backoff is built from. */
export interface BackoffDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly options: BackoffOptions;
  /** A number from 0 up to 1, which spreads the times of retries. */
  readonly random: () => number;
}

interface Cached {
  readonly failure: DestinationFailure | null;
  readonly loadedAt: number;
}

const MAX_CACHED = 20_000;
/** Other processes may note failures too, so what was read is looked up again after this. */
const CACHE_MS = 60_000;

/** Remembers failing servers. */
export class Backoff {
  readonly #deps: BackoffDeps;
  readonly #cache = new LruCache<ServerName, Cached>({ name: "federation_backoff", maxEntries: MAX_CACHED });
  readonly #onAlive: ((server: ServerName) => void)[] = [];

  constructor(deps: BackoffDeps) {
    this.#deps = deps;
  }

  /** Calls `callback` whenever a failing server turns out to work again. */
  onAlive(callback: (server: ServerName) => void): void {
    this.#onAlive.push(callback);
  }

  /** Returns for how many milliseconds the server should still be left alone: 0 when it may be asked. */
  async waitMs(server: ServerName): Promise<number> {
    const failure = await this.#load(server);
    if (failure === null) return 0;
    return Math.max(0, failure.lastFailureTs + failure.retryIntervalMs - this.#deps.clock.now());
  }

  /** Notes that a request begun at `startedAt` failed. Requests that fail side by side count once. */
  async noteFailure(server: ServerName, startedAt: number): Promise<void> {
    const known = await this.#load(server);
    if (known !== null && known.lastFailureTs >= startedAt) return;
    const now = this.#deps.clock.now();
    const failure = {
      failingSinceTs: known?.failingSinceTs ?? now,
      lastFailureTs: now,
      retryIntervalMs: this.#nextInterval(known),
    };
    this.#cache.set(server, { failure, loadedAt: now });
    await this.#deps.db.transaction((tx) => upsertDestinationFailure(tx, { destination: server, failure }));
  }

  /** Notes that the server answered, or spoke to us. Costs nothing while it is not failing. */
  async noteAlive(server: ServerName): Promise<void> {
    const known = await this.#load(server);
    if (known === null) return;
    this.#cache.set(server, { failure: null, loadedAt: this.#deps.clock.now() });
    await this.#deps.db.transaction((tx) => clearDestinationFailure(tx, server));
    for (const callback of this.#onAlive) callback(server);
  }

  async #load(server: ServerName): Promise<DestinationFailure | null> {
    const now = this.#deps.clock.now();
    const cached = this.#cache.get(server);
    if (cached !== undefined && now - cached.loadedAt < CACHE_MS) return cached.failure;
    const failure = await selectDestinationFailure(this.#deps.db, server);
    this.#cache.set(server, { failure, loadedAt: now });
    return failure;
  }

  #nextInterval(known: DestinationFailure | null): number {
    const { minRetryIntervalMs, retryMultiplier, maxRetryIntervalMs } = this.#deps.options;
    if (known === null) return minRetryIntervalMs;
    const spread = 0.8 + this.#deps.random() * 0.6;
    const grown = Math.round(known.retryIntervalMs * retryMultiplier * spread);
    return Math.min(maxRetryIntervalMs, Math.max(minRetryIntervalMs, grown));
  }
}
