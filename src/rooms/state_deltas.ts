/**
 * Changes of a room's current state, found by what they are about. Whoever joins a large room changes tens of thousands of
 * keys, and a dozen handlers of the transaction ask for a few of them each.
 */
import { inTurns } from "../lib/turn.ts";
import { domainOf } from "../protocol/auth_rules_context.ts";
import type { ServerName } from "../protocol/ids.ts";
import { membershipIn } from "./member_content.ts";
import type { StoredEvent } from "./types.ts";

/** How the current state changes at one key. */
export interface StateDelta {
  readonly stateKeyNid: number;
  readonly type: string;
  readonly stateKey: string;
  /** Null when the key was not set. */
  readonly before: StoredEvent | null;
  /** Null when the key is gone, as resolution may decide. */
  readonly after: StoredEvent | null;
}

interface Found {
  readonly byType: ReadonlyMap<string, readonly StateDelta[]>;
  readonly localMembers: readonly StateDelta[];
  readonly joins: ReadonlyMap<string, number>;
}

/** Looking at this many takes a few milliseconds. */
export const DELTAS_A_TURN = 2_000;
const NOTHING: readonly StateDelta[] = [];

/** The changes that one event makes. */
export class StateDeltas {
  static readonly NONE: StateDeltas = new StateDeltas([], { byType: new Map(), localMembers: [], joins: new Map() });
  readonly all: readonly StateDelta[];
  readonly #found: Found;

  private constructor(all: readonly StateDelta[], found: Found) {
    this.all = all;
    this.#found = found;
  }

  /** Of few changes. */
  static of(all: readonly StateDelta[], serverName: ServerName): StateDeltas {
    if (all.length === 0) return StateDeltas.NONE;
    const finder = new Finder(serverName);
    finder.add(all);
    return new StateDeltas(all, finder);
  }

  /** Of any number of changes. */
  static async ofMany(all: readonly StateDelta[], serverName: ServerName): Promise<StateDeltas> {
    if (all.length === 0) return StateDeltas.NONE;
    const finder = new Finder(serverName);
    for await (const part of inTurns(all, DELTAS_A_TURN)) finder.add(part);
    return new StateDeltas(all, finder);
  }

  get isEmpty(): boolean {
    return this.all.length === 0;
  }

  /** Whether there are so many that whoever goes through all of them gives way in between. */
  get areMany(): boolean {
    return this.all.length > DELTAS_A_TURN;
  }

  ofType(type: string): readonly StateDelta[] {
    return this.#found.byType.get(type) ?? NOTHING;
  }

  /** The changes of the memberships of this server's users. */
  get localMembers(): readonly StateDelta[] {
    return this.#found.localMembers;
  }

  /** By how many the joined members of each server become more; servers for which nothing changes are left out. */
  get joins(): ReadonlyMap<string, number> {
    return this.#found.joins;
  }
}

class Finder implements Found {
  readonly byType = new Map<string, StateDelta[]>();
  readonly localMembers: StateDelta[] = [];
  readonly joins = new Map<string, number>();
  readonly #serverName: ServerName;

  constructor(serverName: ServerName) {
    this.#serverName = serverName;
  }

  add(deltas: readonly StateDelta[]): void {
    for (const delta of deltas) {
      const { type, stateKey, before, after } = delta;
      const known = this.byType.get(type);
      if (known === undefined) this.byType.set(type, [delta]);
      else known.push(delta);
      if (type !== "m.room.member") continue;
      const domain = domainOf(stateKey);
      if (domain === this.#serverName) this.localMembers.push(delta);
      const by = Number(membershipIn(after) === "join") - Number(membershipIn(before) === "join");
      if (by === 0 || domain === null) continue;
      const sum = (this.joins.get(domain) ?? 0) + by;
      if (sum === 0) this.joins.delete(domain);
      else this.joins.set(domain, sum);
    }
  }
}
