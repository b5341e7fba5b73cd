/**
 * Places where two devices meet before one of them is logged in: sign-in by QR code (MSC4108, MSC4388).
 *
 * Sessions are in memory and bounded: they live for a minute or two, whoever loses one scans the code again, and what
 * anybody may write without an account must not reach the disk. With several processes one of them serves them all.
 */
import type { Clock } from "../lib/clock.ts";
import { randomString } from "../lib/random.ts";
import { notFound } from "../protocol/errors.ts";

/** The most that a session holds, in bytes. */
export const MAX_RENDEZVOUS_BYTES = 4_096;

/** What the service is built from. */
export interface RendezvousDeps {
  readonly clock: Clock;
  readonly lifetimeMs: number;
  /** Beyond it the oldest session goes. */
  readonly maxSessions: number;
}

/** A session as it is after a write. */
export interface RendezvousSession<T> {
  readonly id: string;
  readonly data: T;
  /** Another one for each write. */
  readonly token: string;
  readonly modifiedTs: number;
  readonly expiresTs: number;
}

const ID_LENGTH = 32;
const TOKEN_LENGTH = 22;

/** Keeps sessions until they expire. */
export class RendezvousSessions<T> {
  readonly #deps: RendezvousDeps;
  /** The oldest first, as all live equally long. */
  readonly #sessions = new Map<string, RendezvousSession<T>>();

  constructor(deps: RendezvousDeps) {
    this.#deps = deps;
  }

  /** Makes a session. */
  create(data: T): RendezvousSession<T> {
    this.#makeRoom();
    const now = this.#deps.clock.now();
    const expiresTs = now + this.#deps.lifetimeMs;
    const session = { id: randomString(ID_LENGTH), data, token: newToken(), modifiedTs: now, expiresTs };
    this.#sessions.set(session.id, session);
    return session;
  }

  /** Returns a session. Throws 404 for one that is unknown or has expired. */
  get(id: string): RendezvousSession<T> {
    const session = this.#sessions.get(id);
    if (session !== undefined && session.expiresTs > this.#deps.clock.now()) return session;
    this.#sessions.delete(id);
    throw notFound("Rendezvous session not found");
  }

  /** Replaces what a session holds, and returns it as it is then; null when it is not at `token` any more. */
  replace(id: string, { token, data }: { token: string; data: T }): RendezvousSession<T> | null {
    const session = this.get(id);
    if (session.token !== token) return null;
    const replaced = { ...session, data, token: newToken(), modifiedTs: this.#deps.clock.now() };
    this.#sessions.set(id, replaced);
    return replaced;
  }

  /** Ends a session. Throws 404 as `get` does. */
  delete(id: string): void {
    this.get(id);
    this.#sessions.delete(id);
  }

  /** Returns how long a session still lives, in milliseconds. */
  timeLeft({ expiresTs }: RendezvousSession<T>): number {
    return Math.max(0, expiresTs - this.#deps.clock.now());
  }

  #makeRoom(): void {
    const now = this.#deps.clock.now();
    for (const { id, expiresTs } of this.#sessions.values()) {
      if (expiresTs > now && this.#sessions.size < this.#deps.maxSessions) return;
      this.#sessions.delete(id);
    }
  }
}

function newToken(): string {
  return randomString(TOKEN_LENGTH);
}
