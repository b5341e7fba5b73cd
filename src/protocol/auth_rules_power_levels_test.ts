import type { JsonObject, JsonValue } from "./json.ts";
import { allows, type AuthCase, CREATOR, refuses, versions } from "./testing/auth_case.ts";

const ALICE = "@alice:a";
const BOB = "@bob:b";
const ALL = versions();

/** Alice, who has 50, changes the power levels. */
function change(before: JsonObject, after: JsonObject): AuthCase {
  const events = { "m.room.power_levels": 50 };
  const powerLevels: JsonObject = { ...before, events: { ...before["events"] as JsonObject, ...events } };
  powerLevels["users"] = { [ALICE]: 50, ...before["users"] as JsonObject };
  const content: JsonObject = { ...after };
  if (content["users"] === undefined) content["users"] = powerLevels["users"];
  content["events"] = { ...after["events"] as JsonObject, ...events };
  return {
    members: { [ALICE]: "join" },
    powerLevels,
    event: { type: "m.room.power_levels", sender: ALICE, stateKey: "", content },
  };
}

/** The first power levels event of a room, by its creator. */
function first(content: JsonObject): AuthCase {
  const event = { type: "m.room.power_levels", sender: CREATOR, stateKey: "", content };
  return { members: { [CREATOR]: "join" }, event };
}

Deno.test("power levels: users have user ids as keys and levels as values", () => {
  allows(ALL, first({}));
  allows(ALL, first({ users: { [ALICE]: 100, "@Historical Name!:a": 1, "@:a": 1 } }));
  for (const users of [[], "x", 5, null] as JsonValue[]) refuses(ALL, [first({ users }), /"users" is not an object/]);
  for (const key of ["alice", "alice:a", "@alice", "@alice:not a server", "#alice:a", `@${"x".repeat(260)}:a`]) {
    refuses(ALL, [first({ users: { [key]: 1 } }), /not a user id/]);
  }
  for (const level of ["x", null, true, [], {}] as JsonValue[]) {
    refuses(ALL, [first({ users: { [ALICE]: level } }), /not a power level/]);
  }
  allows(versions({ to: 9 }), first({ users: { [ALICE]: " +050 " } }));
  refuses(versions({ from: 10 }), [first({ users: { [ALICE]: "50" } }), /not a power level/]);
  allows(versions({ to: 5 }), first({ users: { [ALICE]: 50.5 } }));
  refuses(versions({ from: 6 }), [first({ users: { [ALICE]: 50.5 } }), /not a power level/]);
});

Deno.test("power levels: all values are integers since v10", () => {
  const properties = ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"];
  for (const property of properties) {
    for (const value of ["50", "x", null, 1.5] as JsonValue[]) {
      refuses(versions({ from: 10 }), [first({ [property]: value }), /not a power level/]);
      // Before, the first power levels event is only asked for its users.
      allows(versions({ to: 9 }), first({ [property]: value }));
    }
  }
  for (const property of ["events", "notifications"]) {
    for (const value of [[], "x", null, { x: "50" }] as JsonValue[]) {
      refuses(versions({ from: 10 }), [first({ [property]: value }), /not (an object|a value)|not a power level/]);
      allows(versions({ to: 9 }), first({ [property]: value }));
    }
  }
});

Deno.test("power levels: must not name creators since v12", () => {
  refuses(["12"], [first({ users: { [CREATOR]: 100 } }), /creator/]);
  allows(versions({ to: 11 }), first({ users: { [CREATOR]: 100 } }));
  const create = { additional_creators: [BOB] };
  refuses(["12"], [{ ...first({ users: { [BOB]: 0 } }), create }, /creator/]);
  allows(["12"], { ...first({ users: { [ALICE]: 0 } }), create });
});

Deno.test("power levels: single levels change only within the sender's own", () => {
  for (const property of ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]) {
    // The required level of the type itself is set, so that state_default does not matter.
    allows(ALL, change({ [property]: 10 }, { [property]: 50 }));
    allows(ALL, change({}, { [property]: 50 }));
    allows(ALL, change({ [property]: 50 }, {}));
    allows(ALL, change({ [property]: 100 }, { [property]: 100 }));
    refuses(ALL, [change({ [property]: 10 }, { [property]: 51 }), /to change/]);
    refuses(ALL, [change({}, { [property]: 51 }), /to change/]);
    if (property === "users_default") continue;
    refuses(ALL, [change({ [property]: 51 }, { [property]: 10 }), /to change/]);
    refuses(ALL, [change({ [property]: 51 }, {}), /to change/]);
  }
});

Deno.test("power levels: events change only within the sender's own level; notifications since v6", () => {
  for (const [property, since] of [["events", 1], ["notifications", 6]] as const) {
    const from = versions({ from: since });
    const before = versions({ to: since - 1 });
    for (const [old, now] of [[{ x: 51 }, { x: 10 }], [{ x: 51 }, {}], [{ x: 10 }, { x: 51 }], [{}, { x: 51 }]]) {
      const question = change({ [property]: old as JsonObject }, { [property]: now as JsonObject });
      refuses(from, [question, /to change/]);
      allows(before, question);
    }
    allows(ALL, change({ [property]: { x: 50, y: 99 } }, { [property]: { x: 40, y: 99, z: 50 } }));
    allows(ALL, change({ [property]: { x: 50 } }, {}));
  }
});

Deno.test("power levels: users below the sender change, up to the sender's level", () => {
  allows(ALL, change({ users: { [BOB]: 49 } }, { users: { [ALICE]: 50, [BOB]: 50 } }));
  allows(ALL, change({ users: { [BOB]: 49 } }, { users: { [ALICE]: 50 } }));
  refuses(ALL, [change({ users: { [BOB]: 49 } }, { users: { [ALICE]: 50, [BOB]: 51 } }), /above its own/]);
  refuses(ALL, [change({}, { users: { [ALICE]: 50, [BOB]: 51 } }), /above its own/]);
  refuses(ALL, [change({ users: { [BOB]: 50 } }, { users: { [ALICE]: 50, [BOB]: 49 } }), /to change that of/]);
  refuses(ALL, [change({ users: { [BOB]: 50 } }, { users: { [ALICE]: 50 } }), /to change that of/]);
});

Deno.test("power levels: the sender steps down, but not up", () => {
  allows(ALL, change({}, { users: { [ALICE]: 0 } }));
  allows(ALL, change({}, { users: {} }));
  refuses(ALL, [change({}, { users: { [ALICE]: 51 } }), /above its own/]);
});

Deno.test("power levels: a creator changes everything since v12", () => {
  const content = { users: { [ALICE]: Number.MAX_SAFE_INTEGER, [BOB]: 3 }, ban: 2 ** 52 };
  const event = { type: "m.room.power_levels", sender: CREATOR, stateKey: "", content };
  const powerLevels = { users: { [ALICE]: 2 ** 52, [BOB]: Number.MAX_SAFE_INTEGER } };
  allows(["12"], { members: { [CREATOR]: "join" }, powerLevels, event });
});

Deno.test("power levels: levels are compared as numbers up to v9, and what is no level cannot be put in", () => {
  const old = versions({ to: 9 });
  allows(old, change({ ban: "100" }, { ban: 100 }));
  allows(old, change({ users: { [BOB]: 100 } }, { users: { [ALICE]: "50", [BOB]: " 100 " } }));
  refuses(old, [change({ ban: "100" }, { ban: 99 }), /to change/]);
  refuses(old, [change({}, { ban: "x" }), /to change/]);
  refuses(old, [change({}, { events: { x: "x" } }), /to change/]);
});
