/** Presence. Spec: client-server API, "Presence". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { FakeClock } from "../harness/fake_clock.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const HIDDEN = { set_presence: "offline", timeout: 0 };

function status(client: TestClient): string {
  return path`/presence/${client.userId}/status`;
}

function shows(user: TestClient, presence: string): (response: Json) => boolean {
  return (response) =>
    response.presence?.events.some((event: Json) =>
      event.type === "m.presence" && event.sender === user.userId && event.content.presence === presence
    ) === true;
}

testEachServer("presence is set, read and shown to those who share a room, and to nobody else", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  await bob.join(await alice.createRoom({ preset: "public_chat" }));
  assert.equal((await alice.get(status(alice))).presence, "offline");
  for (const client of [bob, carol]) await client.sync(HIDDEN);
  await alice.put(status(alice), { presence: "online", status_msg: "Çok iyi 🦊\u0000" });
  const response = await bob.syncUntil(shows(alice, "online"), { set_presence: "offline" });
  const [event] = response.presence.events.filter((event: Json) => event.sender === alice.userId);
  assert.equal(event.content.status_msg, "Çok iyi 🦊\u0000");
  assert.equal(event.content.currently_active, true);
  assert.ok(event.content.last_active_ago >= 0);
  assert.equal((await bob.get(status(alice))).status_msg, "Çok iyi 🦊\u0000");
  assert.equal((await carol.sync(HIDDEN)).presence, undefined);
  await carol.fails("GET", status(alice), { status: 403, errcode: "M_FORBIDDEN" });
  await carol.join(await bob.createRoom({ preset: "public_chat", invite: [alice.userId] }));
  assert.equal((await carol.sync(HIDDEN)).presence?.events.some((e: Json) => e.sender === alice.userId), undefined);
});

testEachServer("a member who comes in learns who is online", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await alice.put(status(alice), { presence: "online" });
  await bob.sync(HIDDEN);
  await bob.join(roomId);
  await bob.syncUntil(shows(alice, "online"), HIDDEN);
  bob.since = null;
  assert.ok(shows(alice, "online")(await bob.sync(HIDDEN)));
});

testEachServer("syncing sets presence as set_presence says; the most present device counts", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await bob.join(await alice.createRoom({ preset: "public_chat" }));
  const phone = await alice.anotherDevice();
  await bob.sync(HIDDEN);
  await alice.sync(HIDDEN);
  assert.equal((await bob.get(status(alice))).presence, "offline");
  await alice.sync();
  await bob.syncUntil(shows(alice, "online"), { set_presence: "offline" });
  await phone.sync({ set_presence: "unavailable" });
  assert.equal((await bob.get(status(alice))).presence, "online");
  await alice.sync({ set_presence: "unavailable" });
  await bob.syncUntil(shows(alice, "unavailable"), { set_presence: "offline" });
  await phone.sync();
  await bob.syncUntil(shows(alice, "online"), { set_presence: "offline" });
  await phone.put(status(alice), { presence: "offline" });
  await bob.syncUntil(shows(alice, "unavailable"), { set_presence: "offline" });
});

testEachServer(
  "who stops syncing goes offline, also across a restart; who stays idle is unavailable",
  async (database) => {
    const clock = new FakeClock();
    await using hs = await TestServer.start({ database, clock });
    const [alice, bob] = await hs.register("alice", "bob");
    await bob.join(await alice.createRoom({ preset: "public_chat" }));
    await bob.sync(HIDDEN);
    await alice.sync();
    clock.advance(1_000);
    await bob.syncUntil(shows(alice, "online"), HIDDEN);
    clock.advance(31_000);
    await bob.syncUntil(shows(alice, "offline"), HIDDEN);
    await alice.sync();
    clock.advance(1_000);
    await bob.syncUntil(shows(alice, "online"), HIDDEN);
    await hs.restart();
    const again = hs.again(bob);
    assert.equal((await again.get(status(alice))).presence, "online");
    for (let tick = 0; tick < 8; tick++) {
      clock.advance(5_000);
      await again.get(status(alice));
    }
    await again.syncUntil(shows(alice, "offline"), HIDDEN);
  },
);

testEachServer("presence refuses strangers, others and wrong shapes", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const body = { presence: "online" };
  await hs.anyone.fails("PUT", status(alice), { body, status: 401, errcode: "M_MISSING_TOKEN" });
  await hs.anyone.fails("GET", status(alice), { status: 401, errcode: "M_MISSING_TOKEN" });
  await bob.fails("PUT", status(alice), { body, status: 403, errcode: "M_FORBIDDEN" });
  await bob.fails("GET", path`/presence/@nobody:hs.test/status`, { status: 403, errcode: "M_FORBIDDEN" });
  await bob.fails("GET", path`/presence/nonsense/status`, { status: 400, errcode: "M_INVALID_PARAM" });
  await alice.fails("PUT", status(alice), { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
  await alice.fails("PUT", status(alice), { body: { presence: "asleep" }, status: 400, errcode: "M_BAD_JSON" });
  await alice.fails("PUT", status(alice), { body: { ...body, status_msg: 1 }, status: 400, errcode: "M_BAD_JSON" });
  const long = { ...body, status_msg: "x".repeat(5_000) };
  await alice.fails("PUT", status(alice), { body: long, status: 400, errcode: "M_BAD_JSON" });
  assert.equal((await alice.get(status(alice))).presence, "offline");
});

testEachServer("presence.enabled: false tells nobody anything", async (database) => {
  await using hs = await TestServer.start({ database, config: { presence: { enabled: false } } });
  const [alice, bob] = await hs.register("alice", "bob");
  await bob.join(await alice.createRoom({ preset: "public_chat" }));
  await bob.sync();
  await alice.put(status(alice), { presence: "online", status_msg: "hello" });
  await alice.sync();
  assert.equal((await bob.get(status(alice))).presence, "offline");
  assert.equal((await bob.sync()).presence, undefined);
});

testEachServer("a room of exclude_rooms_from_presence shows nobody who is online", async (database) => {
  await using hs = await TestServer.start({ database });
  const [first, second, third] = await hs.register("alice", "bob", "carol");
  const roomId = await first.createRoom({ preset: "public_chat" });
  await second.join(roomId);
  await third.join(await first.createRoom({ preset: "public_chat" }));
  await hs.restart({ exclude_rooms_from_presence: [roomId] });
  const [alice, bob, carol] = [hs.again(first), hs.again(second), hs.again(third)];
  for (const client of [bob, carol]) await client.sync(HIDDEN);
  await alice.put(status(alice), { presence: "online" });
  await carol.syncUntil(shows(alice, "online"), HIDDEN);
  await bob.fails("GET", status(alice), { status: 403, errcode: "M_FORBIDDEN" });
  assert.equal((await bob.sync(HIDDEN)).presence, undefined);
  // Neither does who comes in see anybody there.
  await carol.join(roomId);
  await bob.leave(roomId);
  await bob.sync(HIDDEN);
  await bob.join(roomId);
  assert.equal((await bob.sync(HIDDEN)).presence, undefined);
  // Another room that they share does show it.
  const other = await alice.createRoom({ preset: "public_chat" });
  await bob.join(other);
  await bob.syncUntil(shows(alice, "online"), HIDDEN);
  assert.equal((await bob.get(status(alice))).presence, "online");
});
