/**
 * How much memory the bodies of other servers' requests may take while they are read, wait for their turn and are worked
 * on. Who sends is known only once a body is there, so there is a bound for all and, from then on, one for each server: a
 * server sends one transaction at a time, and needs no more than a few.
 */
import { limitExceeded } from "../../protocol/errors.ts";
import type { ServerName } from "../../protocol/ids.ts";

/** The bounds, in bytes. */
export interface BodyBudgetOptions {
  readonly total: number;
  readonly perOrigin: number;
}

const MIB = 1024 * 1024;
/** Room for some transactions of the largest size. Parsed, a body takes a few times as much. */
export const BODY_BUDGET: BodyBudgetOptions = { total: 48 * MIB, perOrigin: 16 * MIB };
const RETRY_AFTER_MS = 2_000;

/** What one request holds of the budget. */
export interface BodyShare extends Disposable {
  /** Takes more; throws 429 when there is no more. */
  take(bytes: number): void;
  /** Says whose request it is; throws 429 when that server holds too much already. */
  assign(origin: ServerName): void;
}

/** Counts the bytes of bodies. */
export class BodyBudget {
  readonly #options: BodyBudgetOptions;
  readonly #byOrigin = new Map<ServerName, number>();
  #held = 0;

  constructor(options: BodyBudgetOptions) {
    this.#options = options;
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.#held;
  }

  /** Opens a share, which must be disposed of when the request is answered. */
  open(): BodyShare {
    let own = 0;
    let owner: ServerName | null = null;
    return {
      take: (bytes) => {
        if (this.#held + bytes > this.#options.total) throw limitExceeded(RETRY_AFTER_MS);
        this.#held += bytes;
        own += bytes;
      },
      assign: (origin) => {
        const before = this.#byOrigin.get(origin) ?? 0;
        if (before + own > this.#options.perOrigin && before > 0) throw limitExceeded(RETRY_AFTER_MS);
        owner = origin;
        if (own > 0) this.#byOrigin.set(origin, before + own);
      },
      [Symbol.dispose]: () => {
        this.#held -= own;
        if (owner !== null) this.#release(owner, own);
        own = 0;
      },
    };
  }

  #release(origin: ServerName, bytes: number): void {
    const left = (this.#byOrigin.get(origin) ?? 0) - bytes;
    if (left > 0) this.#byOrigin.set(origin, left);
    else this.#byOrigin.delete(origin);
  }
}
