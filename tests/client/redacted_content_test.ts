/** What an event said before it was redacted, for those who may redact (MSC2815). */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const query = { "fi.mau.msc2815.include_unredacted_content": true };

testEachServer("moderators and administrators see what was redacted, and nobody else does", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const admin = await hs.registerAdmin("admin");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await admin.join(roomId);
  const eventId = await bob.sendText(roomId, "regret");
  await bob.put(path`/rooms/${roomId}/redact/${eventId}/1`, {});
  const target = path`/rooms/${roomId}/event/${eventId}`;
  const forbidden = { status: 403, errcode: "M_FORBIDDEN" };
  assert.deepEqual((await alice.get(target)).content, {});
  assert.equal((await alice.get(target, query)).content.body, "regret");
  assert.equal((await admin.get(target, query)).content.body, "regret");
  await bob.fails("GET", target, { query, ...forbidden });
  await carol.fails("GET", target, { query, status: 404, errcode: "M_NOT_FOUND" });
  await hs.anyone.fails("GET", target, { query, status: 401, errcode: "M_MISSING_TOKEN" });
  const wrong = { "fi.mau.msc2815.include_unredacted_content": "maybe" };
  await alice.fails("GET", target, { query: wrong, status: 400, errcode: "M_INVALID_PARAM" });
  assert.deepEqual((await bob.get(target, { "fi.mau.msc2815.include_unredacted_content": false })).content, {});
  // Power counts while it lasts.
  await alice.leave(roomId);
  await alice.fails("GET", target, { query, ...forbidden });
  const { unstable_features: features } = await alice.get("/_matrix/client/versions");
  assert.equal(features["fi.mau.msc2815"], true);
});

testEachServer("a redaction takes what was redacted from the event that replaced it too", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const since = (await bob.sync()).next_batch;
  const secret = await alice.setState(roomId, { type: "m.room.topic", content: { topic: "secret" } });
  const next = await alice.setState(roomId, { type: "m.room.topic", content: { topic: "harmless" } });
  const previous = async () => {
    const { chunk } = await bob.get(path`/rooms/${roomId}/messages`, { dir: "b" });
    const found = chunk.find(({ event_id: id }: Json) => id === next);
    const { events } = (await bob.sync({ since })).rooms.join[roomId].timeline;
    const synced = events.find(({ event_id: id }: Json) => id === next);
    return [found, synced, await bob.get(path`/rooms/${roomId}/event/${next}`)].map(({ unsigned }) => [
      unsigned.replaces_state,
      unsigned.prev_content,
    ]);
  };
  const told = (content: Json) => [[secret, content], [secret, content], [secret, content]];
  assert.deepEqual(await previous(), told({ topic: "secret" }));
  await alice.put(path`/rooms/${roomId}/redact/${secret}/1`, {});
  assert.deepEqual(await previous(), told({}));
});
