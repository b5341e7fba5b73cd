/** Transaction ids hold for one endpoint. Spec: client-server API, "Transaction identifiers". */
import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("a redaction is no repeat of a message sent under the same transaction id", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  for (let round = 0; round < 3; round++) {
    const content = { msgtype: "m.text", body: "oops" };
    const { event_id: eventId } = await bob.put(path`/rooms/${roomId}/send/m.room.message/same${round}`, content);
    await bob.put(path`/rooms/${roomId}/redact/${eventId}/same${round}`, {});
    const target = path`/rooms/${roomId}/event/${eventId}`;
    assert.deepEqual((await alice.get(target)).content, {});
    assert.deepEqual((await alice.get(target)).content, {});
  }
});
