/** Push rules through real HTTP. Spec: client-server API, "Push Rules: API". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const NOTIFY = { actions: ["notify"] };

async function ownIds(client: TestClient, kind: string): Promise<string[]> {
  const rules = await client.get("/pushrules/");
  return rules.global[kind].map((rule: Json) => rule.rule_id).filter((id: string) => !id.startsWith("."));
}

function isRulesUpdate(response: Json): boolean {
  return response.account_data?.events?.some((event: Json) => event.type === "m.push_rules") === true;
}

testEachServer("the predefined rules stand in the spec's order", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const { global } = await alice.get("/pushrules/");
  const ids = (kind: string) => global[kind].map((rule: Json) => rule.rule_id);
  const spec = [
    ".m.rule.master",
    ".m.rule.suppress_notices",
    ".m.rule.invite_for_me",
    ".m.rule.member_event",
    ".m.rule.is_user_mention",
    ".m.rule.is_room_mention",
    ".m.rule.tombstone",
    ".m.rule.reaction",
    ".m.rule.room.server_acl",
    ".m.rule.suppress_edits",
  ];
  assert.deepEqual(ids("override").filter((id: string) => spec.includes(id)), spec);
  assert.deepEqual(ids("underride").slice(0, 5), [
    ".m.rule.call",
    ".m.rule.encrypted_room_one_to_one",
    ".m.rule.room_one_to_one",
    ".m.rule.message",
    ".m.rule.encrypted",
  ]);
  assert.deepEqual(await alice.get("/pushrules/global/"), global);
  assert.deepEqual(await alice.get(path`/pushrules/global/override/${".m.rule.master"}`), global.override[0]);
});

testEachServer("rules go where before and after say, in front of the predefined ones", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const put = (id: string, query = {}) =>
    alice.ok("PUT", path`/pushrules/global/content/${id}`, { body: { ...NOTIFY, pattern: id }, query });
  await put("a");
  await put("b");
  await put("c", { after: "a" });
  await put("d", { before: "a" });
  assert.deepEqual(await ownIds(alice, "content"), ["b", "d", "a", "c"]);
  await put("c", { before: "b" });
  assert.deepEqual(await ownIds(alice, "content"), ["c", "b", "d", "a"]);
  // Saying a rule again changes what it does, not its place.
  await put("d");
  assert.deepEqual(await ownIds(alice, "content"), ["c", "b", "d", "a"]);
  await alice.fails("PUT", path`/pushrules/global/content/${"e"}`, {
    ...{ status: 400, errcode: "M_INVALID_PARAM" },
    body: { ...NOTIFY, pattern: "e" },
    query: { before: "nowhere" },
  });
  assert.deepEqual(await ownIds(alice, "content"), ["c", "b", "d", "a"]);
  const { global } = await alice.get("/pushrules/");
  assert.equal(global.content.at(-1).rule_id, ".m.rule.contains_user_name");
});

testEachServer("every kind of rule is kept as it was sent and comes down sync", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  await alice.sync();
  const conditions = [{ kind: "event_match", key: "type", pattern: "m.x" }, { kind: "com.example.unknown", a: 1 }];
  const actions = ["notify", { set_tweak: "sound", value: "bing" }, { set_tweak: "highlight", value: false }];
  const bodies: Record<string, Json> = {
    override: { conditions, actions },
    underride: { conditions, actions },
    content: { pattern: "ca*e", actions },
    room: { actions: ["dont_notify"] },
    sender: { actions: [] },
  };
  for (const [kind, body] of Object.entries(bodies)) {
    const ruleId = kind === "room" ? "!room:hs.test" : kind === "sender" ? "@bob:hs.test" : "my rule";
    const target = path`/pushrules/global/${kind}/${ruleId}`;
    await alice.put(target, body);
    assert.deepEqual(await alice.get(target), { rule_id: ruleId, default: false, enabled: true, ...body });
    const update = await alice.syncUntil(isRulesUpdate);
    const shown = update.account_data.events.find((event: Json) => event.type === "m.push_rules").content.global;
    assert.ok(shown[kind].some((rule: Json) => rule.rule_id === ruleId));
    await alice.delete(target);
    await alice.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });
    await alice.fails("DELETE", target, { status: 404, errcode: "M_NOT_FOUND" });
    await alice.syncUntil(isRulesUpdate);
  }
});

testEachServer("predefined rules can be switched and changed, but neither added nor deleted", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const rule = path`/pushrules/global/underride/${".m.rule.message"}`;
  await alice.put(`${rule}/enabled`, { enabled: false });
  await alice.put(`${rule}/actions`, { actions: ["notify", { set_tweak: "highlight" }] });
  await hs.restart();
  const again = hs.again(alice);
  assert.deepEqual(await again.get(`${rule}/enabled`), { enabled: false });
  assert.deepEqual(await again.get(`${rule}/actions`), { actions: ["notify", { set_tweak: "highlight" }] });
  assert.equal((await again.get(rule)).default, true);
  assert.equal((await hs.again(bob).get(rule)).enabled, true);
  await again.fails("DELETE", rule, { status: 404, errcode: "M_NOT_FOUND" });
  const own = path`/pushrules/global/underride/${".mine"}`;
  await again.fails("PUT", own, { status: 400, errcode: "M_INVALID_PARAM", body: { conditions: [], actions: [] } });
});

testEachServer("what is no rule is refused and changes nothing", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const before = await alice.get("/pushrules/");
  const bad: [string, Json, string][] = [
    ["/pushrules/global/content/x", { actions: ["notify"] }, "M_MISSING_PARAM"],
    ["/pushrules/global/content/x", { pattern: 1, actions: ["notify"] }, "M_BAD_JSON"],
    ["/pushrules/global/content/x", { pattern: "x" }, "M_MISSING_PARAM"],
    ["/pushrules/global/content/x", { pattern: "x", actions: ["explode"] }, "M_BAD_JSON"],
    ["/pushrules/global/content/x", { pattern: "x", actions: "notify" }, "M_BAD_JSON"],
    ["/pushrules/global/override/x", { conditions: {}, actions: [] }, "M_BAD_JSON"],
    ["/pushrules/global/override/x", { conditions: [{}], actions: [] }, "M_BAD_JSON"],
    ["/pushrules/global/override/a%2Fb", { conditions: [], actions: [] }, "M_INVALID_PARAM"],
    ["/pushrules/global/underride/.m.rule.message/enabled", { enabled: "yes" }, "M_BAD_JSON"],
    ["/pushrules/global/underride/.m.rule.message/actions", { actions: [1] }, "M_BAD_JSON"],
  ];
  for (const [target, body, errcode] of bad) await alice.fails("PUT", target, { status: 400, errcode, body });
  const missing = { status: 404, errcode: "M_NOT_FOUND", body: { enabled: true } };
  await alice.fails("PUT", "/pushrules/global/content/none/enabled", missing);
  await alice.fails("PUT", "/pushrules/global/odd/x", { status: 404, errcode: "M_UNRECOGNIZED", body: NOTIFY });
  await alice.fails("GET", "/pushrules/", { status: 401, errcode: "M_MISSING_TOKEN", token: null });
  assert.deepEqual(await alice.get("/pushrules/"), before);
});

testEachServer("null is taken for what is absent", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const target = path`/pushrules/global/override/mine`;
  const given = { kind: "event_property_is", key: "content.a", value: null, pattern: null, is: null };
  await alice.put(target, { actions: ["notify"], conditions: [given], pattern: null });
  const { conditions } = await alice.get(target);
  assert.deepEqual(conditions, [{ kind: "event_property_is", key: "content.a", value: null }]);
});
