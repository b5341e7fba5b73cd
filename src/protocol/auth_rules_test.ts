import assert from "node:assert/strict";
import { authorizeEvent } from "./auth_rules.ts";
import { listRoomVersions } from "./room_versions.ts";
import { allows, type AuthCase, CREATOR, refuses, rulesOf, versions } from "./testing/auth_case.ts";
import { makeEvent } from "./testing/room_dag.ts";

const ALICE = "@alice:a";
const BOB = "@bob:b";

const ALL = versions();
const BEFORE_12 = versions({ to: 11 });

function creation(content: Record<string, unknown>): AuthCase {
  return {
    event: { type: "m.room.create", sender: CREATOR, stateKey: "", content: content as Record<string, string> },
  };
}

Deno.test("create: is allowed without previous events only", () => {
  allows(ALL, creation({ creator: CREATOR }));
  const { event } = creation({ creator: CREATOR });
  refuses(ALL, [{ event: { ...event, prev: ["$other"] } }, /previous events/]);
});

Deno.test("create: the room id is of the sender's server before v12 and absent since", () => {
  const { event } = creation({ creator: CREATOR });
  refuses(BEFORE_12, [{ event: { ...event, sender: BOB } }, /server of the room id/]);
  allows(["12"], { event: { ...event, sender: BOB } });
  const rules = rulesOf("12");
  const withRoomId = makeEvent(rules, { id: "$create", ...event });
  const pdu = { ...withRoomId.pdu, room_id: "!create" };
  const decision = authorizeEvent({ event: { ...withRoomId, pdu }, create: null, authState: () => undefined });
  assert.deepEqual(decision, { allowed: false, reason: "A create event must not have a room id" });
});

Deno.test("create: the room version is one that is known", () => {
  allows(ALL, creation({ creator: CREATOR, room_version: "1" }));
  refuses(ALL, [creation({ creator: CREATOR, room_version: "0" }), /version/]);
  refuses(ALL, [creation({ creator: CREATOR, room_version: 1 }), /version/]);
});

Deno.test("create: has a creator up to v10", () => {
  refuses(ALL.slice(0, 10), [creation({}), /no creator/]);
  allows(["11", "12"], creation({}));
});

Deno.test("create: additional creators are user ids since v12", () => {
  for (const additional of ["@x:a", {}, [1], ["x"], ["@x"], [BOB, "@x:not a server"]]) {
    const question = creation({ creator: CREATOR, additional_creators: additional });
    refuses(["12"], [question, /additional creators/]);
    allows(BEFORE_12, question);
  }
  allows(["12"], creation({ additional_creators: [] }));
  allows(["12"], creation({ additional_creators: [BOB, ALICE] }));
});

Deno.test("an event needs the accepted create event of its own room", () => {
  for (const rules of listRoomVersions()) {
    const create = makeEvent(rules, { id: "$create", type: "m.room.create", sender: CREATOR, stateKey: "" });
    const join = makeEvent(rules, { id: "$j", type: "m.room.member", sender: ALICE, stateKey: ALICE, room: "!other" });
    assert.equal(authorizeEvent({ event: join, create, authState: () => undefined }).allowed, false);
    assert.equal(authorizeEvent({ event: join, create: null, authState: () => undefined }).allowed, false);
  }
});

Deno.test("m.federate: false keeps other servers out, even from joining", () => {
  const members = { [ALICE]: "join", [BOB]: "join" };
  const message = { type: "m.room.message", sender: BOB };
  refuses(ALL, [{ create: { "m.federate": false }, members, event: message }, /federate/]);
  allows(ALL, { create: { "m.federate": false }, members, event: { ...message, sender: ALICE } });
  allows(ALL, { create: { "m.federate": "false" }, members, event: message });
  const join = { type: "m.room.member", sender: BOB, stateKey: BOB, content: { membership: "join" } };
  refuses(ALL, [{ create: { "m.federate": false }, joinRule: "public", event: join }, /federate/]);
});

Deno.test("aliases: belong to servers, members or not, up to v5", () => {
  const event = { type: "m.room.aliases", sender: BOB, stateKey: "b" };
  const special = ALL.slice(0, 5);
  allows(special, { event });
  refuses(special, [{ event: { ...event, stateKey: "a" } }, /server of the sender/]);
  refuses(special, [{ event: { ...event, stateKey: null } }, /state key/]);
  refuses(ALL.slice(5), [{ event }, /not in the room/]);
  allows(ALL.slice(5), {
    event: { ...event, stateKey: "a" },
    members: { [BOB]: "join" },
    powerLevels: { state_default: 0 },
  });
});

Deno.test("only members send", () => {
  const event = { type: "m.room.message", sender: ALICE };
  allows(ALL, { event, members: { [ALICE]: "join" } });
  for (const membership of ["invite", "leave", "ban", "knock"]) {
    refuses(ALL, [{ event, members: { [ALICE]: membership } }, /not in the room/]);
  }
  refuses(ALL, [{ event }, /not in the room/]);
});

