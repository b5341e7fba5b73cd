/**
 * How many bytes of other servers' media each address may have fetched, by Synapse's `remote_media_download_*`. What is
 * kept already costs nothing.
 */
import type { Clock } from "../lib/clock.ts";
import { limitExceeded } from "../protocol/errors.ts";

/** What a quota is made of. */
export interface DownloadQuotaDeps {
  readonly clock: Clock;
  /** Bytes that an address may have at once. */
  readonly burst: number;
  readonly perSecond: number;
}

interface Account {
  /** Bytes left; below zero after a file that was larger than what was left. */
  left: number;
  updated: number;
}

const MIN_SWEEP_SIZE = 1_024;

/** Counts bytes by address. */
export class DownloadQuota {
  readonly #deps: DownloadQuotaDeps;
  readonly #accounts = new Map<string, Account>();
  #sweepAt = MIN_SWEEP_SIZE;

  constructor(deps: DownloadQuotaDeps) {
    this.#deps = deps;
  }

  /** Throws 429 for an address that has nothing left: the size of a file is known only once it is here. */
  assertSomeLeft(address: string): void {
    const { perSecond } = this.#deps;
    const left = this.#left(address);
    if (left > 0) return;
    throw limitExceeded(perSecond > 0 ? ((1 - left) / perSecond) * 1_000 : 86_400_000);
  }

  /** Notes what an address had fetched. */
  take(address: string, bytes: number): void {
    const left = this.#left(address) - bytes;
    this.#accounts.set(address, { left, updated: this.#deps.clock.monotonic() });
    if (this.#accounts.size >= this.#sweepAt) this.#sweep();
  }

  #left(address: string): number {
    const { clock, burst, perSecond } = this.#deps;
    const account = this.#accounts.get(address);
    if (account === undefined) return burst;
    return Math.min(burst, account.left + ((clock.monotonic() - account.updated) / 1_000) * perSecond);
  }

  #sweep(): void {
    for (const address of [...this.#accounts.keys()]) {
      if (this.#left(address) >= this.#deps.burst) this.#accounts.delete(address);
    }
    this.#sweepAt = Math.max(MIN_SWEEP_SIZE, this.#accounts.size * 2);
  }
}
