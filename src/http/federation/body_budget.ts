/**
 * How much memory the bodies of other servers' requests may take while they wait for their turn and are worked on. What
 * is still arriving counts elsewhere, for nobody knows yet whether it comes from the server that it says: see
 * `middleware/arriving_bodies.ts`. A server sends one transaction at a time, and needs no more than a few.
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

  /** Holds a body until it is disposed of; throws 429 when that server, or all together, hold too much already. */
  hold(origin: ServerName, bytes: number): Disposable {
    const before = this.#byOrigin.get(origin) ?? 0;
    const { total, perOrigin } = this.#options;
    if (this.#held + bytes > total) throw limitExceeded(RETRY_AFTER_MS);
    if (before > 0 && before + bytes > perOrigin) throw limitExceeded(RETRY_AFTER_MS);
    this.#add(origin, bytes);
    let own = bytes;
    return {
      [Symbol.dispose]: () => {
        this.#add(origin, -own);
        own = 0;
      },
    };
  }

  #add(origin: ServerName, bytes: number): void {
    this.#held += bytes;
    const ofOrigin = (this.#byOrigin.get(origin) ?? 0) + bytes;
    if (ofOrigin > 0) this.#byOrigin.set(origin, ofOrigin);
    else this.#byOrigin.delete(origin);
  }
}
