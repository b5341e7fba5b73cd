/**
 * Where and when users were last seen: gathered in memory and written in batches, so that no request waits for it.
 *
 * A crash loses at most one interval of it, which nobody is told was kept.
 */
import type { Clock } from "../lib/clock.ts";
import type { DeviceId } from "../protocol/ids.ts";
import type { Database } from "../storage/database.ts";
import { deleteOldSightings, type Sighting, writeSightings } from "../storage/devices.ts";
import type { Session } from "./tokens.ts";

const MAX_USER_AGENT_LENGTH = 512;
/** A device seen again at the same address this soon is not noted again. */
const GRANULARITY_MS = 120_000;
const MAX_PENDING = 10_000;
const MAX_RECENT = 20_000;
/** An administrator who acts as a user has no device. */
const NO_DEVICE = "" as DeviceId;

/** Notes sightings. */
export class LastSeen {
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #recent = new Map<string, { ip: string; at: number }>();
  readonly #tracksPuppetedUsers: boolean;
  #pending: Sighting[] = [];

  constructor(
    { db, clock, tracksPuppetedUsers = false }: {
      db: Database;
      clock: Clock;
      /** Whether users are seen where an administrator acts as them: `track_puppeted_user_ips`. */
      tracksPuppetedUsers?: boolean;
    },
  ) {
    this.#tracksPuppetedUsers = tracksPuppetedUsers;
    this.#db = db;
    this.#clock = clock;
  }

  /** Tells whether a request by this session from this address is news; cheap enough to ask on every request. */
  isDue(session: Session, ip: string): boolean {
    const recent = this.#recent.get(session.tokenHash);
    return recent === undefined || recent.ip !== ip || this.#clock.monotonic() - recent.at >= GRANULARITY_MS;
  }

  /** Notes a sighting for the next batch. */
  note(session: Session, { ip, userAgent }: { ip: string; userAgent: string }): void {
    const { userId, deviceId } = session.requester;
    if (this.#recent.size >= MAX_RECENT) this.#recent.clear();
    this.#recent.set(session.tokenHash, { ip, at: this.#clock.monotonic() });
    if (this.#pending.length >= MAX_PENDING) return;
    const seen = { ip, userAgent: userAgent.slice(0, MAX_USER_AGENT_LENGTH), seenTs: this.#clock.now() };
    const puppetedBy = session.puppetedBy ?? null;
    if (puppetedBy !== null) this.#pending.push({ ...seen, userId: puppetedBy, deviceId: NO_DEVICE });
    const isNoted = puppetedBy === null ? deviceId !== null : this.#tracksPuppetedUsers;
    if (isNoted) this.#pending.push({ ...seen, userId, deviceId: deviceId ?? NO_DEVICE });
  }

  /** Writes what was noted; called every few seconds and at shutdown. */
  async flush(): Promise<void> {
    if (this.#pending.length === 0) return;
    const batch = this.#pending;
    this.#pending = [];
    await this.#db.transaction((tx) => writeSightings(tx, batch));
  }

  /** Forgets addresses where nobody was seen for `maxAgeMs`, some at a time. */
  async prune(maxAgeMs: number): Promise<void> {
    const before = this.#clock.now() - maxAgeMs;
    await this.#db.transaction((tx) => deleteOldSightings(tx, before));
  }
}
