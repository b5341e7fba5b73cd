/**
 * How long rooms keep messages: `m.room.retention` in the rooms' state, and the server's own policy.
 * https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/1763-configurable-retention-periods.md
 *
 * The policies of all rooms are in memory, for each message that is shown is held against one.
 */
import type { JsonObject, JsonValue } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import { selectRetentionEvents } from "../storage/history_purge.ts";
import type { PersistHandler } from "./pending.ts";
import type { StoredEvent } from "./types.ts";

/** The option `retention`. */
export interface RetentionOptions {
  readonly enabled: boolean;
  readonly defaultPolicy: { readonly minLifetime: number | null; readonly maxLifetime: number | null };
  readonly allowedLifetimeMin: number | null;
  readonly allowedLifetimeMax: number | null;
}

const PAGE = 1_000;

/** The type of the state event. */
export const RETENTION_TYPE = "m.room.retention";

/** Knows the policies. */
export class RetentionPolicies {
  readonly #options: RetentionOptions;
  /** `max_lifetime` of rooms that say one. */
  readonly #own = new Map<number, number>();

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Whether old messages are hidden and deleted at all. */
  get isEnabled(): boolean {
    return this.#options.enabled;
  }

  /** Rooms that have a policy of their own. */
  get roomsWithPolicy(): ReadonlySet<number> {
    return new Set(this.#own.keys());
  }

  /** The longest time that messages of rooms without a policy are kept; null is for ever. */
  get defaultMaxLifetime(): number | null {
    return this.#options.defaultPolicy.maxLifetime;
  }

  /** Reads the policies of all rooms. Called before the server starts. */
  async load(db: Db): Promise<void> {
    for (let after = 0;;) {
      const found = await selectRetentionEvents(db, { after, limit: PAGE });
      for (const { roomNid, json } of found) this.#note(roomNid, (JSON.parse(json) as JsonObject)["content"]);
      if (found.length < PAGE) return;
      after = found.at(-1)?.roomNid ?? 0;
    }
  }

  /** Follows changes of the policies. */
  readonly onPersist: PersistHandler = (tx, { room, events }) => {
    const changes = events.flatMap(({ deltas }) => deltas.ofType(RETENTION_TYPE))
      .filter(({ stateKey }) => stateKey === "");
    const last = changes.at(-1);
    if (last !== undefined) tx.afterCommit(() => this.#note(room.roomNid, last.after?.event.content));
    return Promise.resolve();
  };

  /** Tells whether a message is too old to be shown. State never is. */
  isExpired({ roomNid, event }: StoredEvent, now: number): boolean {
    if (!this.#options.enabled || event.stateKey !== null) return false;
    const { allowedLifetimeMax: most } = this.#options;
    const lifetime = this.maxLifetime(roomNid);
    if (lifetime === null) return false;
    return event.originServerTs < now - (most === null ? lifetime : Math.min(lifetime, most));
  }

  /** Returns what a room's policy, or else the server's, says; null is for ever. */
  maxLifetime(roomNid: number): number | null {
    return this.#own.get(roomNid) ?? this.#options.defaultPolicy.maxLifetime;
  }

  /** Returns after what time messages of a room are deleted: what its policy says, within what the operator allows. */
  purgeAge(roomNid: number): number | null {
    const { allowedLifetimeMin: least, allowedLifetimeMax: most } = this.#options;
    const lifetime = this.maxLifetime(roomNid);
    if (lifetime === null) return null;
    return Math.min(Math.max(lifetime, least ?? 0), most ?? Infinity);
  }

  #note(roomNid: number, content: JsonValue | Readonly<JsonObject> | undefined): void {
    const max = (content as JsonObject | undefined)?.["max_lifetime"];
    // Zero says nothing, as in Synapse.
    if (typeof max === "number" && Number.isSafeInteger(max) && max > 0) this.#own.set(roomNid, max);
    else this.#own.delete(roomNid);
  }
}
