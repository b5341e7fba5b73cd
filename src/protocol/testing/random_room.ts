/**
 * Random but valid rooms with several branches, grown from a list of numbers, so that a property test can shrink them.
 */
import type { RoomEvent, StateKey } from "../event.ts";
import type { EventId } from "../ids.ts";
import type { JsonObject } from "../json.ts";
import type { RoomVersionRules } from "../room_versions.ts";
import { type EventSpec, RoomDag } from "./room_dag.ts";

/** One thing somebody tries to do on one branch; numbers are taken modulo what there is to choose from. */
export interface Action {
  readonly branch: number;
  readonly kind: number;
  readonly actor: number;
  readonly target: number;
  readonly level: number;
  readonly ts: number;
}

/** A room and the state at the end of each of its branches. */
export interface RandomRoom {
  readonly dag: RoomDag;
  readonly branches: readonly ReadonlyMap<StateKey, EventId>[];
}

interface Branch {
  readonly state: Map<StateKey, EventId>;
  tip: RoomEvent;
}

const USERS = ["@creator:a", "@alice:a", "@bob:b", "@carol:c", "@dave:d"] as const;
const LEVELS = [0, 0, 25, 50, 50, 75, 100, 100] as const;
const JOIN_RULES = ["public", "public", "invite", "knock", "restricted"] as const;
const MAX_BRANCHES = 4;
/** Of the kinds of actions, those from this one on make a branch. */
const FORK_FROM = 11;
const KINDS = 14;

/** Grows a room: what its rules do not allow is left out. */
export function growRoom(rules: RoomVersionRules, actions: readonly Action[]): RandomRoom {
  const dag = new RoomDag(rules, { creator: USERS[0] });
  const branches: Branch[] = [{ state: dag.start(), tip: dag.create }];
  const opening: Partial<Action>[] = [{ kind: 0, actor: 0 }, { kind: 2, level: 7 }, { kind: 1, level: 0 }, {
    kind: 0,
    actor: 1,
  }];
  const zero: Action = { branch: 0, kind: 0, actor: 0, target: 1, level: 0, ts: 0 };
  [...opening.map((action) => ({ ...zero, ...action })), ...actions].forEach((action, index) => {
    const branch = branches[action.branch % branches.length];
    if (branch === undefined) return;
    if (action.kind % KINDS >= FORK_FROM) {
      if (branches.length < MAX_BRANCHES) branches.push({ state: new Map(branch.state), tip: branch.tip });
      return;
    }
    const spec = { ...specOf(action, { rules, index, branch, dag }), prev: [branch.tip.eventId] };
    const event = dag.send(branch.state, { ...spec, depth: branch.tip.depth + 1 });
    if (event !== null) branch.tip = event;
  });
  return { dag, branches: branches.map(({ state }) => state) };
}

function specOf(
  action: Action,
  { rules, index, branch, dag }: { rules: RoomVersionRules; index: number; branch: Branch; dag: RoomDag },
): EventSpec {
  const actor = choose(USERS, action.actor);
  const target = choose(USERS, action.target);
  // Clocks disagree: the time only loosely follows the order.
  const base = { id: `$e${index}`, sender: actor, ts: Math.floor(index / 3) + action.ts % 5 };
  const member = { ...base, type: "m.room.member" };
  switch (action.kind % KINDS) {
    case 0:
    case 10:
      return { ...member, stateKey: actor, content: { membership: "join", ...authorizer(rules, action) } };
    case 1:
      return {
        ...base,
        type: "m.room.join_rules",
        stateKey: "",
        content: { join_rule: choose(JOIN_RULES, action.level) },
      };
    case 2:
    case 3:
      return {
        ...base,
        type: "m.room.power_levels",
        stateKey: "",
        content: changedLevels(action, { rules, branch, dag }),
      };
    case 4:
      return { ...member, stateKey: target, content: { membership: "invite" } };
    case 5:
      return { ...member, stateKey: target, content: { membership: "ban" } };
    case 6:
      return { ...member, stateKey: target, content: { membership: "leave" } };
    case 7:
      return { ...member, stateKey: actor, content: { membership: "leave" } };
    case 8:
      return { ...member, stateKey: actor, content: { membership: "knock" } };
    default:
      return { ...base, type: "m.room.topic", stateKey: "", content: { topic: base.id } };
  }
}

function authorizer(rules: RoomVersionRules, action: Action): JsonObject {
  if (!rules.restrictedJoinRule || action.level % 2 === 0) return {};
  return { join_authorised_via_users_server: choose(USERS, action.target) };
}

function changedLevels(
  action: Action,
  { rules, branch, dag }: { rules: RoomVersionRules; branch: Branch; dag: RoomDag },
): JsonObject {
  const current = [...branch.state.values()].map((id) => dag.events.get(id))
    .find((event) => event?.type === "m.room.power_levels");
  const before = current?.content["users"] as Record<string, number> | undefined;
  const initial: Record<string, number> = rules.privilegedCreators ? {} : { [USERS[0]]: 100 };
  const users = { ...before ?? initial, [choose(USERS, action.target)]: choose(LEVELS, action.level) };
  if (rules.privilegedCreators) delete users[USERS[0]];
  const topic = action.ts % 3 === 0 ? 0 : 50;
  return { users, invite: action.ts % 2 * 50, events: { "m.room.topic": topic } };
}

function choose<T>(items: readonly T[], index: number): T {
  return items[index % items.length] as T;
}
