/** Typing notifications. Spec: client-server API, "Typing Notifications". */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

function typingIn(response: Json, roomId: string): string[] | undefined {
  const events = response.rooms?.join?.[roomId]?.ephemeral?.events ?? [];
  return events.find((event: Json) => event.type === "m.typing")?.content.user_ids;
}

function showsTyping(roomId: string, ...users: string[]): (response: Json) => boolean {
  return (response) => JSON.stringify(typingIn(response, roomId)) === JSON.stringify(users);
}

testEachServer("typing starts, stops and is shown in the room alone", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const other = await alice.createRoom({ preset: "public_chat" });
  for (const room of [roomId, other]) await bob.join(room);
  await bob.sync();
  const url = path`/rooms/${roomId}/typing/${alice.userId}`;
  await alice.put(url, { typing: true, timeout: 60_000 });
  const response = await bob.syncUntil(showsTyping(roomId, alice.userId));
  assert.equal(response.rooms.join[other], undefined);
  const later = await bob.anotherDevice();
  assert.deepEqual(typingIn(await later.sync(), roomId), [alice.userId]);
  await alice.put(url, { typing: true });
  assert.equal(typingIn(await bob.sync(), roomId), undefined);
  await alice.put(url, { typing: false });
  await bob.syncUntil(showsTyping(roomId));
});

testEachServer(
  "typing ends in time, also when a shorter one comes after a longer, and when its user leaves",
  async (database) => {
    const clock = new FakeClock();
    await using hs = await TestServer.start({ database, clock });
    const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    for (const client of [bob, carol]) await client.join(roomId);
    const type = (client: typeof alice, timeout: number) =>
      client.put(path`/rooms/${roomId}/typing/${client.userId}`, { typing: true, timeout });
    await carol.sync();
    await type(alice, 60_000);
    await type(bob, 2_000);
    await carol.syncUntil(showsTyping(roomId, alice.userId, bob.userId), { timeout: 0 });
    clock.advance(2_000);
    await carol.syncUntil(showsTyping(roomId, alice.userId), { timeout: 0 });
    await alice.leave(roomId);
    await carol.syncUntil(showsTyping(roomId), { timeout: 0 });
  },
);

testEachServer("typing is refused to strangers, for others and in wrong shapes", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const url = path`/rooms/${roomId}/typing/${alice.userId}`;
  await hs.anyone.fails("PUT", url, { body: { typing: true }, status: 401, errcode: "M_MISSING_TOKEN" });
  const forbidden = { body: { typing: true }, status: 403, errcode: "M_FORBIDDEN" };
  await bob.fails("PUT", url, forbidden);
  await bob.fails("PUT", path`/rooms/${roomId}/typing/${bob.userId}`, forbidden);
  await alice.fails("PUT", url, { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
  await alice.fails("PUT", url, { body: { typing: "yes" }, status: 400, errcode: "M_BAD_JSON" });
  await alice.fails("PUT", url, { body: { typing: true, timeout: "1" }, status: 400, errcode: "M_BAD_JSON" });
  await alice.fails("PUT", url, { body: "nonsense", status: 400, errcode: "M_NOT_JSON" });
});
