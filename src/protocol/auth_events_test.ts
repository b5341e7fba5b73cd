import assert from "node:assert/strict";
import { selectAuthKeys } from "./auth_events.ts";
import { checkAuthEventList } from "./auth_rules_list.ts";
import { requiredSigners } from "./auth_rules_signers.ts";
import type { RoomEvent } from "./event.ts";
import type { JsonObject } from "./json.ts";
import { CREATOR, rulesOf, versions } from "./testing/auth_case.ts";
import { makeEvent } from "./testing/room_dag.ts";

const ALICE = "@alice:a";
const BOB = "@bob:b";
const JOIN_RULES = "m.room.join_rules|";
const BASE = ["m.room.power_levels|", `m.room.member|${ALICE}`];

function keysOf(version: string, spec: { type: string; stateKey?: string; content?: JsonObject }): string[] {
  const keys = selectAuthKeys(rulesOf(version), { sender: ALICE, stateKey: null, content: {}, ...spec });
  return keys.map((key) => key.replace("\u0000", "|"));
}

function member(content: JsonObject, stateKey = BOB): { type: string; stateKey: string; content: JsonObject } {
  return { type: "m.room.member", stateKey, content };
}

Deno.test("selectAuthKeys() selects nothing for the create event", () => {
  for (const version of versions()) assert.deepEqual(keysOf(version, { type: "m.room.create", stateKey: "" }), []);
});

Deno.test("selectAuthKeys() selects power levels and the sender; create before v12", () => {
  assert.deepEqual(keysOf("11", { type: "m.room.message" }), ["m.room.create|", ...BASE]);
  assert.deepEqual(keysOf("12", { type: "m.room.message" }), BASE);
  assert.deepEqual(keysOf("12", { type: "org.example", stateKey: BOB }), BASE);
});

Deno.test("selectAuthKeys() selects the target, and join rules where they matter", () => {
  const target = `m.room.member|${BOB}`;
  for (const membership of ["join", "invite", "knock"]) {
    assert.deepEqual(keysOf("12", member({ membership })), [...BASE, target, JOIN_RULES]);
  }
  for (const membership of ["leave", "ban"]) assert.deepEqual(keysOf("12", member({ membership })), [...BASE, target]);
  assert.deepEqual(keysOf("12", member({ membership: "leave" }, ALICE)), BASE);
});

Deno.test("selectAuthKeys() selects the third-party invite of an invite", () => {
  const content = { membership: "invite", third_party_invite: { signed: { token: "t" } } };
  assert.equal(keysOf("1", member(content)).at(-1), "m.room.third_party_invite|t");
  assert.ok(!keysOf("1", member({ ...content, membership: "join" })).includes("m.room.third_party_invite|t"));
  for (const invite of [1, {}, { signed: 1 }, { signed: { token: 1 } }]) {
    const odd = member({ membership: "invite", third_party_invite: invite as JsonObject });
    assert.equal(keysOf("12", odd).at(-1), JOIN_RULES);
  }
});

Deno.test("selectAuthKeys() selects who authorizes a join since v8", () => {
  const content = { membership: "join", join_authorised_via_users_server: "@carol:c" };
  const key = "m.room.member|@carol:c";
  for (const version of versions({ from: 8 })) assert.ok(keysOf(version, member(content)).includes(key));
  for (const version of versions({ to: 7 })) assert.ok(!keysOf(version, member(content)).includes(key));
  assert.ok(!keysOf("12", member({ ...content, membership: "invite" })).includes(key));
  // No key twice.
  const own = keysOf("12", member({ ...content, join_authorised_via_users_server: ALICE }, ALICE));
  assert.deepEqual(own, [...BASE, JOIN_RULES]);
});

