/**
 * Which servers are in a room now.
 *
 * What is kept belongs to a root of the state tree. When the room's root is another one, only what differs between the two
 * is looked at, so the cost follows the changes and a copy is never out of date, whoever wrote to the room.
 */
import { LruCache } from "../lib/lru.ts";
import type { RoomId, ServerName } from "../protocol/ids.ts";
import { serverNameOf } from "../protocol/ids.ts";
import type { Db } from "../storage/database.ts";
import { selectJoinedHosts } from "../storage/federation_rooms.ts";
import { selectPartialRoom } from "../storage/partial_rooms.ts";
import type { EventStore } from "./event_store.ts";
import type { StateReader } from "./state_reader.ts";
import type { StoredEvent } from "./types.ts";

/** What hosts are read from. */
export interface RoomHostsDeps {
  readonly db: Db;
  readonly events: EventStore;
  readonly state: StateReader;
}

interface Held {
  root: number;
  readonly members: Map<ServerName, number>;
  readonly isPartial: boolean;
}

const MAX_HELD_HOSTS = 500_000;
/** Past this many changes it is cheaper to count anew. */
const MAX_CHANGES = 5_000;

/** Counts the joined members of servers. */
export class RoomHosts {
  readonly #deps: RoomHostsDeps;
  readonly #rooms = new LruCache<number, Held>({
    name: "room_hosts",
    maxBytes: MAX_HELD_HOSTS,
    sizeOf: ({ members }) => members.size + 1,
  });

  constructor(deps: RoomHostsDeps) {
    this.#deps = deps;
  }

  /** Returns the servers with joined members; empty for an unknown room. Read it without waiting in between. */
  async inRoom(roomId: RoomId): Promise<ReadonlyMap<ServerName, number>> {
    const root = await this.#deps.state.currentRoot(roomId);
    const room = root === null ? null : await this.#deps.events.roomById(roomId);
    if (root === null || room === null) return new Map();
    const held = this.#rooms.get(room.roomNid);
    if (held?.root === root) return held.members;
    const next = held === undefined ? null : await this.#update(held, root);
    return (next ?? await this.#load(room.roomNid)).members;
  }

  /** Tells whether a server has joined members. */
  async isInRoom(roomId: RoomId, server: ServerName): Promise<boolean> {
    return (await this.inRoom(roomId)).has(server);
  }

  async #load(roomNid: number): Promise<Held> {
    const found = await selectJoinedHosts(this.#deps.db, roomNid);
    const partial = await selectPartialRoom(this.#deps.db, roomNid);
    const held = {
      isPartial: partial !== null,
      root: found?.root ?? 0,
      members: new Map(found?.hosts as [ServerName, number][] | undefined ?? []),
    };
    // While members are lacking, the servers are those that the one that let us in told us of.
    for (const server of partial?.servers ?? []) held.members.set(server, (held.members.get(server) ?? 0) + 1);
    this.#rooms.set(roomNid, held);
    return held;
  }

  /** Returns null when too much has changed. */
  async #update(held: Held, root: number): Promise<Held | null> {
    const from = held.root;
    const changes = await this.#deps.state.diff(from, root);
    if (changes.length > MAX_CHANGES || held.isPartial) return null;
    const nids = changes.flatMap(({ before, after }) => [before, after]).filter((nid) => nid !== null);
    const events = await this.#deps.events.byNid(nids);
    const next: Held = { isPartial: false, root, members: new Map(held.members) };
    for (const { before, after } of changes) {
      count(next.members, { stored: before === null ? undefined : events.get(before), by: -1 });
      count(next.members, { stored: after === null ? undefined : events.get(after), by: 1 });
    }
    const roomNid = [...events.values()][0]?.roomNid;
    if (roomNid !== undefined) this.#rooms.set(roomNid, next);
    return next;
  }
}

function count(
  members: Map<ServerName, number>,
  { stored, by }: { stored: StoredEvent | undefined; by: 1 | -1 },
): void {
  const event = stored?.event;
  if (event?.type !== "m.room.member" || event.stateKey === null || event.content["membership"] !== "join") return;
  const host = serverNameOf(event.stateKey);
  if (host === null) return;
  const left = (members.get(host) ?? 0) + by;
  if (left > 0) members.set(host, left);
  else members.delete(host);
}
