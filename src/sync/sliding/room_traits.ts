/** What lists are filtered by that belongs to the room: its type, its encryption, its name. Kept in memory. */
import { LruCache } from "../../lib/lru.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../protocol/json.ts";
import type { LocalMembership } from "../../rooms/local_memberships.ts";
import type { PersistedBatch } from "../../rooms/pending.ts";
import type { Db, Tx } from "../../storage/database.ts";
import { selectRoomTraits } from "../../storage/sliding_sync.ts";

/** What a room is, as far as filters ask. */
export interface RoomTraits {
  /** Null for a room without a type. */
  readonly roomType: string | null;
  readonly isEncrypted: boolean;
  /** Lower case; null for a room without a name. */
  readonly name: string | null;
}

const TYPES = ["m.room.create", "m.room.encryption", "m.room.name"] as const;
const CACHED_ROOMS = 20_000;
const CACHED_INVITES = 5_000;
const PAGE = 500;

/** Reads the traits of rooms. */
export class RoomTraitsReader {
  readonly #db: Db;
  readonly #known = new LruCache<number, RoomTraits>({ name: "sliding_room_traits", maxEntries: CACHED_ROOMS });
  /** By the event that invited. */
  readonly #stripped = new LruCache<number, RoomTraits>({ maxEntries: CACHED_INVITES });
  #writes = 0;

  constructor({ db }: { db: Db }) {
    this.#db = db;
  }

  /** The engine's handler: forgets what a batch changed, after its commit. */
  readonly onPersist = (tx: Tx, { room, events }: PersistedBatch): Promise<void> => {
    if (
      events.some(({ deltas, redacts }) => redacts !== null || TYPES.some((type) => deltas.ofType(type).length > 0))
    ) {
      tx.afterCommit(() => {
        this.#writes++;
        this.#known.delete(room.roomNid);
      });
    }
    return Promise.resolve();
  };

  /** Forgets a room whose state was replaced. */
  drop(roomNid: number): void {
    this.#writes++;
    this.#known.delete(roomNid);
  }

  /** Returns the traits of rooms, by the rooms' numeric ids. */
  async of(entries: readonly LocalMembership[]): Promise<ReadonlyMap<number, RoomTraits>> {
    const found = new Map<number, RoomTraits>();
    const missing: number[] = [];
    for (const entry of entries) {
      const known = entry.strippedState === null ? this.#known.get(entry.roomNid) : this.#ofStripped(entry);
      if (known === undefined) missing.push(entry.roomNid);
      else found.set(entry.roomNid, known);
    }
    for (let from = 0; from < missing.length; from += PAGE) await this.#load(missing.slice(from, from + PAGE), found);
    return found;
  }

  async #load(roomNids: readonly number[], found: Map<number, RoomTraits>): Promise<void> {
    const writes = this.#writes;
    const contents = new Map<number, Map<string, JsonObject>>();
    for (const roomNid of roomNids) contents.set(roomNid, new Map());
    for (const { roomNid, type, json } of await selectRoomTraits(this.#db, roomNids)) {
      const event: unknown = JSON.parse(json);
      if (isJsonObject(event) && isJsonObject(event.content)) contents.get(roomNid)?.set(type, event.content);
    }
    for (const [roomNid, byType] of contents) {
      const traits = traitsOf(byType);
      found.set(roomNid, traits);
      if (writes === this.#writes) this.#known.set(roomNid, traits);
    }
  }

  #ofStripped({ eventNid, strippedState }: LocalMembership): RoomTraits {
    const known = this.#stripped.get(eventNid);
    if (known !== undefined) return known;
    const byType = new Map<string, JsonObject>();
    const events: unknown = JSON.parse(strippedState ?? "[]");
    for (const event of Array.isArray(events) ? events as JsonValue[] : []) {
      if (!isJsonObject(event) || event.state_key !== "" || typeof event.type !== "string") continue;
      if (isJsonObject(event.content)) byType.set(event.type, event.content);
    }
    const traits = traitsOf(byType);
    this.#stripped.set(eventNid, traits);
    return traits;
  }
}

function traitsOf(byType: ReadonlyMap<string, JsonObject>): RoomTraits {
  const roomType = byType.get("m.room.create")?.type;
  const name = byType.get("m.room.name")?.name;
  return {
    roomType: typeof roomType === "string" ? roomType : null,
    isEncrypted: byType.has("m.room.encryption"),
    name: typeof name === "string" && name !== "" ? name.toLowerCase() : null,
  };
}
