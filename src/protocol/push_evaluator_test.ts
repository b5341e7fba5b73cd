import assert from "node:assert/strict";
import type { RoomEvent } from "./event.ts";
import type { EventId, RoomId, UserId } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import { PushEvaluator, type PushOutcome } from "./push_evaluator.ts";
import { buildRuleset, defaultPushRules, type PushRule, type PushRuleset } from "./push_rules.ts";
import { getRoomVersion } from "./room_versions.ts";

const ALICE = "@alice:example.org" as UserId;
const BOB = "@bob:example.org" as UserId;

interface Given {
  readonly type?: string;
  readonly stateKey?: string;
  readonly content: JsonObject;
  readonly members?: number;
  readonly senderLevel?: number;
  readonly powerLevels?: JsonObject;
  readonly rules?: PushRuleset;
  readonly displayName?: string;
}

function evaluate(given: Given): PushOutcome {
  const rules = getRoomVersion("11");
  assert(rules);
  const type = given.type ?? "m.room.message";
  const pdu = { type, sender: BOB, content: given.content, depth: 1, origin_server_ts: 1 };
  const event: RoomEvent = {
    eventId: "$e" as EventId,
    roomId: "!r:example.org" as RoomId,
    rules,
    type,
    stateKey: given.stateKey ?? null,
    sender: BOB,
    content: given.content,
    depth: 1,
    originServerTs: 1,
    prevEvents: [],
    authEvents: [],
    redacts: null,
    pdu: given.stateKey === undefined ? pdu : { ...pdu, state_key: given.stateKey },
  };
  return new PushEvaluator({
    event,
    memberCount: given.members ?? 3,
    senderPowerLevel: given.senderLevel ?? 0,
    powerLevels: given.powerLevels ?? {},
  }).evaluate(given.rules ?? defaultPushRules(ALICE), { userId: ALICE, displayName: given.displayName ?? null });
}

function withOverride(condition: JsonObject): PushRuleset {
  const rule: PushRule = {
    ruleId: "mine",
    isDefault: false,
    enabled: true,
    actions: ["notify", { set_tweak: "highlight" }],
    conditions: [condition],
  };
  return buildRuleset(ALICE, { own: { override: [rule] }, changes: new Map() });
}

function withContent(pattern: string): PushRuleset {
  const rule: PushRule = {
    ruleId: "mine",
    isDefault: false,
    enabled: true,
    actions: ["notify", { set_tweak: "highlight" }],
    pattern,
  };
  return buildRuleset(ALICE, { own: { content: [rule] }, changes: new Map() });
}

Deno.test("a message notifies by the predefined rules", () => {
  assert.deepEqual(evaluate({ content: { msgtype: "m.text", body: "hi" } }), {
    notify: true,
    highlight: false,
    actions: ["notify"],
  });
});

Deno.test("a message between two people notifies with a sound", () => {
  const { actions } = evaluate({ content: { msgtype: "m.text", body: "hi" }, members: 2 });
  assert.deepEqual(actions, ["notify", { set_tweak: "sound", value: "default" }]);
});

Deno.test("notices, edits and reactions are silent", () => {
  assert.equal(evaluate({ content: { msgtype: "m.notice", body: "hi" } }).notify, false);
  assert.equal(evaluate({ content: { body: "* hi", "m.relates_to": { rel_type: "m.replace" } } }).notify, false);
  assert.equal(evaluate({ type: "m.reaction", content: {} }).notify, false);
});

Deno.test("a mention highlights for the mentioned user alone", () => {
  assert.equal(evaluate({ content: { body: "x", "m.mentions": { user_ids: [ALICE] } } }).highlight, true);
  assert.equal(evaluate({ content: { body: "x", "m.mentions": { user_ids: [BOB] } } }).highlight, false);
});

Deno.test("a room mention highlights only with the power for it", () => {
  const content = { body: "x", "m.mentions": { room: true } };
  assert.equal(evaluate({ content, senderLevel: 49 }).highlight, false);
  assert.equal(evaluate({ content, senderLevel: 50 }).highlight, true);
  assert.equal(evaluate({ content, senderLevel: 50, powerLevels: { notifications: { room: 60 } } }).highlight, false);
});

Deno.test("an invitation notifies the invited user", () => {
  const invite = { type: "m.room.member", content: { membership: "invite" } };
  assert.equal(evaluate({ ...invite, stateKey: ALICE }).notify, true);
  assert.equal(evaluate({ ...invite, stateKey: BOB }).notify, false);
});

