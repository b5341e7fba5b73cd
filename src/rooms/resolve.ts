/**
 * The state that several branches of a room add up to. Spec: "Room versions", "State resolution".
 *
 * Only what differs between the states is looked at: the trees are compared, the rest is shared. An outcome is remembered
 * by the roots it came from.
 */
import { LruCache } from "../lib/lru.ts";
import { NUMBER_RANGES, Spread, WORK_SECONDS } from "../lib/tally.ts";
import { nextTurn } from "../lib/turn.ts";
import { splitStateKey, type StateKey, stateKeyOf } from "../protocol/event.ts";
import type { EventId } from "../protocol/ids.ts";
import { verifyThirdPartyInvite } from "../protocol/membership_invite_signature.ts";
import { resolveState } from "../protocol/state_resolution.ts";
import type { StateResolutionInput } from "../protocol/state_resolution_input.ts";
import { selectAuthDifference, selectConflictedSubgraph, type UnwrittenEvents } from "../storage/auth_chains.ts";
import type { Database } from "../storage/database.ts";
import type { TreeChange } from "../storage/state_tree.ts";
import type { RoomBatch } from "./batch.ts";
import type { StoredEvent } from "./types.ts";

/** What was resolved so far. */
export class ResolutionFigures {
  /** How many states differed. */
  readonly states = new Spread(NUMBER_RANGES);
  readonly seconds = new Spread(WORK_SECONDS);
}

/** What resolving takes. */
export interface ResolveDeps {
  readonly db: Database;
  readonly figures: ResolutionFigures;
  readonly resolutions: LruCache<string, number>;
}

const CREATE = stateKeyOf("m.room.create", "");

/** Returns the root of the state that the given ones resolve to; its nodes are written with the batch. */
export async function resolveRoots(
  deps: ResolveDeps,
  { batch, roots }: { batch: RoomBatch; roots: readonly number[] },
): Promise<number> {
  const distinct = [...new Set(roots)].sort((a, b) => a - b);
  const [first] = distinct;
  if (first === undefined) return 0;
  if (distinct.length === 1) return first;
  const cacheKey = distinct.join(",");
  const known = batch.resolutions.find(([key]) => key === cacheKey)?.[1] ?? deps.resolutions.get(cacheKey);
  if (known !== undefined) return known;
  const { clock } = batch.deps;
  const started = clock.monotonic();
  const root = await resolveDistinct(deps, { batch, roots: distinct, first });
  deps.figures.states.observe(distinct.length);
  deps.figures.seconds.observe((clock.monotonic() - started) / 1_000);
  batch.addResolution(cacheKey, root);
  return root;
}

/** The values of the keys on which states differ. */
interface Conflict {
  readonly first: number;
  /** For each key, the numeric id of the event in each state; null where it has none. */
  readonly nids: ReadonlyMap<StateKey, readonly (number | null)[]>;
  readonly keyNids: ReadonlyMap<StateKey, number>;
  readonly events: ReadonlyMap<number, StoredEvent>;
}

async function resolveDistinct(
  deps: ResolveDeps,
  { batch, roots, first }: { batch: RoomBatch; roots: readonly number[]; first: number },
): Promise<number> {
  const conflict = await findConflict(batch, { roots, first });
  const create = await batch.stateAt(first, CREATE);
  if (create === null) throw new Error("A state without create event cannot be resolved");
  const resolved = await resolveState(inputFor(deps, { batch, conflict, create }));
  const winners = await batch.byId([...new Set(resolved.values())]);
  const changes: TreeChange[] = [];
  for (const key of new Set([...conflict.nids.keys(), ...resolved.keys()])) {
    const { type, stateKey } = splitStateKey(key);
    const winner = resolved.get(key);
    const nid = conflict.keyNids.get(key) ?? await batch.intern(type, stateKey);
    const eventNid = winner === undefined ? null : winners.get(winner)?.nid ?? null;
    changes.push({ nid, isMember: type === "m.room.member", eventNid });
  }
  return await batch.setState(first, changes);
}

