import assert from "node:assert/strict";
import type { JsonObject, JsonValue } from "./json.ts";
import {
  getActionLevel,
  getCreators,
  getNotificationLevel,
  getRequiredLevel,
  getUserLevel,
  parsePowerLevel,
  type PowerLevelSource,
} from "./power_levels.ts";
import { CREATOR, rulesOf, versions } from "./testing/auth_case.ts";
import { makeEvent } from "./testing/room_dag.ts";

const ALICE = "@alice:a";

function source(
  version: string,
  { levels, create }: { levels?: JsonObject; create?: JsonObject } = {},
): PowerLevelSource {
  const rules = rulesOf(version);
  const content = { ...(rules.creatorInContent && { creator: CREATOR }), ...create };
  return {
    create: makeEvent(rules, { id: "$create", type: "m.room.create", sender: CREATOR, stateKey: "", content }),
    powerLevels: levels &&
      makeEvent(rules, { id: "$p", type: "m.room.power_levels", sender: CREATOR, stateKey: "", content: levels }),
  };
}

Deno.test("parsePowerLevel() reads what each version allows", () => {
  const cases: [JsonValue | undefined, Record<string, number | null>][] = [
    [50, { "1": 50, "5": 50, "6": 50, "9": 50, "10": 50, "12": 50 }],
    [-5, { "1": -5, "12": -5 }],
    [50.57, { "1": 50, "5": 50, "6": null, "9": null, "10": null }],
    [-50.57, { "1": -50, "5": -50, "6": null }],
    [2 ** 60, { "1": 2 ** 60, "6": null, "12": null }],
    [Infinity, { "1": null, "6": null, "12": null }],
    ["100", { "1": 100, "9": 100, "10": null, "12": null }],
    ["000100", { "1": 100, "9": 100 }],
    ["+100", { "1": 100, "9": 100 }],
    ["-100", { "1": -100, "9": -100 }],
    [" \t00100\n ", { "1": 100, "9": 100 }],
    [" +100 ", { "1": 100 }],
    ["+ 100", { "1": null }],
    ["--1", { "1": null }],
    ["1_000", { "1": null }],
    ["1e2", { "1": null }],
    ["0x10", { "1": null }],
    ["50.0", { "1": null, "9": null }],
    ["٥", { "1": null }],
    ["", { "1": null }],
    [" ", { "1": null }],
    ["9".repeat(400), { "1": null }],
    [true, { "1": null, "10": null }],
    [null, { "1": null, "10": null }],
    [[], { "1": null, "10": null }],
    [{}, { "1": null, "10": null }],
    [undefined, { "1": null, "10": null }],
  ];
  for (const [value, expected] of cases) {
    for (const [version, level] of Object.entries(expected)) {
      assert.equal(parsePowerLevel(rulesOf(version), value), level, `${JSON.stringify(value)} in version ${version}`);
    }
  }
});

Deno.test("defaults without a power levels event", () => {
  for (const version of versions()) {
    const levels = source(version);
    assert.equal(getUserLevel(levels, CREATOR), version === "12" ? Infinity : 100);
    assert.equal(getUserLevel(levels, ALICE), 0);
    assert.equal(getActionLevel(levels, "ban"), 50);
    assert.equal(getActionLevel(levels, "kick"), 50);
    assert.equal(getActionLevel(levels, "redact"), 50);
    assert.equal(getActionLevel(levels, "invite"), 0);
    assert.equal(getRequiredLevel(levels, { type: "m.room.topic", isState: true }), 50);
    assert.equal(getRequiredLevel(levels, { type: "m.room.message", isState: false }), 0);
    assert.equal(getNotificationLevel(levels, "room"), 50);
  }
});

Deno.test("defaults with a power levels event that leaves things out", () => {
  for (const version of versions()) {
    const levels = source(version, { levels: {} });
    // Once there is an event, the creator has no power of their own before v12.
    assert.equal(getUserLevel(levels, CREATOR), version === "12" ? Infinity : 0);
    assert.equal(getActionLevel(levels, "ban"), 50);
    assert.equal(getActionLevel(levels, "invite"), 0);
    assert.equal(getRequiredLevel(levels, { type: "m.room.topic", isState: true }), 50);
    assert.equal(getRequiredLevel(levels, { type: "m.room.message", isState: false }), 0);
  }
});

Deno.test("values are read from the event", () => {
  const levels = source("10", {
    levels: {
      users: { [ALICE]: 7 },
      users_default: 1,
      events: { "m.room.topic": 2 },
      events_default: 3,
      state_default: 4,
      ban: 5,
      notifications: { room: 6 },
    },
  });
  assert.equal(getUserLevel(levels, ALICE), 7);
  assert.equal(getUserLevel(levels, "@other:a"), 1);
  assert.equal(getRequiredLevel(levels, { type: "m.room.topic", isState: true }), 2);
  assert.equal(getRequiredLevel(levels, { type: "m.room.topic", isState: false }), 2);
  assert.equal(getRequiredLevel(levels, { type: "m.room.message", isState: false }), 3);
  assert.equal(getRequiredLevel(levels, { type: "m.room.name", isState: true }), 4);
  assert.equal(getActionLevel(levels, "ban"), 5);
  assert.equal(getNotificationLevel(levels, "room"), 6);
  assert.equal(getNotificationLevel(levels, "other"), 50);
});

Deno.test("names that objects inherit are not levels", () => {
  const levels = source("10", { levels: { events: {}, users: {}, notifications: {} } });
  for (const type of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    assert.equal(getRequiredLevel(levels, { type, isState: false }), 0);
    assert.equal(getNotificationLevel(levels, type), 50);
  }
  const proto = source("10", { levels: JSON.parse('{"events":{"__proto__":9}}') as JsonObject });
  assert.equal(getRequiredLevel(proto, { type: "__proto__", isState: false }), 9);
});

Deno.test("levels that the version does not allow count as absent", () => {
  const levels = source("1", { levels: { users: "x", ban: "much", events_default: [], events: { t: null } } });
  assert.equal(getUserLevel(levels, ALICE), 0);
  assert.equal(getActionLevel(levels, "ban"), 50);
  assert.equal(getRequiredLevel(levels, { type: "t", isState: false }), 0);
});

Deno.test("creators: the content's up to v10, the sender since v11, with additional ones since v12", () => {
  const create = { creator: ALICE, additional_creators: ["@x:b", CREATOR, "@x:b"] };
  assert.deepEqual(getCreators(source("10", { create }).create), [ALICE]);
  assert.deepEqual(getCreators(source("11", { create }).create), [CREATOR]);
  assert.deepEqual(getCreators(source("12", { create }).create), [CREATOR, "@x:b"]);
  assert.equal(getUserLevel(source("10", { create }), ALICE), 100);
  assert.equal(getUserLevel(source("10", { create }), CREATOR), 0);
  assert.equal(getUserLevel(source("12", { create, levels: { users: { "@x:b": 0 } } }), "@x:b"), Infinity);
});
