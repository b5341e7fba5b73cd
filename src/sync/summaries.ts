/**
 * A room's summary: who makes up its name, how many are in it. Spec: client-server API, `RoomSummary`.
 *
 * Sent when it may have changed: with full state and after changes of membership. Kept per room until the next change.
 */
import { LruCache } from "../lib/lru.ts";
import type { UserId } from "../protocol/ids.ts";
import { isJsonObject } from "../protocol/json.ts";
import type { StateReader } from "../rooms/state_reader.ts";
import type { Db } from "../storage/database.ts";
import { selectFirstMembers, selectMemberCounts } from "../storage/memberships.ts";
import type { StateDelta } from "../storage/timeline.ts";

/** What summaries are built from. */
export interface SummariesDeps {
  readonly db: Db;
  readonly state: StateReader;
}

/** A room's summary for one user. */
export interface RoomSummary {
  /** Empty when the room has a name of its own. */
  readonly heroes: readonly UserId[];
  readonly joined: number;
  readonly invited: number;
}

interface Held {
  readonly root: number;
  /** What the room is called by: its name, its alias, or its members. */
  readonly naming: "name" | "alias" | "members";
  readonly joined: number;
  readonly invited: number;
  /** One more than is shown, because the reader is left out. */
  readonly first: readonly UserId[];
}

const HEROES = 5;
const CACHED_ROOMS = 5_000;
const NAMING_TYPES: ReadonlySet<string> = new Set(["m.room.member", "m.room.name", "m.room.canonical_alias"]);

/** Makes summaries. */
export class Summaries {
  readonly #deps: SummariesDeps;
  readonly #held = new LruCache<number, Held>({ name: "sync_summaries", maxEntries: CACHED_ROOMS });

  constructor(deps: SummariesDeps) {
    this.#deps = deps;
  }

  /** Tells whether these changes of state may change the summary. */
  isAffectedBy(deltas: readonly StateDelta[]): boolean {
    return deltas.some(({ type }) => NAMING_TYPES.has(type));
  }

  /** Returns the summary of a room whose state is that of `root`, for a user. `byAlias`: an alias is no name. */
  async of(
    { roomNid, root, byAlias = true }: { roomNid: number; root: number; byAlias?: boolean },
    userId: UserId,
  ): Promise<RoomSummary> {
    let held = this.#held.get(roomNid);
    if (held?.root !== root) {
      held = await this.#make(roomNid, root);
      this.#held.set(roomNid, held);
    }
    const isNamed = held.naming === "name" || held.naming === "alias" && byAlias;
    const heroes = isNamed ? [] : held.first.filter((user) => user !== userId).slice(0, HEROES);
    return { heroes, joined: held.joined, invited: held.invited };
  }

  async #make(roomNid: number, root: number): Promise<Held> {
    const { db } = this.#deps;
    const counts = await selectMemberCounts(db, roomNid) ?? { joined: 0, invited: 0 };
    const naming = await this.#naming(root);
    let first: readonly UserId[] = [];
    if (naming !== "name") {
      const limit = HEROES + 1;
      let members = await selectFirstMembers(db, { roomNid, memberships: ["join", "invite"], limit });
      if (members.length <= 1) {
        const gone = await selectFirstMembers(db, { roomNid, memberships: ["leave", "ban"], limit });
        members = [...members, ...gone];
      }
      first = members.map((member) => member.userId);
    }
    return { root, naming, ...counts, first };
  }

  async #naming(root: number): Promise<Held["naming"]> {
    const name = await this.#deps.state.get(root, "m.room.name", "");
    if (isJsonObject(name?.event.content) && isText(name.event.content.name)) return "name";
    const alias = await this.#deps.state.get(root, "m.room.canonical_alias", "");
    return isJsonObject(alias?.event.content) && isText(alias.event.content.alias) ? "alias" : "members";
  }
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value.length > 0;
}

/** Returns the text of a summary. */
export function summaryText({ heroes, joined, invited }: RoomSummary): string {
  const text = `"m.joined_member_count":${joined},"m.invited_member_count":${invited}`;
  return heroes.length === 0 ? `{${text}}` : `{"m.heroes":${JSON.stringify(heroes)},${text}}`;
}
