// deno-lint-ignore-file synapse-ts/max-positional -- the helpers read like the requests they make
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

async function search(client: TestClient, term: string, limit?: number): Promise<Json> {
  return await client.post("/user_directory/search", { search_term: term, ...(limit === undefined ? {} : { limit }) });
}

async function found(client: TestClient, term: string): Promise<string[]> {
  return (await search(client, term)).results.map((user: Json) => user.user_id);
}

async function rename(client: TestClient, displayname: string): Promise<void> {
  await client.put(path`/profile/${client.userId}/displayname`, { displayname });
}

testEachServer("users are found in shared and in open rooms, not elsewhere", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol, dave] = await hs.register("alice", "bobby", "carol", "dave");
  const shared = await alice.createRoom({ preset: "private_chat", invite: [bob.userId] });
  assert.deepEqual(await found(alice, "bob"), []);
  await bob.join(shared);
  assert.deepEqual(await found(alice, "bob"), [bob.userId]);
  assert.deepEqual(await found(bob, "alice"), [alice.userId]);
  assert.deepEqual(await found(bob, "bob"), []);
  assert.deepEqual(await found(carol, "bob"), []);
  const open = await bob.createRoom({ preset: "public_chat" });
  assert.deepEqual(await found(carol, "bob"), [bob.userId]);
  await bob.setState(open, { type: "m.room.join_rules", content: { join_rule: "invite" } });
  assert.deepEqual(await found(carol, "bob"), []);
  await bob.leave(shared);
  assert.deepEqual(await found(alice, "bob"), []);
  assert.deepEqual(await found(dave, "alice"), []);
});

testEachServer("names are found by beginnings, without accents and in any script", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "u1", "u2");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await rename(bob, "Jürgen Müller");
  await rename(carol, "山田太郎");
  for (const client of [bob, carol]) await client.join(roomId);
  for (const term of ["jurgen", "Mül", "muller JUR", "u1", bob.userId]) {
    assert.ok((await found(alice, term)).includes(bob.userId), term);
  }
  assert.deepEqual(await found(alice, "山田"), [carol.userId]);
  assert.deepEqual(await found(alice, "太郎"), [carol.userId]);
  assert.deepEqual(await found(alice, "urgen"), []);
  await rename(bob, "Somebody Else");
  assert.deepEqual(await found(alice, "jurgen"), []);
  const { results } = await search(alice, "somebody");
  assert.deepEqual(results, [{ user_id: bob.userId, display_name: "Somebody Else" }]);
});

testEachServer("whole names come before beginnings, and the limit is told", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, exact, longer] = await hs.register("alice", "zoe", "zoella");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  for (const client of [longer, exact]) await client.join(roomId);
  assert.deepEqual(await found(alice, "zoe"), [exact.userId, longer.userId]);
  const one = await search(alice, "zoe", 1);
  assert.deepEqual([one.limited, one.results.length], [true, 1]);
  assert.equal((await search(alice, "zoe", 2)).limited, false);
  assert.deepEqual((await search(alice, "", 2)).results, []);
});

testEachServer("search_all_users finds everybody; the directory can be switched off", async (database) => {
  await using hs = await TestServer.start({ database, config: { user_directory: { search_all_users: true } } });
  const [alice, bob] = await hs.register("alice", "bob");
  assert.deepEqual(await found(alice, "bob"), [bob.userId]);
  await hs.restart({ user_directory: { enabled: false } });
  assert.deepEqual(await search(hs.again(alice), "bob"), { limited: false, results: [] });
});

testEachServer("POST /user_directory/search refuses malformed requests and strangers", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const target = "/user_directory/search";
  await alice.fails("POST", target, { status: 400, errcode: "M_MISSING_PARAM", body: {} });
  await alice.fails("POST", target, { status: 400, errcode: "M_BAD_JSON", body: { search_term: 5 } });
  await alice.fails("POST", target, { status: 400, errcode: "M_BAD_JSON", body: { search_term: "x", limit: -1 } });
  await hs.anyone.fails("POST", target, { status: 401, errcode: "M_MISSING_TOKEN", body: { search_term: "x" } });
});
