/**
 * Who is online. Spec: client-server API, "Presence".
 *
 * State lives in memory, the last of it in the database. Each device has a state: what it last asked for, while it syncs
 * and `syncOnlineTimeoutMs` after. The user's is the most present of them, but no more than `unavailable` after
 * `idleTimeoutMs` without activity. Each change takes the next position of the presence stream; readers get the changes
 * of users with whom they share a room.
 */
import type { Clock } from "../lib/clock.ts";
import { getLogger } from "../lib/log.ts";
import { Tally } from "../lib/tally.ts";
import { forbidden } from "../protocol/errors.ts";
import type { DeviceId, RoomId, UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Database } from "../storage/database.ts";
import { selectPresence, selectPresentUsers, type StoredPresence, upsertPresence } from "../storage/presence.ts";
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
    /** Rooms whose members are not shown to each other. */
    readonly excludedRooms: readonly RoomId[];
  };
  /** Called when a local user's presence changed; other servers are told by this. */
  readonly onLocalChange?: (userId: UserId) => void;
  readonly isLocal?: (userId: UserId) => boolean;
}

interface DevicePresence {
  state: PresenceState;
  /** When the device last synced or acted. */
  lastSeenTs: number;
  /** How many of its requests are waiting right now. */
  syncing: number;
}

interface Entry {
  /** As announced. */
  state: PresenceState;
  statusMsg: string | null;
  lastActiveTs: number;
  position: number;
  readonly devices: Map<DeviceId | null, DevicePresence>;
  /** Of another server, which says by itself when the user goes offline. */
  isRemote?: boolean;
}

/** A user's device; null where the user acts without one. */
export interface PresenceDevice {
  readonly userId: UserId;
  readonly deviceId: DeviceId | null;
}

const SWEEP_MS = 5_000;
/** Waking everybody who shares a room costs as much for many changes as for one. */
const GATHER_MS = 100;
/** How many users are still shown as they were when the server starts. */
const MAX_RESTORED = 100_000;
const RANK: Readonly<Record<PresenceState, number>> = { offline: 0, unavailable: 1, online: 2 };
const log = getLogger("synapse.handlers.presence");

