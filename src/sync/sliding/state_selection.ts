/**
 * Which state of a room a client asks for. Spec: MSC4186, "RequiredStateRequest".
 *
 * A selection is a union of clauses. Its canonical text tells whether two are the same and is what is kept of it between
 * requests.
 */
import { createHash } from "node:crypto";

/** Picks state by type and state key; null stands for any. */
export interface StatePattern {
  readonly type: string | null;
  readonly stateKey: string | null;
}

/** What one room config asks for. */
export interface StateClause {
  readonly include: readonly StatePattern[];
  readonly exclude: readonly StatePattern[];
  /** Members are given as they are needed, not by patterns that name no member. */
  readonly lazyMembers: boolean;
}

/** Patterns beyond this number are not added to what is remembered as sent. */
const MAX_REMEMBERED_PATTERNS = 300;
const MEMBER = "m.room.member";
const NID_BYTES = 6;

/** A union of clauses. */
export class StateSelection {
  readonly text: string;
  readonly clauses: readonly StateClause[];
  readonly lazyMembers: boolean;
  #nid: number | null = null;

  private constructor(clauses: readonly StateClause[], text: string) {
    this.clauses = clauses;
    this.text = text;
    this.lazyMembers = clauses.some((clause) => clause.lazyMembers);
  }

  /** Makes the selection of what any of the clauses asks for. */
  static of(clauses: readonly StateClause[]): StateSelection {
    const merged = mergeClauses(clauses);
    return new StateSelection(merged, JSON.stringify(merged.map(wireOf)));
  }

  /** Restores a selection from its text. */
  static parse(text: string): StateSelection {
    return new StateSelection((JSON.parse(text) as ClauseWire[]).map(clauseOf), text);
  }

  /** A number that follows from the text, so that two processes give a selection the same. */
  get nid(): number {
    this.#nid ??= createHash("sha256").update(this.text).digest().readUIntBE(0, NID_BYTES);
    return this.#nid;
  }

  /** The number of patterns. */
  get size(): number {
    return this.clauses.reduce((sum, { include, exclude }) => sum + include.length + exclude.length, 0);
  }

  /** Tells whether a piece of state is asked for by its type and key; members needed lazily are not. */
  selects(type: string, stateKey: string): boolean {
    for (const clause of this.clauses) {
      if (!clause.include.some((pattern) => matches(pattern, { type, stateKey, clause }))) continue;
      if (!clause.exclude.some((pattern) => matchesPlainly(pattern, { type, stateKey }))) return true;
    }
    return false;
  }

  /** Tells whether state of a half of the room's state must be listed to find what is selected. */
  needsAll(half: "members" | "others"): boolean {
    return this.clauses.some(({ include, lazyMembers }) =>
      include.some(({ type, stateKey }) => {
        if (stateKey !== null) return type === null && half === "others";
        if (half === "members") return type === MEMBER || type === null && !lazyMembers;
        return type !== MEMBER;
      })
    );
  }

  /** Returns the patterns that name one piece of state. */
  exactKeys(): { readonly type: string; readonly stateKey: string }[] {
    const keys: { type: string; stateKey: string }[] = [];
    for (const { include } of this.clauses) {
      for (const { type, stateKey } of include) {
        if (stateKey === null) continue;
        if (type !== null) keys.push({ type, stateKey });
        else keys.push({ type: MEMBER, stateKey });
      }
    }
    return keys;
  }

  /** Returns what either of two selections asks for, or only the other one when the union would grow too large. */
  with(other: StateSelection): StateSelection {
    if (other.text === this.text) return this;
    const union = StateSelection.of([...this.clauses, ...other.clauses]);
    return union.size > MAX_REMEMBERED_PATTERNS ? other : union;
  }
}

type PatternWire = readonly [string | null, string | null];
type ClauseWire = readonly [readonly PatternWire[], readonly PatternWire[], 0 | 1];

function wireOf({ include, exclude, lazyMembers }: StateClause): ClauseWire {
  return [include.map(patternWire), exclude.map(patternWire), lazyMembers ? 1 : 0];
}

function patternWire({ type, stateKey }: StatePattern): PatternWire {
  return [type, stateKey];
}

function clauseOf([include, exclude, lazy]: ClauseWire): StateClause {
  return { include: include.map(patternOf), exclude: exclude.map(patternOf), lazyMembers: lazy === 1 };
}

function patternOf([type, stateKey]: PatternWire): StatePattern {
  return { type, stateKey };
}

/** Clauses that exclude nothing become one for each way of loading members; the others stay apart. */
function mergeClauses(clauses: readonly StateClause[]): StateClause[] {
  const open = new Map<boolean, StatePattern[]>();
  const closed = new Map<string, StateClause>();
  for (const clause of clauses) {
    if (clause.exclude.length > 0) {
      const sorted = { ...clause, include: distinct(clause.include), exclude: distinct(clause.exclude) };
      closed.set(JSON.stringify(wireOf(sorted)), sorted);
      continue;
    }
    const list = open.get(clause.lazyMembers);
    if (list === undefined) open.set(clause.lazyMembers, [...clause.include]);
    else list.push(...clause.include);
  }
  const merged: StateClause[] = [];
  for (const lazyMembers of [false, true]) {
    const include = open.get(lazyMembers);
    if (include !== undefined) merged.push({ include: distinct(include), exclude: [], lazyMembers });
  }
  for (const key of [...closed.keys()].sort()) {
    const clause = closed.get(key);
    if (clause !== undefined) merged.push(clause);
  }
  return merged;
}

function distinct(patterns: readonly StatePattern[]): StatePattern[] {
  const byText = new Map(patterns.map((pattern) => [JSON.stringify(patternWire(pattern)), pattern]));
  const sorted: StatePattern[] = [];
  for (const key of [...byText.keys()].sort()) {
    const pattern = byText.get(key);
    if (pattern !== undefined) sorted.push(pattern);
  }
  return sorted;
}

function matches(
  pattern: StatePattern,
  { type, stateKey, clause }: { type: string; stateKey: string; clause: StateClause },
): boolean {
  const isLazy = clause.lazyMembers && type === MEMBER && pattern.type === null && pattern.stateKey === null;
  return !isLazy && matchesPlainly(pattern, { type, stateKey });
}

function matchesPlainly(pattern: StatePattern, { type, stateKey }: { type: string; stateKey: string }): boolean {
  return (pattern.type === null || pattern.type === type) &&
    (pattern.stateKey === null || pattern.stateKey === stateKey);
}
