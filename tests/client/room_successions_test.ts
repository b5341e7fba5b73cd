/** What users keep about a room goes with it when it is replaced. */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const SILENT = { actions: ["dont_notify"] };

function hasRule(roomId: string): (response: Json) => boolean {
  return (response) =>
    response.account_data?.events?.some((event: Json) =>
      event.type === "m.push_rules" && event.content.global.room.some((rule: Json) => rule.rule_id === roomId)
    ) === true;
}

async function replaceByHand(client: TestClient, oldRoomId: string): Promise<string> {
  const creation = { predecessor: { room_id: oldRoomId } };
  const newRoomId = await client.createRoom({ preset: "public_chat", creation_content: creation });
  const content = { body: "moved", replacement_room: newRoomId };
  await client.setState(oldRoomId, { type: "m.room.tombstone", content });
  return newRoomId;
}

for (const byHand of [false, true]) {
  testEachServer(`rules, tags and direct chats follow an upgrade ${byHand ? "by hand" : ""}`, async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob] = await hs.register("alice", "bob");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    await bob.join(roomId);
    for (const client of [alice, bob]) {
      await client.put(path`/pushrules/global/room/${roomId}`, SILENT);
      await client.put(path`/pushrules/global/override/${roomId}`, {
        ...SILENT,
        conditions: [{ kind: "event_match", key: "room_id", pattern: roomId }],
      });
      await client.put(path`/user/${client.userId}/rooms/${roomId}/tags/m.favourite`, { order: 0.5 });
      const direct = { "@x:hs.test": ["!other:hs.test", roomId], "@y:hs.test": [] };
      await client.put(path`/user/${client.userId}/account_data/m.direct`, direct);
      await client.sync();
    }
    const newRoomId = byHand
      ? await replaceByHand(alice, roomId)
      : (await alice.post(path`/rooms/${roomId}/upgrade`, { new_version: "11" })).replacement_room;
    for (const client of [alice, bob]) {
      await client.syncUntil(hasRule(newRoomId));
      const rule = await client.get(path`/pushrules/global/room/${newRoomId}`);
      assert.deepEqual(rule.actions, SILENT.actions);
      const override = await client.get(path`/pushrules/global/override/${newRoomId}`);
      assert.equal(override.conditions[0].pattern, newRoomId);
      assert.equal((await client.get(path`/pushrules/global/room/${roomId}`)).enabled, true);
    }
    await hs.restart();
    for (const client of [hs.again(alice), hs.again(bob)]) {
      const { tags } = await client.get(path`/user/${client.userId}/rooms/${newRoomId}/tags`);
      assert.deepEqual(tags, { "m.favourite": { order: 0.5 } });
      assert.deepEqual(await client.get(path`/user/${client.userId}/account_data/m.direct`), {
        "@x:hs.test": ["!other:hs.test", roomId, newRoomId],
        "@y:hs.test": [],
      });
    }
  });
}

testEachServer("a room that only claims to replace another inherits nothing", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, mallory] = await hs.register("alice", "mallory");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await alice.put(path`/pushrules/global/room/${roomId}`, SILENT);
  const creation = { predecessor: { room_id: roomId } };
  const trap = await mallory.createRoom({ preset: "public_chat", creation_content: creation });
  await alice.join(trap);
  // The real replacement is carried over after the trap was looked at.
  const newRoomId = await replaceByHand(alice, roomId);
  await alice.sync();
  alice.since = null;
  await alice.syncUntil(hasRule(newRoomId));
  await alice.fails("GET", path`/pushrules/global/room/${trap}`, { status: 404, errcode: "M_NOT_FOUND" });
});