/** Tracks and announces presence. */
export class PresenceService implements AsyncDisposable {
  readonly #deps: PresenceDeps;
  readonly #entries = new Map<UserId, Entry>();
  readonly #stop = new AbortController();
  #sweeper: Promise<void> | null = null;
  /** Users whose change has not been stored and has not woken anybody yet. */
  readonly #untold = new Map<UserId, Entry>();
  #telling: Promise<void> | null = null;
  /** What was done since the start. */
  readonly counts = { updates: 0, notified: 0, expired: 0, received: 0, activity: 0 };
  readonly reads = new Tally("type");
  readonly reasons = new Tally("locality", "reason");
  readonly transitions = new Tally("locality", "from", "to");

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
  }

  /** How many users are known. */
  get size(): number {
    return this.#entries.size;
  }

  /** Takes up what was known before the server stopped: those who do not come back go offline in due time. */
  async restore(): Promise<void> {
    const { db, clock, notifier, settings } = this.#deps;
    if (!settings.enabled) return;
    for (const stored of await selectPresentUsers(db, MAX_RESTORED)) {
      const state = PRESENCE_STATES.find((known) => known === stored.state) ?? "offline";
      const device: DevicePresence = { state, lastSeenTs: clock.now(), syncing: 0 };
      const position = notifier.position("presence");
      this.#entries.set(stored.userId, { ...newEntry(stored), state, position, devices: new Map([[null, device]]) });
    }
    this.#startSweeper();
  }

  /** Sets presence as asked by `PUT /presence/{userId}/status`. */
  async set(
    { userId, deviceId, state, statusMsg }: PresenceDevice & { state: PresenceState; statusMsg: string | null },
  ): Promise<void> {
    if (!this.#deps.settings.enabled) return;
    const entry = this.#entries.get(userId) ?? await this.#entry(userId);
    this.#see(entry, { deviceId, state });
    const changed = entry.statusMsg !== statusMsg;
    this.counts.updates++;
    entry.statusMsg = statusMsg;
    this.#update(userId, entry, { changed });
  }

  /** Takes over what another server says of its user. */
  async receive(
    { userId, state, statusMsg, lastActiveAgoMs }: {
      userId: UserId;
      state: PresenceState;
      statusMsg: string | null;
      lastActiveAgoMs: number | null;
    },
  ): Promise<void> {
    const { settings, clock } = this.#deps;
    if (!settings.enabled) return;
    this.counts.received++;
    const entry = this.#entries.get(userId) ?? await this.#entry(userId);
    const lastActiveTs = lastActiveAgoMs === null ? entry.lastActiveTs : Math.max(0, clock.now() - lastActiveAgoMs);
    const isSame = entry.state === state && entry.statusMsg === statusMsg;
    if (entry.state !== state) this.transitions.add(["remote", entry.state, state]);
    Object.assign(entry, { state, statusMsg, lastActiveTs, isRemote: true });
    if (!isSame) this.#announce(userId, entry, { locality: "remote", reason: "federation" });
  }

  /** Rooms whose members are not shown to each other. */
  get excludedRooms(): readonly RoomId[] {
    return this.#deps.settings.excludedRooms;
  }

  /** Returns the content of a local user's `m.presence`, as other servers are told; null without any. */
  contentOf(userId: UserId): JsonObject | null {
    const entry = this.#entries.get(userId);
    return entry === undefined ? null : this.#content(entry);
  }

  /** Notes that a client syncs with `set_presence`; call the result when the sync ends. */
  async beginSync({ userId, deviceId }: PresenceDevice, state: PresenceState): Promise<() => void> {
    if (!this.#deps.settings.enabled || state === "offline") return () => {};
    const entry = this.#entries.get(userId) ?? await this.#entry(userId);
    const device = this.#see(entry, { deviceId, state });
    device.syncing += 1;
    if (device.state !== entry.state) this.#update(userId, entry);
    return () => {
      device.syncing -= 1;
      device.lastSeenTs = this.#deps.clock.now();
    };
  }

  /** Notes that a user did something, such as sending a message. */
  async noteActivity({ userId, deviceId }: PresenceDevice): Promise<void> {
    if (!this.#deps.settings.enabled) return;
    const entry = this.#entries.get(userId) ?? await this.#entry(userId);
    const state = entry.devices.get(deviceId)?.state;
    // A device that shows no presence goes on doing so.
    if (state === undefined || state === "offline") return;
    this.#see(entry, { deviceId, state });
    entry.lastActiveTs = this.#deps.clock.now();
    this.counts.activity++;
    if (entry.state !== state) this.#update(userId, entry);
  }

  /** Returns a user's presence as content of `m.presence`. Throws 403 when the two share no room. */
  async get({ viewer, userId }: { viewer: UserId; userId: UserId }): Promise<JsonObject> {
    if (viewer !== userId) {
      const shared = await this.#sharing(viewer, [userId]);
      if (!shared.has(userId)) throw forbidden("You are not allowed to see their presence");
    }
    return this.#content(this.#entries.get(userId) ?? newEntry(await selectPresence(this.#deps.db, userId)));
  }

  /** Returns the `m.presence` events that `viewer` may see of what changed in `(after, upTo]`; all, when `after` is 0. */
  async between({ viewer, after, upTo }: { viewer: UserId; after: number; upTo: number }): Promise<JsonObject[]> {
    if (!this.#deps.settings.enabled || upTo <= after) return [];
    this.reads.add([after === 0 ? "full" : "stream"]);
    const candidates: UserId[] = [];
    for (const [userId, entry] of this.#entries) {
      if (entry.position <= after || entry.position > upTo) continue;
      if (after === 0 && entry.state === "offline") continue;
      candidates.push(userId);
    }
    const shared = await this.#sharing(viewer, candidates);
    return candidates.filter((userId) => userId === viewer || shared.has(userId)).flatMap((userId) => {
      const entry = this.#entries.get(userId);
      return entry ? [this.#event(userId, entry)] : [];
    });
  }

  /** Returns the `m.presence` events of all users whose presence changed in `(after, upTo]`. */
  changedBetween({ after, upTo }: { after: number; upTo: number }): { userId: UserId; event: JsonObject }[] {
    if (!this.#deps.settings.enabled || upTo <= after) return [];
    return [...this.#entries].filter(([, { position }]) => position > after && position <= upTo)
      .map(([userId, entry]) => ({ userId, event: this.#event(userId, entry) }));
  }

  /** Returns the `m.presence` events of users who are not offline, and whom `viewer` has just come to share a room with. */
  async of({ viewer, users }: { viewer: UserId; users: readonly UserId[] }): Promise<JsonObject[]> {
    const online = users.filter((userId) => (this.#entries.get(userId)?.state ?? "offline") !== "offline");
    const isOpen = this.#deps.settings.excludedRooms.length === 0;
    const shown = isOpen ? online : [...await this.#sharing(viewer, online)];
    return shown.flatMap((userId) => {
      const entry = this.#entries.get(userId);
      return entry ? [this.#event(userId, entry)] : [];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#sweeper;
    await this.#telling;
  }

  /** Returns which of `others` share a room with a user in which presence is shown. */
  #sharing(userId: UserId, others: readonly UserId[]): Promise<Set<UserId>> {
    const { db, settings } = this.#deps;
    return filterUsersSharingRoom(db, { userId, others, except: settings.excludedRooms });
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

  /** Notes that a device is there, and what it shows. */
  #see(entry: Entry, { deviceId, state }: { deviceId: DeviceId | null; state: PresenceState }): DevicePresence {
    const now = this.#deps.clock.now();
    // What stands for the devices of before a restart has done its work.
    if (deviceId !== null) entry.devices.delete(null);
    let device = entry.devices.get(deviceId);
    if (device === undefined) {
      device = { state, lastSeenTs: now, syncing: 0 };
      entry.devices.set(deviceId, device);
    }
    device.state = state;
    device.lastSeenTs = now;
    if (state === "online") entry.lastActiveTs = now;
    return device;
  }

  async #entry(userId: UserId): Promise<Entry> {
    const stored = await selectPresence(this.#deps.db, userId);
    // Another caller may have made it meanwhile.
    const raced = this.#entries.get(userId);
    if (raced) return raced;
    const entry = newEntry(stored);
    this.#entries.set(userId, entry);
    this.#startSweeper();
    return entry;
  }

  /** Forgets devices that are gone, and announces the user's state when it is another now, or something else changed. */
  #update(userId: UserId, entry: Entry, { changed = false } = {}): void {
    const { clock, settings } = this.#deps;
    const now = clock.now();
    let state: PresenceState = "offline";
    for (const [deviceId, device] of entry.devices) {
      const isGone = device.syncing === 0 && now - device.lastSeenTs > settings.syncOnlineTimeoutMs;
      if (isGone || device.state === "offline") {
        if (device.syncing === 0) entry.devices.delete(deviceId);
      } else if (RANK[device.state] > RANK[state]) {
        state = device.state;
      }
    }
    if (state === "online" && now - entry.lastActiveTs > settings.idleTimeoutMs) state = "unavailable";
    if (state === entry.state && !changed) return;
    const reason = state === entry.state ? "status_msg_change" : "state_change";
    if (state !== entry.state) this.transitions.add(["local", entry.state, state]);
    entry.state = state;
    this.#announce(userId, entry, { locality: "local", reason });
  }

  /** The change can be read at once; those who wait for changes are told a moment later, of many changes together. */
  #announce(userId: UserId, entry: Entry, why: { locality: "local" | "remote"; reason: string }): void {
    const { notifier } = this.#deps;
    this.reasons.add([why.locality, why.reason]);
    this.counts.notified++;
    entry.position = notifier.position("presence") + 1;
    notifier.advance("presence", [userId]);
    this.#untold.set(userId, entry);
    if (this.#deps.isLocal?.(userId)) this.#deps.onLocalChange?.(userId);
    this.#telling ??= this.#tell().finally(() => {
      this.#telling = null;
    });
  }

  async #tell(): Promise<void> {
    const { db, clock, notifier, settings } = this.#deps;
    while (this.#untold.size > 0) {
      await clock.sleep(GATHER_MS, this.#stop.signal);
      const changed = [...this.#untold];
      this.#untold.clear();
      try {
        await db.transaction(async (tx) => {
          for (const [userId, entry] of changed) await upsertPresence(tx, { userId, ...entry });
        });
        if (this.#stop.signal.aborted) return;
        // Who begins to wait from here on reads the change by itself.
        const users = notifier.users === 0 ? [] : await selectLocalUsersSharingRoom(db, {
          userIds: changed.map(([userId]) => userId),
          except: settings.excludedRooms,
        });
        notifier.publish("presence", notifier.position("presence"), users);
      } catch (error) {
        log.error("Presence could not be stored or told", { error });
      }
    }
  }

  #startSweeper(): void {
    this.#sweeper ??= this.#sweepLoop();
  }

  async #sweepLoop(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#deps.clock.sleep(SWEEP_MS, signal);
      if (signal.aborted) return;
      for (const [userId, entry] of this.#entries) {
        if (entry.state === "offline" || entry.isRemote) continue;
        const { state } = entry;
        this.#update(userId, entry);
        if (entry.state !== state) this.counts.expired++;
      }
    }
  }
}

function newEntry(stored: StoredPresence | null): Entry {
  return {
    state: "offline",
    statusMsg: stored?.statusMsg ?? null,
    lastActiveTs: stored?.lastActiveTs ?? 0,
    position: 0,
    devices: new Map(),
  };
}
