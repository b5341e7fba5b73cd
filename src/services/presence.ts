/**
 * Who is online. Spec: client-server API, "Presence".
 *
 * State lives in memory, the last of it in the database. A user is online while a client syncs or acts, `unavailable`
 * after `idleTimeoutMs` without activity, `offline` once no client has synced for `syncOnlineTimeoutMs`. Each change
 * takes the next position of the presence stream; readers get the changes of users with whom they share a room.
 */
import type { Clock } from "../lib/clock.ts";
import { getLogger } from "../lib/log.ts";
import { forbidden } from "../protocol/errors.ts";
import type { UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { selectPresence, upsertPresence } from "../storage/presence.ts";
import { filterUsersSharingRoom, selectLocalUsersSharingRoom } from "../storage/shared_rooms.ts";
import type { Notifier } from "../streams/notifier.ts";

/** The states of the spec. */
export const PRESENCE_STATES = ["online", "unavailable", "offline"] as const;
/** One of `PRESENCE_STATES`. */
export type PresenceState = typeof PRESENCE_STATES[number];

/** What the service is built from. */
export interface PresenceDeps {
  readonly db: Database;
  readonly clock: Clock;
  readonly notifier: Notifier;
  readonly settings: {
    readonly enabled: boolean;
    readonly lastActiveGranularityMs: number;
    readonly syncOnlineTimeoutMs: number;
    readonly idleTimeoutMs: number;
  };
}

interface Entry {
  state: PresenceState;
  statusMsg: string | null;
  lastActiveTs: number;
  /** When a client last synced or acted; 0 when not since the server started. */
  lastSyncTs: number;
  /** Chosen by the user: kept until the user chooses again or goes offline. */
  chosenUnavailable: boolean;
  position: number;
  syncing: number;
}

const SWEEP_MS = 5_000;
/** Waking everybody who shares a room costs as much for many changes as for one. */
const GATHER_MS = 100;
const log = getLogger("synapse.handlers.presence");

/** Tracks and announces presence. */
export class PresenceService implements AsyncDisposable {
  readonly #deps: PresenceDeps;
  readonly #entries = new Map<UserId, Entry>();
  readonly #stop = new AbortController();
  #sweeper: Promise<void> | null = null;
  /** Users whose change has not woken anybody yet. */
  readonly #untold = new Set<UserId>();
  #telling: Promise<void> | null = null;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
  }

  /** Sets presence as asked by `PUT /presence/{userId}/status`. */
  async set(
    { userId, state, statusMsg }: { userId: UserId; state: PresenceState; statusMsg: string | null },
  ): Promise<void> {
    if (!this.#deps.settings.enabled) return;
    const entry = await this.#entry(userId);
    const now = this.#deps.clock.now();
    const changed = entry.state !== state || entry.statusMsg !== statusMsg;
    entry.statusMsg = statusMsg;
    entry.chosenUnavailable = state === "unavailable";
    if (state !== "offline") {
      entry.lastSyncTs = now;
      if (state === "online") entry.lastActiveTs = now;
    }
    if (changed) this.#change(userId, entry, state);
  }

  /** Notes that a client syncs with `set_presence`; call the result when the sync ends. */
  async beginSync(userId: UserId, state: PresenceState): Promise<() => void> {
    if (!this.#deps.settings.enabled || state === "offline") return () => {};
    const entry = this.#entries.get(userId) ?? await this.#entry(userId);
    const now = this.#deps.clock.now();
    const isOnlyClient = entry.syncing === 0;
    entry.syncing += 1;
    entry.lastSyncTs = now;
    if (state === "online" && !entry.chosenUnavailable) {
      if (now - entry.lastActiveTs > this.#deps.settings.lastActiveGranularityMs) entry.lastActiveTs = now;
      if (entry.state !== "online") this.#change(userId, entry, "online");
    } else if (
      state === "unavailable" && entry.state !== "unavailable" && (isOnlyClient || entry.state === "offline")
    ) {
      this.#change(userId, entry, "unavailable");
    }
    return () => {
      entry.syncing -= 1;
      entry.lastSyncTs = this.#deps.clock.now();
    };
  }

  /** Notes that a user did something, such as sending a message. */
  async noteActivity(userId: UserId): Promise<void> {
    if (!this.#deps.settings.enabled) return;
    const entry = this.#entries.get(userId) ?? await this.#entry(userId);
    entry.lastActiveTs = entry.lastSyncTs = this.#deps.clock.now();
    if (entry.state === "unavailable" && !entry.chosenUnavailable) this.#change(userId, entry, "online");
  }

  /** Returns a user's presence as content of `m.presence`. Throws 403 when the two share no room. */
  async get({ viewer, userId }: { viewer: UserId; userId: UserId }): Promise<JsonObject> {
    if (viewer !== userId) {
      const shared = await filterUsersSharingRoom(this.#deps.db, { userId: viewer, others: [userId] });
      if (!shared.has(userId)) throw forbidden("You are not allowed to see their presence");
    }
    return this.#content(await this.#entry(userId));
  }

  /** Returns the `m.presence` events that `viewer` may see of what changed in `(after, upTo]`; all, when `after` is 0. */
  async between({ viewer, after, upTo }: { viewer: UserId; after: number; upTo: number }): Promise<JsonObject[]> {
    if (!this.#deps.settings.enabled || upTo <= after) return [];
    const candidates: UserId[] = [];
    for (const [userId, entry] of this.#entries) {
      if (entry.position <= after || entry.position > upTo) continue;
      if (after === 0 && entry.state === "offline") continue;
      candidates.push(userId);
    }
    const shared = await filterUsersSharingRoom(this.#deps.db, { userId: viewer, others: candidates });
    return candidates.filter((userId) => userId === viewer || shared.has(userId)).flatMap((userId) => {
      const entry = this.#entries.get(userId);
      return entry ? [this.#event(userId, entry)] : [];
    });
  }

  /** Returns the `m.presence` events of users who are not offline. */
  of(users: readonly UserId[]): Promise<JsonObject[]> {
    const online = users.flatMap((userId) => {
      const entry = this.#entries.get(userId);
      return entry && entry.state !== "offline" ? [this.#event(userId, entry)] : [];
    });
    return Promise.resolve(online);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#sweeper;
    await this.#telling;
  }

  #event(userId: UserId, entry: Entry): JsonObject {
    return { type: "m.presence", sender: userId, content: this.#content(entry) };
  }

  #content(entry: Entry): JsonObject {
    const now = this.#deps.clock.now();
    const content: JsonObject = { presence: entry.state };
    if (entry.lastActiveTs > 0) content.last_active_ago = Math.max(0, now - entry.lastActiveTs);
    if (entry.statusMsg !== null) content.status_msg = entry.statusMsg;
    if (entry.state === "online") {
      content.currently_active = now - entry.lastActiveTs <= this.#deps.settings.lastActiveGranularityMs;
    }
    return content;
  }

  async #entry(userId: UserId): Promise<Entry> {
    const known = this.#entries.get(userId);
    if (known) return known;
    const stored = await selectPresence(this.#deps.db, userId);
    // Another caller may have made it meanwhile.
    const raced = this.#entries.get(userId);
    if (raced) return raced;
    const entry: Entry = {
      state: "offline",
      statusMsg: stored?.statusMsg ?? null,
      lastActiveTs: stored?.lastActiveTs ?? 0,
      lastSyncTs: 0,
      chosenUnavailable: false,
      position: 0,
      syncing: 0,
    };
    this.#entries.set(userId, entry);
    this.#sweeper ??= this.#sweepLoop();
    return entry;
  }

  /** The change can be read at once; those who wait for changes are told a moment later, of many changes together. */
  #change(userId: UserId, entry: Entry, state: PresenceState): void {
    entry.state = state;
    entry.position = this.#deps.notifier.position("presence") + 1;
    this.#deps.notifier.advance("presence", [userId]);
    this.#untold.add(userId);
    this.#telling ??= this.#tell().finally(() => {
      this.#telling = null;
    });
    this.#persist(userId, entry);
  }

  async #tell(): Promise<void> {
    const { db, clock, notifier } = this.#deps;
    while (this.#untold.size > 0) {
      await clock.sleep(GATHER_MS, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      const changed = [...this.#untold];
      this.#untold.clear();
      try {
        const users = await selectLocalUsersSharingRoom(db, changed);
        notifier.publish("presence", notifier.position("presence"), users);
      } catch (error) {
        log.error("Who is to be told of presence could not be read", { error });
      }
    }
  }

  /** Writes in the background: presence is not worth making a request wait for the disk. */
  #persist(userId: UserId, { state, statusMsg, lastActiveTs }: Entry): void {
    this.#deps.db.transaction((tx) => upsertPresence(tx, { userId, state, statusMsg, lastActiveTs }))
      .catch((error) => {
        if (!this.#stop.signal.aborted) log.warn("Presence was not stored", { userId, error: String(error) });
      });
  }

  async #sweepLoop(): Promise<void> {
    const { clock, settings } = this.#deps;
    while (!this.#stop.signal.aborted) {
      await clock.sleep(SWEEP_MS, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      const now = clock.now();
      for (const [userId, entry] of this.#entries) {
        if (entry.state === "offline") continue;
        if (entry.syncing === 0 && now - entry.lastSyncTs > settings.syncOnlineTimeoutMs) {
          entry.chosenUnavailable = false;
          this.#change(userId, entry, "offline");
        } else if (entry.state === "online" && now - entry.lastActiveTs > settings.idleTimeoutMs) {
          this.#change(userId, entry, "unavailable");
        }
      }
    }
  }
}