async function findConflict(
  batch: RoomBatch,
  { roots, first }: { roots: readonly number[]; first: number },
): Promise<Conflict> {
  const { trees, keys } = batch.deps;
  const differing = new Map<number, boolean>();
  for (const other of roots) {
    for (const { stateKeyNid, isMember } of await trees.diff(first, other)) differing.set(stateKeyNid, isMember);
  }
  const treeKeys = [...differing].map(([nid, isMember]) => ({ nid, isMember }));
  const values = await Promise.all(roots.map((root) => trees.getMany(root, treeKeys)));
  const names = await keys.keysOf([...differing.keys()]);
  const nids = new Map<StateKey, readonly (number | null)[]>();
  const keyNids = new Map<StateKey, number>();
  for (const [index, { nid }] of treeKeys.entries()) {
    const key = names.get(nid);
    if (key === undefined) throw new Error(`State key ${nid} is not in the database`);
    nids.set(key, values.map((list) => list[index] ?? null));
    keyNids.set(key, nid);
  }
  const wanted = [...nids.values()].flat().filter((nid) => nid !== null);
  return { first, nids, keyNids, events: await batch.byNids(wanted) };
}

function inputFor(
  deps: ResolveDeps,
  { batch, conflict, create }: { batch: RoomBatch; conflict: Conflict; create: StoredEvent },
): StateResolutionInput {
  const rejected = new Set<EventId>();
  const idOf = (nid: number | null) => nid === null ? undefined : conflict.events.get(nid)?.event.eventId;
  const conflicted = new Map<StateKey, (EventId | undefined)[]>();
  for (const [key, nids] of conflict.nids) conflicted.set(key, nids.map(idOf));
  const toIds = async (nids: readonly number[]) =>
    [...(await batch.byNids(nids)).values()].map(({ event }) => event.eventId);
  return {
    rules: batch.rules,
    conflicted,
    unconflicted: async (key) => (await batch.stateAt(conflict.first, key))?.event.eventId,
    loadEvents: async (ids) => {
      const found = await batch.byId(ids);
      for (const [id, { isRejected }] of found) if (isRejected) rejected.add(id);
      return new Map([...found].map(([id, { event }]) => [id, event]));
    },
    isRejected: (id) => rejected.has(id),
    authDifference: async () => toIds(await authDifference(deps, { batch, conflict })),
    conflictedSubgraph: async (ids) => {
      const nids = [...(await batch.byId(ids)).values()].map(({ nid }) => nid);
      return toIds(await selectConflictedSubgraph(deps.db, nids, { unwritten: unwrittenOf(batch) }));
    },
    createEvent: create.event,
    verifyThirdPartyInvite,
    yieldToLoop: nextTurn,
  };
}

async function authDifference(
  deps: ResolveDeps,
  { batch, conflict }: { batch: RoomBatch; conflict: Conflict },
): Promise<number[]> {
  const width = [...conflict.nids.values()][0]?.length ?? 0;
  const sets = Array.from(
    { length: width },
    (_, index) => [...conflict.nids.values()].map((values) => values[index] ?? null).filter((nid) => nid !== null),
  );
  const common = async () => {
    const { trees } = batch.deps;
    const conflictedKeys = new Set(conflict.keyNids.values());
    const halves = await Promise.all([
      trees.entries(conflict.first, "members"),
      trees.entries(conflict.first, "others"),
    ]);
    return halves.flat().filter(([key]) => !conflictedKeys.has(key)).map(([, nid]) => nid);
  };
  return await selectAuthDifference(deps.db, { sets, common, unwritten: unwrittenOf(batch) });
}

/** The events of the batch, whose auth edges are not in the database yet. */
function unwrittenOf({ unwritten }: RoomBatch): UnwrittenEvents {
  return new Map(unwritten.map(({ stored, auth }) => [
    stored.nid,
    { rank: stored.authRank, auth: auth.map(({ nid, authRank }) => ({ nid, rank: authRank })) },
  ]));
}
