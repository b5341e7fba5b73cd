/** Whose keys must be fetched again. Spec: client-server API, "Tracking the device list for a user". */
import assert from "node:assert/strict";
import { path, type TestClient } from "../harness/client.ts";
import { uploadDevice } from "../harness/e2ee.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

interface Lists {
  readonly changed: readonly string[];
  readonly left: readonly string[];
}

const NONE: Lists = { changed: [], left: [] };

/** Syncs and returns what it says of device lists, which `/keys/changes` must say too. */
async function lists(client: TestClient): Promise<Lists> {
  const from = client.since ?? "";
  const { device_lists: shown = NONE, next_batch: to } = await client.sync();
  assert.deepEqual(await client.get("/keys/changes", { from, to }), shown);
  return shown;
}

testEachServer("those who share a room learn of new, renamed and deleted devices; others do not", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  await bob.join(await alice.createRoom({ preset: "public_chat" }));
  const phone = await alice.anotherDevice("PHONE");
  const changed = { changed: [alice.userId], left: [] };
  for (const client of [alice, bob, carol]) await client.sync();
  const waiting = bob.sync({ timeout: 15_000 });
  await uploadDevice(phone);
  assert.deepEqual((await waiting).device_lists, changed);
  assert.deepEqual(await lists(alice), changed);
  assert.deepEqual(await lists(carol), NONE);
  await alice.put(path`/devices/PHONE`, { display_name: "Phone" });
  assert.deepEqual(await lists(bob), changed);
  await alice.sendText(await alice.createRoom(), "nothing of keys");
  assert.deepEqual(await lists(bob), NONE);
  await phone.post("/logout");
  assert.deepEqual(await lists(bob), changed);
  assert.deepEqual(await lists(bob), NONE);
});

testEachServer("the same keys once more are no change, and changes outlast a restart", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await bob.join(await alice.createRoom({ preset: "public_chat" }));
  await bob.sync();
  const { keys } = await uploadDevice(alice);
  await hs.restart();
  const [again, bobAgain] = [hs.again(alice), hs.again(bob)];
  assert.deepEqual(await lists(bobAgain), { changed: [alice.userId], left: [] });
  await again.post("/keys/upload", { device_keys: keys });
  assert.deepEqual(await lists(bobAgain), NONE);
});

testEachServer(
  "people who come are changed, people who go have left, unless another room is shared",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob] = await hs.register("alice", "bob");
    for (const client of [alice, bob]) await uploadDevice(client);
    const one = await alice.createRoom({ preset: "public_chat" });
    const two = await alice.createRoom({ preset: "public_chat" });
    for (const client of [alice, bob]) await client.sync();
    await bob.join(one);
    assert.deepEqual(await lists(alice), { changed: [bob.userId], left: [] });
    assert.deepEqual((await lists(bob)).changed.filter((user) => user !== bob.userId), [alice.userId]);
    await bob.join(two);
    for (const client of [alice, bob]) await client.sync();
    await bob.leave(one);
    assert.deepEqual(await lists(alice), NONE);
    assert.deepEqual(await lists(bob), NONE);
    await bob.leave(two);
    assert.deepEqual(await lists(alice), { changed: [], left: [bob.userId] });
    assert.deepEqual(await lists(bob), { changed: [], left: [alice.userId] });
    await bob.join(one);
    await bob.leave(one);
    await bob.join(two);
    assert.deepEqual(await lists(alice), { changed: [bob.userId], left: [] });
  },
);

testEachServer("/keys/changes needs two tokens of /sync", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const { next_batch: from } = await alice.sync();
  await hs.anyone.fails("GET", "/keys/changes", { status: 401, errcode: "M_MISSING_TOKEN" });
  await alice.fails("GET", "/keys/changes", { query: { from }, status: 400, errcode: "M_MISSING_PARAM" });
  const wrong = { query: { from, to: "nonsense" }, status: 400, errcode: "M_INVALID_PARAM" };
  await alice.fails("GET", "/keys/changes", wrong);
  assert.deepEqual(await alice.get("/keys/changes", { from, to: from }), NONE);
});