/** A message of Alice with the auth events that it should have, plus or minus some. */
function check(
  version: string,
  { extra = [], without = [], rejected }: { extra?: RoomEvent[]; without?: string[]; rejected?: string },
): string | null {
  const rules = rulesOf(version);
  const all = [
    makeEvent(rules, { id: "$create", type: "m.room.create", sender: CREATOR, stateKey: "" }),
    makeEvent(rules, { id: "$power", type: "m.room.power_levels", sender: CREATOR, stateKey: "" }),
    makeEvent(rules, { id: "$alice", type: "m.room.member", sender: ALICE, stateKey: ALICE }),
  ].filter(({ eventId }) => !(rules.roomIdIsCreateHash && eventId === "$create") && !without.includes(eventId));
  const event = makeEvent(rules, { id: "$message", type: "m.room.message", sender: ALICE });
  const authEvents = [...all, ...extra];
  const decision = checkAuthEventList(event, { authEvents, isRejected: ({ eventId }) => eventId === rejected });
  return decision.allowed ? null : decision.reason;
}

Deno.test("checkAuthEventList() allows the selected events, or fewer", () => {
  for (const version of versions()) {
    assert.equal(check(version, {}), null);
    assert.equal(check(version, { without: ["$power", "$alice"] }), null);
  }
});

Deno.test("checkAuthEventList() refuses what should not be there", () => {
  for (const version of versions()) {
    const rules = rulesOf(version);
    const power = makeEvent(rules, { id: "$power2", type: "m.room.power_levels", sender: CREATOR, stateKey: "" });
    assert.match(check(version, { extra: [power] }) ?? "", /two auth events/);
    const bob = makeEvent(rules, { id: "$bob", type: "m.room.member", sender: BOB, stateKey: BOB });
    assert.match(check(version, { extra: [bob] }) ?? "", /does not authorize/);
    const message = makeEvent(rules, { id: "$m", type: "m.room.power_levels", sender: CREATOR });
    assert.match(check(version, { extra: [message], without: ["$power"] }) ?? "", /not a state event/);
    assert.match(check(version, { rejected: "$power" }) ?? "", /was rejected/);
    const spec = { id: "$other", type: "m.room.power_levels", sender: CREATOR, stateKey: "", room: "!other:a" };
    assert.match(check(version, { extra: [makeEvent(rules, spec)], without: ["$power"] }) ?? "", /another room/);
  }
});

Deno.test("checkAuthEventList() wants the create event before v12 and refuses it since", () => {
  for (const version of versions({ to: 11 })) {
    assert.match(check(version, { without: ["$create"] }) ?? "", /create event is not among/);
  }
  const create = makeEvent(rulesOf("12"), { id: "$create", type: "m.room.create", sender: CREATOR, stateKey: "" });
  assert.match(check("12", { extra: [create] }) ?? "", /does not authorize/);
});

Deno.test("requiredSigners() names the sender's server, and the event id's in v1 and v2", () => {
  const spec = { id: "$x:c", type: "m.room.message", sender: BOB };
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("2"), spec)), ["b", "c"]);
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("2"), { ...spec, id: "$x:b" })), ["b"]);
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("3"), { ...spec, id: "$x" })), ["b"]);
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("3"), { ...spec, sender: "@bob:b:8448" })), ["b:8448"]);
});

Deno.test("requiredSigners() names the server of who authorized a join since v8", () => {
  const content = { membership: "join", join_authorised_via_users_server: "@carol:c" };
  const spec = { id: "$x", type: "m.room.member", sender: BOB, stateKey: BOB, content };
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("8"), spec)), ["b", "c"]);
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("7"), spec)), ["b"]);
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("8"), { ...spec, type: "org.example" })), ["b"]);
});

Deno.test("requiredSigners() does not name the sender's server for a third-party invite", () => {
  const content = { membership: "invite", third_party_invite: { signed: {} } };
  const spec = { id: "$x:c", type: "m.room.member", sender: BOB, stateKey: ALICE, content };
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("1"), spec)), ["c"]);
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("12"), spec)), []);
  const leave = { ...spec, content: { ...content, membership: "leave" } };
  assert.deepEqual(requiredSigners(makeEvent(rulesOf("12"), leave)), ["b"]);
});
