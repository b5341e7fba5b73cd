import assert from "node:assert/strict";
import { path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const UNSTABLE = "/_matrix/client/unstable/io.element.msc4306";
const LIST = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions";

async function reply(client: TestClient, { roomId, root }: { roomId: string; root: string }): Promise<string> {
  const relates = { "m.relates_to": { rel_type: "m.thread", event_id: root } };
  return await client.send(roomId, { type: "m.room.message", content: { msgtype: "m.text", body: "r", ...relates } });
}

testEachServer("threads are followed by hand and by themselves, until they are not", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const root = await alice.sendText(roomId, "root");
  const other = await alice.sendText(roomId, "other");
  const target = `${UNSTABLE}${path`/rooms/${roomId}/thread/${root}/subscription`}`;
  await alice.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });
  await alice.delete(target);
  const first = await reply(alice, { roomId, root });
  await alice.put(target, { automatic: first });
  assert.deepEqual(await alice.get(target), { automatic: true });
  await alice.put(target, {});
  assert.deepEqual(await alice.get(target), { automatic: false });
  await alice.put(target, { automatic: first });
  assert.deepEqual(await alice.get(target), { automatic: false });
  await alice.delete(target);
  await alice.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });
  const conflict = { status: 409, errcode: "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION" };
  await alice.fails("PUT", target, { ...conflict, body: { automatic: first } });
  await alice.put(target, { automatic: await reply(alice, { roomId, root }) });
  const outside = { status: 400, errcode: "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD" };
  const elsewhere = await reply(alice, { roomId, root: other });
  for (const automatic of [root, elsewhere]) await alice.fails("PUT", target, { ...outside, body: { automatic } });
  await alice.fails("PUT", target, { status: 400, errcode: "M_BAD_JSON", body: { automatic: 5 } });
  await bob.fails("PUT", target, { status: 404, errcode: "M_NOT_FOUND", body: {} });
  await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
  const unknown = `${UNSTABLE}${path`/rooms/${roomId}/thread/${"$unknown:hs.test"}/subscription`}`;
  await alice.fails("PUT", unknown, { status: 404, errcode: "M_NOT_FOUND", body: {} });
});

testEachServer("changes of subscriptions are listed in pages, the latest first", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const [one, two] = [await alice.sendText(roomId, "one"), await alice.sendText(roomId, "two")];
  const target = (root: string) => `${UNSTABLE}${path`/rooms/${roomId}/thread/${root}/subscription`}`;
  for (const root of [one, two]) await alice.put(target(root), {});
  await alice.delete(target(one));
  const first = await alice.get(LIST, { dir: "b", limit: 1 });
  assert.deepEqual([Object.keys(first.subscribed), Object.keys(first.unsubscribed[roomId])], [[], [one]]);
  const second = await alice.get(LIST, { dir: "b", limit: 1, from: first.end });
  assert.equal(second.subscribed[roomId][two].automatic, false);
  assert.equal(second.end, undefined);
  await alice.fails("GET", `${LIST}?dir=b&from=x`, { status: 400, errcode: "M_INVALID_PARAM" });
  await hs.anyone.fails("GET", LIST, { status: 401, errcode: "M_MISSING_TOKEN" });
});
