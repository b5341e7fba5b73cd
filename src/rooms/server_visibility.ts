/**
 * What of a room's history a server may see. Spec: server-server API, "Backfilling and retrieving missing events"; client-
 * server API, "Room History Visibility", applied to all users of a server together.
 *
 * Events that a server may not see are part of the graph all the same: it gets them redacted.
 */
import { LruCache } from "../lib/lru.ts";
import { type StateKey, stateKeyOf } from "../protocol/event.ts";
import { pduJson } from "../protocol/event_format.ts";
import type { ServerName } from "../protocol/ids.ts";
import { redactEvent } from "../protocol/redaction.ts";
import type { Db } from "../storage/database.ts";
import { selectUsersOfHost } from "../storage/federation_rooms.ts";
import type { StateReader } from "./state_reader.ts";
import type { StoredEvent } from "./types.ts";
import { type HistoryVisibility, parseHistoryVisibility, type Visibility } from "./visibility.ts";

/** What visibility is judged by. */
export interface ServerVisibilityDeps {
  readonly db: Db;
  readonly state: StateReader;
  readonly visibility: Visibility;
}

const MAX_CACHED = 20_000;
const NEVER_HIDDEN: ReadonlySet<HistoryVisibility> = new Set(["world_readable", "shared"]);

/** Judges and renders events for servers that are in the room. */
export class ServerVisibility {
  readonly #deps: ServerVisibilityDeps;
  /** Whether a server had a joined or an invited member, by the root of the state. */
  readonly #presence = new LruCache<string, { joined: boolean; invited: boolean }>({
    name: "server_visibility",
    maxEntries: MAX_CACHED,
  });

  constructor(deps: ServerVisibilityDeps) {
    this.#deps = deps;
  }

  /** Returns the texts to send, each redacted where the server may not see the event or it was redacted. */
  async render(events: readonly StoredEvent[], server: ServerName): Promise<string[]> {
    const members = new Map<number, Promise<StateKey[]>>();
    const texts: string[] = [];
    for (const stored of events) {
      const isVisible = stored.redactedByNid === null && await this.#isVisible(stored, { server, members });
      texts.push(isVisible ? stored.json : pduJson(redactEvent(stored.event)));
    }
    return texts;
  }

  /** Tells whether a server in the room may see an event. */
  async isVisible(stored: StoredEvent, server: ServerName): Promise<boolean> {
    return await this.#isVisible(stored, { server, members: new Map() });
  }

  async #isVisible(
    stored: StoredEvent,
    { server, members }: { server: ServerName; members: Map<number, Promise<StateKey[]>> },
  ): Promise<boolean> {
    // State is never hidden: without it a server could not check anything.
    if (stored.event.stateKey !== null || stored.stateBefore === null) return true;
    const root = stored.stateBefore;
    const setting = await this.#deps.visibility.settingAt(root);
    // What erased users said is only for those who were there.
    const isErased = this.#deps.visibility.isErased(stored.event.sender);
    if (!isErased && NEVER_HIDDEN.has(parseHistoryVisibility(setting))) return true;
    const { joined, invited } = await this.#presenceAt(root, { server, roomNid: stored.roomNid, members });
    if (isErased) return joined;
    return joined || (setting === "invited" && invited);
  }

  async #presenceAt(
    root: number,
    { server, roomNid, members }: {
      server: ServerName;
      roomNid: number;
      members: Map<number, Promise<StateKey[]>>;
    },
  ): Promise<{ joined: boolean; invited: boolean }> {
    const id = `${root} ${server}`;
    const cached = this.#presence.get(id);
    if (cached !== undefined) return cached;
    const keys = members.get(roomNid) ?? this.#memberKeys(roomNid, server);
    members.set(roomNid, keys);
    const found = await this.#deps.state.getMany(root, await keys);
    const memberships = [...found.values()].map(({ event }) => event.content["membership"]);
    const presence = { joined: memberships.includes("join"), invited: memberships.includes("invite") };
    this.#presence.set(id, presence);
    return presence;
  }

  async #memberKeys(roomNid: number, host: ServerName): Promise<StateKey[]> {
    const users = await selectUsersOfHost(this.#deps.db, { roomNid, host });
    return users.map((userId) => stateKeyOf("m.room.member", userId));
  }
}
