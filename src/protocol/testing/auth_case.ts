/**
 * One question to the authorization rules, written as short as tests can: a room version, some state and an event.
 */
import assert from "node:assert/strict";
import { authorizeEvent } from "../auth_rules.ts";
import type { VerifyThirdPartyInvite } from "../auth_rules_context.ts";
import { type RoomEvent, type StateKey, stateKeyOf } from "../event.ts";
import type { JsonObject } from "../json.ts";
import { getRoomVersion, listRoomVersions, type RoomVersionRules } from "../room_versions.ts";
import { type EventSpec, keyOfEvent, makeEvent } from "./room_dag.ts";

/** The user who created the room of every case. */
export const CREATOR = "@creator:a";

/** A question to the authorization rules. */
export interface AuthCase {
  /** Content of the create event beside what the version demands. */
  readonly create?: JsonObject;
  /** Memberships by user id. */
  readonly members?: Readonly<Record<string, string>>;
  readonly joinRule?: string;
  /** Content of the power levels event; there is none when this is absent. */
  readonly powerLevels?: JsonObject;
  readonly state?: readonly Omit<EventSpec, "id">[];
  readonly event: Omit<EventSpec, "id"> & { readonly id?: string };
  readonly verifyThirdPartyInvite?: VerifyThirdPartyInvite;
}

/** Returns the rules of a version that exists. */
export function rulesOf(version: string): RoomVersionRules {
  const rules = getRoomVersion(version);
  if (rules === null) throw new Error(`unknown room version ${version}`);
  return rules;
}

/** Returns the ids of the specified room versions of a range, both ends included. */
export function versions({ from = 1, to = 12 }: { from?: number; to?: number } = {}): string[] {
  return listRoomVersions().filter(({ stable }) => stable).map(({ id }) => id).slice(from - 1, to);
}

/** Asserts that each of the versions allows the event. */
export function allows(ids: readonly string[], question: AuthCase): void {
  for (const id of ids) assert.equal(refusalOf(id, question), null, `version ${id}`);
}

/** Asserts that each of the versions refuses the event for the given reason. */
export function refuses(ids: readonly string[], [question, reason]: readonly [AuthCase, RegExp]): void {
  for (const id of ids) assert.match(refusalOf(id, question) ?? "allowed", reason, `version ${id}`);
}

function refusalOf(version: string, question: AuthCase): string | null {
  const rules = rulesOf(version);
  const create = makeEvent(rules, {
    id: "$create",
    type: "m.room.create",
    sender: CREATOR,
    stateKey: "",
    content: { room_version: version, ...(rules.creatorInContent && { creator: CREATOR }), ...question.create },
  });
  const state = stateOf(rules, question);
  const decision = authorizeEvent({
    event: makeEvent(rules, { id: "$event", ...question.event }),
    create: question.event.type === "m.room.create" ? null : create,
    authState: (type, stateKey) => state.get(stateKeyOf(type, stateKey)),
    verifyThirdPartyInvite: question.verifyThirdPartyInvite,
  });
  return decision.allowed ? null : decision.reason;
}

function stateOf(rules: RoomVersionRules, question: AuthCase): Map<StateKey, RoomEvent> {
  const specs: Omit<EventSpec, "id">[] = [...question.state ?? []];
  for (const [user, membership] of Object.entries(question.members ?? {})) {
    specs.push({ type: "m.room.member", sender: user, stateKey: user, content: { membership } });
  }
  if (question.joinRule !== undefined) {
    const content = { join_rule: question.joinRule };
    specs.push({ type: "m.room.join_rules", sender: CREATOR, stateKey: "", content });
  }
  if (question.powerLevels !== undefined) {
    specs.push({ type: "m.room.power_levels", sender: CREATOR, stateKey: "", content: question.powerLevels });
  }
  const events = specs.map((spec, index) => makeEvent(rules, { id: `$state${index}`, ...spec }));
  return new Map(events.map((event) => [keyOfEvent(event), event]));
}
