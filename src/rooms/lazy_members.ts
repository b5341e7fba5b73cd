/**
 * Member events for lazy loading: those of the senders of what is shown, and no others.
 * Spec: client-server API, "Lazy-loading room members".
 */
import { LruCache } from "../lib/lru.ts";
import { type StateKey, stateKeyOf } from "../protocol/event.ts";
import type { DeviceId, UserId } from "../protocol/ids.ts";
import type { StateReader } from "./state_reader.ts";
import type { StoredEvent } from "./types.ts";

/** Finds the member events that go with a timeline. */
export class MemberLoader {
  readonly #state: StateReader;

  constructor({ state }: { state: StateReader }) {
    this.#state = state;
  }

  /** Returns the membership of each sender, `before` or `after` the last of the events as listed. */
  async membersFor(events: readonly StoredEvent[], when: "before" | "after"): Promise<StoredEvent[]> {
    const last = events[events.length - 1];
    const root = when === "before" ? last?.stateBefore : last?.stateAfter;
    if (root === undefined || root === null) return [];
    const senders = new Set(events.map(({ event }) => event.sender));
    const found = await this.at(root, senders);
    // Someone who joined within these events is not in the state before them.
    const known = new Set(found.map(({ event }) => event.stateKey));
    const missing = [...senders].filter((sender) => !known.has(sender));
    if (missing.length === 0) return found;
    const newest = when === "before" ? events[0] : last;
    const later = newest?.stateAfter ?? null;
    return later === null ? found : [...found, ...await this.at(later, missing)];
  }

  /** Returns the member events of these users in a state. */
  async at(root: number, users: Iterable<UserId>): Promise<StoredEvent[]> {
    const keys: StateKey[] = [];
    for (const user of users) keys.push(stateKeyOf("m.room.member", user));
    return [...(await this.#state.getMany(root, keys)).values()];
  }
}

/** A device as the memory of sent members knows it. */
export interface SyncDevice {
  readonly userId: UserId;
  readonly deviceId: DeviceId | null;
}

const REMEMBERED_DEVICES = 1_000;
const REMEMBERED_MEMBERS = 2_000;

/**
 * Remembers which member events each device was sent of late, so that lazy loading can leave them out. Kept in memory:
 * what is forgotten is merely sent again.
 */
export class SentMembers {
  readonly #devices = new LruCache<string, Set<number>>({
    name: "lazy_loaded_members",
    maxEntries: REMEMBERED_DEVICES,
  });

  /** Forgets a device, as when it starts over with an initial sync. */
  reset(device: SyncDevice): void {
    this.#devices.delete(keyOf(device));
  }

  /** Returns those of the member events that the device was not sent yet. */
  unsent(device: SyncDevice, members: readonly StoredEvent[]): StoredEvent[] {
    const sent = this.#devices.get(keyOf(device));
    return sent === undefined ? [...members] : members.filter(({ nid }) => !sent.has(nid));
  }

  /** Notes that the device is sent these member events. */
  note(device: SyncDevice, members: readonly StoredEvent[]): void {
    if (members.length === 0) return;
    const key = keyOf(device);
    let sent = this.#devices.get(key);
    if (sent === undefined) {
      sent = new Set();
      this.#devices.set(key, sent);
    }
    for (const { nid } of members) sent.add(nid);
    for (const nid of sent) {
      if (sent.size <= REMEMBERED_MEMBERS) break;
      sent.delete(nid);
    }
  }
}

function keyOf({ userId, deviceId }: SyncDevice): string {
  return `${userId} ${deviceId ?? ""}`;
}