Deno.test("the master rule silences everything once enabled", () => {
  const rules = buildRuleset(ALICE, {
    own: {},
    changes: new Map([[".m.rule.master", { enabled: true, actions: null }]]),
  });
  assert.equal(evaluate({ content: { body: "x", "m.mentions": { user_ids: [ALICE] } }, rules }).notify, false);
});

Deno.test("a content rule matches whole words, with wildcards, whatever the case", () => {
  for (const body of ["cake", "CAKE!", "I like cake.", "(cake)"]) {
    assert.equal(evaluate({ content: { body }, rules: withContent("cake") }).highlight, true, body);
  }
  for (const body of ["cakes", "pancake", "ca ke"]) {
    assert.equal(evaluate({ content: { body }, rules: withContent("cake") }).highlight, false, body);
  }
  assert.equal(evaluate({ content: { body: "the cakelie" }, rules: withContent("cake*lie") }).highlight, true);
  assert.equal(evaluate({ content: { body: "cakes" }, rules: withContent("cake?") }).highlight, true);
  assert.equal(evaluate({ content: { body: "a.b" }, rules: withContent("a.b") }).highlight, true);
  assert.equal(evaluate({ content: { body: "axb" }, rules: withContent("a.b") }).highlight, false);
});

Deno.test("a pattern made to be slow is given up at once", () => {
  const start = performance.now();
  evaluate({ content: { body: "a".repeat(50_000) }, rules: withContent("*a".repeat(300) + "b") });
  assert(performance.now() - start < 1_000);
});

Deno.test("event_match compares whole values and knows escaped dots", () => {
  const rules = withOverride({ kind: "event_match", key: "content.m\\.x.y", pattern: "v*e" });
  assert.equal(evaluate({ content: { "m.x": { y: "value" } }, rules }).highlight, true);
  assert.equal(evaluate({ content: { "m.x": { y: "a value" } }, rules }).highlight, false);
  assert.equal(evaluate({ content: { m: { x: { y: "value" } } }, rules }).highlight, false);
});

Deno.test("event_property_is tells types apart", () => {
  const rules = withOverride({ kind: "event_property_is", key: "content.n", value: 1 });
  assert.equal(evaluate({ content: { n: 1 }, rules }).highlight, true);
  assert.equal(evaluate({ content: { n: "1" }, rules }).highlight, false);
});

Deno.test("room_member_count understands every comparison", () => {
  const cases: [string, boolean][] = [["3", true], ["==3", true], [">2", true], ["<3", false], [">=3", true], [
    "<=2",
    false,
  ], ["x", false]];
  for (const [is, expected] of cases) {
    const rules = withOverride({ kind: "room_member_count", is });
    assert.equal(evaluate({ content: { body: "x" }, rules, members: 3 }).highlight, expected, is);
  }
});

Deno.test("contains_display_name takes the name literally", () => {
  const rules = withOverride({ kind: "contains_display_name" });
  assert.equal(evaluate({ content: { body: "hello A*e you" }, rules, displayName: "A*e" }).highlight, true);
  assert.equal(evaluate({ content: { body: "hello Anne you" }, rules, displayName: "A*e" }).highlight, false);
});

Deno.test("an unknown condition matches nothing", () => {
  assert.equal(evaluate({ content: { body: "x" }, rules: withOverride({ kind: "org.example" }) }).highlight, false);
});

Deno.test("a name in the text mentions, unless the event says whom it mentions", () => {
  const body = "Alice: lunch?";
  assert.equal(evaluate({ content: { body } }).highlight, true);
  assert.equal(evaluate({ content: { body: "malice" } }).highlight, false);
  assert.equal(evaluate({ content: { body, "m.mentions": {} } }).highlight, false);
  assert.equal(evaluate({ content: { body: "dear Queen Bee!" }, displayName: "queen bee" }).highlight, true);
  assert.equal(evaluate({ content: { body: "@room lunch" }, senderLevel: 50 }).highlight, true);
  assert.equal(evaluate({ content: { body: "@room lunch" }, senderLevel: 49 }).highlight, false);
  const rules = buildRuleset(ALICE, { own: {}, changes: new Map(), bodyMentions: false });
  assert.equal(evaluate({ content: { body }, rules }).highlight, false);
});

Deno.test("polls notify like messages and their answers are silent", () => {
  assert.equal(evaluate({ type: "org.matrix.msc3381.poll.start", content: {} }).notify, true);
  assert.equal(evaluate({ type: "org.matrix.msc3381.poll.response", content: {} }).notify, false);
});
