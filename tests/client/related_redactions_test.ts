import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

async function relate(
  client: TestClient,
  { roomId, eventId, relType }: { roomId: string; eventId: string; relType: string },
): Promise<string> {
  const relation: Json = { rel_type: relType, event_id: eventId };
  const content = { msgtype: "m.text", body: "x", "m.relates_to": relation };
  return await client.send(roomId, { type: "m.room.message", content });
}

testEachServer("a redaction takes along what relates to the event, as far as the user may", async (database) => {
  const config = { experimental_features: { msc3912_enabled: true } };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const root = await bob.sendText(roomId, "root");
  const edit = await relate(bob, { roomId, eventId: root, relType: "m.replace" });
  const reply = await relate(bob, { roomId, eventId: root, relType: "m.thread" });
  const others = await relate(alice, { roomId, eventId: root, relType: "m.thread" });
  const isRedacted = async (eventId: string) =>
    Object.keys((await alice.get(path`/rooms/${roomId}/event/${eventId}`)).content).length === 0;
  const redact = (client: TestClient, { txn, types }: { txn: string; types: Json }) =>
    client.request("PUT", path`/rooms/${roomId}/redact/${root}/${txn}`, {
      body: { "org.matrix.msc3912.with_relations": types },
    });
  assert.equal((await redact(bob, { txn: "bad", types: "m.replace" })).body.errcode, "M_BAD_JSON");
  assert.equal(await isRedacted(root), false);
  assert.equal((await redact(bob, { txn: "one", types: ["m.replace"] })).status, 200);
  assert.deepEqual(await Promise.all([root, edit, reply, others].map(isRedacted)), [true, true, false, false]);
  assert.equal((await redact(bob, { txn: "two", types: ["*"] })).status, 200);
  assert.deepEqual(await Promise.all([reply, others].map(isRedacted)), [true, false], "bob has no power over alice's");
});
