import assert from "node:assert/strict";
import { hasEvent, type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const GUESTS = { allow_guest_access: true };
const FORBIDDEN = { status: 403, errcode: "M_GUEST_ACCESS_FORBIDDEN" };

async function openRoom(owner: TestClient, { guests = true, visibility = "shared" } = {}): Promise<string> {
  return await owner.createRoom({
    preset: "public_chat",
    initial_state: [
      { type: "m.room.guest_access", state_key: "", content: { guest_access: guests ? "can_join" : "forbidden" } },
      { type: "m.room.history_visibility", state_key: "", content: { history_visibility: visibility } },
    ],
  });
}

function membershipOf(client: TestClient, { roomId, userId }: { roomId: string; userId: string }): Promise<Json> {
  return client.state(roomId, { type: "m.room.member", stateKey: userId });
}

testEachServer("guests register only where the configuration lets them", async (database) => {
  await using hs = await TestServer.start({ database });
  await hs.anyone.fails("POST", "/register?kind=guest", { status: 403, errcode: "M_FORBIDDEN", body: {} });
  await hs.restart(GUESTS);
  const guest = await hs.registerGuest();
  assert.deepEqual(await guest.get("/account/whoami"), {
    user_id: guest.userId,
    device_id: guest.deviceId,
    is_guest: true,
  });
});

testEachServer("guests join rooms that let them in, talk there and leave", async (database) => {
  await using hs = await TestServer.start({ database, config: GUESTS });
  const [alice] = await hs.register("alice");
  const guest = await hs.registerGuest();
  const closed = await openRoom(alice, { guests: false });
  await guest.fails("POST", path`/join/${closed}`, { ...FORBIDDEN, body: {} });
  await guest.fails("POST", path`/rooms/${closed}/join`, { ...FORBIDDEN, body: {} });
  const body = { membership: "join" };
  await guest.fails("PUT", path`/rooms/${closed}/state/m.room.member/${guest.userId}`, { ...FORBIDDEN, body });
  const open = await openRoom(alice);
  await guest.join(open);
  const eventId = await guest.sendText(open, "hello");
  await alice.syncUntil(hasEvent(open, eventId));
  assert.deepEqual((await guest.get("/joined_rooms")).joined_rooms, [open]);
  const invite = { body: { membership: "invite" } };
  await guest.fails("PUT", path`/rooms/${open}/state/m.room.member/@x:hs.test`, { ...FORBIDDEN, ...invite });
  await guest.leave(open);
  assert.equal((await membershipOf(alice, { roomId: open, userId: guest.userId })).membership, "leave");
});

testEachServer("guests are put out when a room no longer lets guests in; users stay", async (database) => {
  await using hs = await TestServer.start({ database, config: GUESTS });
  const [alice, bob] = await hs.register("alice", "bob");
  const [one, two] = [await hs.registerGuest(), await hs.registerGuest()];
  const roomId = await openRoom(alice);
  for (const client of [bob, one, two]) await client.join(roomId);
  await alice.sync();
  await alice.setState(roomId, { type: "m.room.guest_access", content: { guest_access: "forbidden" } });
  for (const guest of [one, two]) {
    const left = (event: Json) =>
      event.type === "m.room.member" && event.state_key === guest.userId && event.content.membership === "leave";
    const { since } = alice;
    await alice.syncUntil(hasEvent(roomId, left));
    alice.since = since;
    assert.equal((await membershipOf(alice, { roomId, userId: guest.userId })).membership, "leave");
  }
  assert.equal((await membershipOf(alice, { roomId, userId: bob.userId })).membership, "join");
  await one.fails("POST", path`/join/${roomId}`, { ...FORBIDDEN, body: {} });
});

testEachServer("guests who could not be put out before a restart are put out after it", async (database) => {
  await using hs = await TestServer.start({ database, config: GUESTS });
  const [alice] = await hs.register("alice");
  const guest = await hs.registerGuest();
  const roomId = await openRoom(alice);
  await guest.join(roomId);
  await alice.setState(roomId, { type: "m.room.guest_access", content: { guest_access: "forbidden" } });
  await hs.restart();
  const owner = hs.again(alice);
  const deadline = performance.now() + 20_000;
  while ((await membershipOf(owner, { roomId, userId: guest.userId })).membership !== "leave") {
    assert.ok(performance.now() < deadline, "The guest is still in the room");
  }
});

testEachServer("guests peek into world-readable rooms, and into no others", async (database) => {
  await using hs = await TestServer.start({ database, config: GUESTS });
  const [alice] = await hs.register("alice");
  const guest = await hs.registerGuest();
  const open = await openRoom(alice, { visibility: "world_readable" });
  const shared = await openRoom(alice, { visibility: "shared" });
  const reads = async (roomId: string) => {
    const eventId = await alice.sendText(roomId, "hello");
    return [
      path`/rooms/${roomId}/messages?dir=b`.replace("%3F", "?"),
      path`/rooms/${roomId}/state`,
      path`/rooms/${roomId}/state/m.room.create/`,
      path`/rooms/${roomId}/members`,
      path`/rooms/${roomId}/initialSync`,
      path`/rooms/${roomId}/context/${eventId}`,
    ];
  };
  for (const target of await reads(open)) await guest.get(target);
  for (const target of await reads(shared)) await guest.fails("GET", target, { status: 403, errcode: "M_FORBIDDEN" });
  const eventId = await alice.sendText(open, "peekable");
  assert.equal((await guest.get(path`/rooms/${open}/event/${eventId}`)).content.body, "peekable");
  const { chunk } = await guest.get(path`/rooms/${open}/messages`, { dir: "b" });
  assert.equal(chunk[0].event_id, eventId);
});

testEachServer("a guest becomes a user, keeping name, rooms and session", async (database) => {
  await using hs = await TestServer.start({ database, config: GUESTS });
  const [alice] = await hs.register("alice");
  const guest = await hs.registerGuest();
  const roomId = await openRoom(alice);
  await guest.join(roomId);
  const username = guest.userId.slice(1, guest.userId.indexOf(":"));
  const auth = { type: "m.login.dummy" };
  const upgrade = { username, password: "a new password", guest_access_token: guest.accessToken, auth };
  const wrong = [
    { ...upgrade, username: "somebody" },
    { ...upgrade, username: "alice" },
    { ...upgrade, guest_access_token: alice.accessToken },
  ];
  for (const body of wrong) {
    await hs.anyone.fails("POST", "/register", { status: 403, errcode: "M_FORBIDDEN", body });
  }
  await hs.anyone.fails("POST", "/register", {
    status: 401,
    errcode: "M_UNKNOWN_TOKEN",
    body: { ...upgrade, guest_access_token: "nonsense" },
  });
  const { guest_access_token: _, ...bare } = upgrade;
  await hs.anyone.fails("POST", "/register", { status: 400, errcode: "M_USER_IN_USE", body: bare });
  const { user_id: userId } = await hs.anyone.ok("POST", "/register", { body: upgrade });
  assert.equal(userId, guest.userId);
  assert.equal((await guest.get("/account/whoami")).is_guest, false);
  assert.deepEqual((await guest.get("/joined_rooms")).joined_rooms, [roomId]);
  const identifier = { type: "m.id.user", user: username };
  await hs.anyone.ok("POST", "/login", { body: { type: "m.login.password", identifier, password: "a new password" } });
  await alice.setState(roomId, { type: "m.room.guest_access", content: { guest_access: "forbidden" } });
  await alice.sendText(roomId, "still here?");
  assert.equal((await membershipOf(alice, { roomId, userId })).membership, "join");
});

testEachServer("guests change their display name and nothing else of their profile", async (database) => {
  await using hs = await TestServer.start({ database, config: GUESTS });
  const guest = await hs.registerGuest();
  const target = path`/profile/${guest.userId}`;
  await guest.put(`${target}/displayname`, { displayname: "A guest" });
  await guest.fails("PUT", `${target}/avatar_url`, { ...FORBIDDEN, body: { avatar_url: "mxc://hs.test/abc" } });
  await guest.fails("DELETE", `${target}/m.tz`, FORBIDDEN);
  assert.deepEqual(await guest.get(target), { displayname: "A guest" });
  await guest.delete(`${target}/displayname`);
});