Deno.test("the power level for the type is needed; state needs 50 by default", () => {
  const members = { [ALICE]: "join", [CREATOR]: "join" };
  const topic = { type: "m.room.topic", sender: ALICE, stateKey: "" };
  refuses(ALL, [{ event: topic, members }, /"m.room.topic"/]);
  allows(ALL, { event: { ...topic, sender: CREATOR }, members });
  allows(ALL, { event: topic, members, powerLevels: { users: { [ALICE]: 50 } } });
  allows(ALL, { event: topic, members, powerLevels: { state_default: 0 } });
  refuses(ALL, [{ event: topic, members, powerLevels: { state_default: 0, events: { "m.room.topic": 1 } } }, /power/]);
  const message = { type: "m.room.message", sender: ALICE };
  refuses(ALL, [{ event: message, members, powerLevels: { events_default: 1 } }, /"m.room.message"/]);
  allows(ALL, { event: message, members, powerLevels: { events_default: 1, users_default: 1 } });
});

Deno.test("a creator needs no power level since v12", () => {
  const members = { [CREATOR]: "join", [ALICE]: "join" };
  const powerLevels = { state_default: Number.MAX_SAFE_INTEGER };
  const topic = { type: "m.room.topic", stateKey: "" };
  allows(["12"], { event: { ...topic, sender: CREATOR }, members, powerLevels });
  refuses(BEFORE_12, [{ event: { ...topic, sender: CREATOR }, members, powerLevels }, /power level/]);
  const create = { additional_creators: [ALICE] };
  allows(["12"], { event: { ...topic, sender: ALICE }, members, powerLevels, create });
  refuses(BEFORE_12, [{ event: { ...topic, sender: ALICE }, members, powerLevels, create }, /power level/]);
});

Deno.test("a state key that is a user id is the sender's", () => {
  const members = { [ALICE]: "join" };
  const powerLevels = { state_default: 0 };
  const event = { type: "org.example", sender: ALICE };
  allows(ALL, { event: { ...event, stateKey: ALICE }, members, powerLevels });
  allows(ALL, { event: { ...event, stateKey: "alice" }, members, powerLevels });
  refuses(ALL, [{ event: { ...event, stateKey: BOB }, members, powerLevels }, /state key/]);
  refuses(ALL, [{ event: { ...event, stateKey: "@" }, members, powerLevels }, /state key/]);
});

Deno.test("with MSC3757 state is its owner's, and that of those with more power", () => {
  const owned = ["org.matrix.msc3757.10", "org.matrix.msc3757.11"];
  const members = { [ALICE]: "join", [BOB]: "join" };
  const powerLevels = { state_default: 0, users: { [BOB]: 1 } };
  const event = (sender: string, stateKey: string) => ({ type: "org.example", sender, stateKey });
  for (const stateKey of [ALICE, `${ALICE}_`, `${ALICE}_a_@:b`]) {
    allows(owned, { event: event(ALICE, stateKey), members, powerLevels });
    allows(owned, { event: event(BOB, stateKey), members, powerLevels });
    refuses(owned, [{ event: event(BOB, stateKey), members, powerLevels: { state_default: 0 } }, /state key/]);
  }
  for (const stateKey of [BOB, `${BOB}_x`, `${ALICE}x_y`, "@", "@alice", `@a_${ALICE}`, `${ALICE}@x`]) {
    refuses(owned, [{ event: event(ALICE, stateKey), members, powerLevels }, /state key/]);
  }
  for (const stateKey of ["@", "@alice", `${ALICE}@x`]) {
    refuses(owned, [{ event: event(BOB, stateKey), members, powerLevels }, /state key/]);
  }
  refuses(ALL, [{ event: event(ALICE, `${ALICE}_x`), members, powerLevels }, /state key/]);
});

Deno.test("third_party_invite: needs the level to invite, not that of the type", () => {
  const members = { [ALICE]: "join" };
  const event = { type: "m.room.third_party_invite", sender: ALICE, stateKey: "@token" };
  allows(ALL, { event, members });
  refuses(ALL, [{ event, members, powerLevels: { invite: 1 } }, /to invite/]);
  refuses(ALL, [{ event }, /not in the room/]);
});

Deno.test("redaction: in v1 and v2 needs the redact level unless the event ids are of one server", () => {
  const old = ["1", "2"];
  const members = { [ALICE]: "join" };
  const event = { type: "m.room.redaction", sender: ALICE, id: "$r:a", redacts: "$x:b" };
  refuses(old, [{ event, members }, /redact/]);
  allows(old, { event: { ...event, redacts: "$x:a" }, members });
  allows(old, { event, members, powerLevels: { users: { [ALICE]: 50 } } });
  refuses(old, [{ event: { ...event, id: "$r", redacts: "$x" }, members }, /redact/]);
  allows(ALL.slice(2), { event, members });
});
