/** The endpoints that write to rooms: who may call them, what they answer, what they refuse. The rules are tested with the engine. */
import assert from "node:assert/strict";
import { systemClock } from "../../src/lib/clock.ts";
import { hasEvent, isInvitedTo, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const NO_TOKEN = { body: {}, status: 401, errcode: "M_MISSING_TOKEN" };
const FORBIDDEN = { status: 403, errcode: "M_FORBIDDEN" };

testEachServer("two users talk: create, invite, join, send, redact, leave, forget", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "private_chat", name: "Room", topic: "Talk" });
  assert.equal((await alice.state(roomId, { type: "m.room.name" })).name, "Room");
  await bob.fails("POST", path`/join/${roomId}`, { body: {}, ...FORBIDDEN });
  await alice.invite(roomId, bob.userId);
  await bob.syncUntil(isInvitedTo(roomId));
  await bob.post(path`/rooms/${roomId}/join`, { reason: "hello" });
  const eventId = await bob.sendText(roomId, "hi");
  await alice.syncUntil(hasEvent(roomId, eventId));
  const redaction = await bob.put(path`/rooms/${roomId}/redact/${eventId}/t1`, { reason: "typo" });
  assert.match(redaction.event_id, /^\$/);
  await alice.fails("POST", path`/rooms/${roomId}/forget`, { body: {}, status: 400, errcode: "M_UNKNOWN" });
  await bob.leave(roomId);
  await bob.post(path`/rooms/${roomId}/forget`);
  const body = { msgtype: "m.text", body: "still here?" };
  await bob.fails("PUT", path`/rooms/${roomId}/send/m.room.message/t2`, { body, ...FORBIDDEN });
});

testEachServer("moderators kick, ban and unban; others may not", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await carol.join(roomId);
  const target = { user_id: bob.userId, reason: "test" };
  for (const action of ["kick", "ban", "unban"]) {
    const url = path`/rooms/${roomId}/${action}`;
    if (action !== "unban") await carol.fails("POST", url, { body: target, ...FORBIDDEN });
    await alice.fails("POST", url, { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
    await alice.fails("POST", url, { body: { user_id: "bob" }, status: 400, errcode: "M_BAD_JSON" });
    await alice.fails("POST", url, { body: "nonsense", status: 400, errcode: "M_NOT_JSON" });
    await hs.anyone.fails("POST", url, { ...NO_TOKEN, body: target });
  }
  await alice.post(path`/rooms/${roomId}/kick`, target);
  await bob.join(roomId);
  await alice.post(path`/rooms/${roomId}/ban`, target);
  await bob.fails("POST", path`/join/${roomId}`, { body: {}, ...FORBIDDEN });
  await carol.fails("POST", path`/rooms/${roomId}/unban`, { body: target, ...FORBIDDEN });
  await alice.post(path`/rooms/${roomId}/unban`, target);
  await bob.join(roomId);
});

testEachServer("PUT /send is idempotent by device and transaction id", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const url = path`/rooms/${roomId}/send/m.room.message/${"same/id"}`;
  const first = await alice.put(url, { msgtype: "m.text", body: "1" });
  assert.deepEqual(await alice.put(url, { msgtype: "m.text", body: "1" }), first);
  await hs.restart();
  assert.deepEqual(await hs.again(alice).put(url, { msgtype: "m.text", body: "1" }), first);
  const other = await hs.again(alice).anotherDevice();
  assert.notDeepEqual(await other.put(url, { msgtype: "m.text", body: "1" }), first);
});

testEachServer("PUT /state takes an empty state key with and without the slash, and encoded ones", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  await alice.put(path`/rooms/${roomId}/state/m.room.topic`, { topic: "one" });
  await alice.put(path`/rooms/${roomId}/state/m.room.topic/`, { topic: "two" });
  assert.equal((await alice.state(roomId, { type: "m.room.topic" })).topic, "two");
  await alice.setState(roomId, { type: "org.example/t", stateKey: "a/b %2F", content: { n: 1 } });
  assert.deepEqual(await alice.state(roomId, { type: "org.example/t", stateKey: "a/b %2F" }), { n: 1 });
});

testEachServer("sending refuses bodies and ids that are not what they should be", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const send = path`/rooms/${roomId}/send/m.room.message/t`;
  await alice.fails("PUT", send, { body: "[1]", status: 400, errcode: "M_BAD_JSON" });
  await alice.fails("PUT", send, { body: "{", status: 400, errcode: "M_NOT_JSON" });
  await alice.fails("PUT", send, { body: { body: "x".repeat(70_000) }, status: 413, errcode: "M_TOO_LARGE" });
  await alice.fails("PUT", send, { body: `{"n": 1.5}`, status: 400, errcode: "M_BAD_JSON" });
  await alice.fails("PUT", send, {
    body: `${'{"a":'.repeat(200)}1${"}".repeat(200)}`,
    status: 400,
    errcode: "M_BAD_JSON",
  });
  await hs.anyone.fails("PUT", send, NO_TOKEN);
  const bad = { body: {}, status: 400, errcode: "M_INVALID_PARAM" };
  await alice.fails("PUT", path`/rooms/${"not a room"}/send/m.room.message/t`, bad);
  await alice.fails("PUT", path`/rooms/${roomId}/redact/${"not an event"}/t`, bad);
  await alice.fails("PUT", path`/rooms/${roomId}/send/${"x".repeat(256)}/t`, bad);
});

testEachServer(
  "what can only be a mistake is refused: an ACL without this server, redacting in another room",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice] = await hs.register("alice");
    const [roomId, other] = [await alice.createRoom(), await alice.createRoom()];
    const bad = { status: 400, errcode: "M_INVALID_PARAM" };
    const acl = path`/rooms/${roomId}/state/m.room.server_acl`;
    for (const content of [{}, { allow: "*" }, { allow: ["other.test"] }, { allow: ["*"], deny: ["*.test"] }]) {
      await alice.fails("PUT", acl, { body: content, ...bad });
    }
    await alice.put(acl, { allow: ["*"], deny: ["other.test"] });
    const eventId = await alice.sendText(roomId, "hello");
    await alice.fails("PUT", path`/rooms/${other}/redact/${eventId}/1`, { body: {}, ...bad });
    await alice.put(path`/rooms/${roomId}/redact/${eventId}/1`, {});
  },
);

testEachServer("calling everybody in a public room takes a moderator", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const call = { call_id: "1", party_id: "1", version: "1", lifetime: 1_000, offer: { type: "offer", sdp: "" } };
  for (const preset of ["public_chat", "private_chat"]) {
    const roomId = await alice.createRoom({ preset, invite: [bob.userId] });
    await bob.post(path`/rooms/${roomId}/join`, {});
    const target = path`/rooms/${roomId}/send/m.call.invite/1`;
    assert.equal((await bob.request("PUT", target, { body: call })).status, preset === "public_chat" ? 403 : 200);
    await alice.put(target, call);
  }
});

testEachServer("POST /createRoom and /upgrade refuse what does not fit", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const bad: [unknown, number, string][] = [
    [{ room_version: 9 }, 400, "M_BAD_JSON"],
    [{ room_version: "nonsense" }, 400, "M_UNSUPPORTED_ROOM_VERSION"],
    [{ visibility: "secret" }, 400, "M_BAD_JSON"],
    [{ preset: "party" }, 400, "M_BAD_JSON"],
    [{ initial_state: [{ type: "x" }] }, 400, "M_MISSING_PARAM"],
    [{ initial_state: {} }, 400, "M_BAD_JSON"],
    [{ invite: "@a:b" }, 400, "M_BAD_JSON"],
    [{ creation_content: [] }, 400, "M_BAD_JSON"],
    ["{", 400, "M_NOT_JSON"],
  ];
  for (const [body, status, errcode] of bad) await alice.fails("POST", "/createRoom", { body, status, errcode });
  await hs.anyone.fails("POST", "/createRoom", NO_TOKEN);
  const roomId = await alice.createRoom({ room_version: "10" });
  const url = path`/rooms/${roomId}/upgrade`;
  await alice.fails("POST", url, { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
  await alice.fails("POST", url, { body: { new_version: "99" }, status: 400, errcode: "M_UNSUPPORTED_ROOM_VERSION" });
  const { replacement_room: replacement } = await alice.post(url, { new_version: "12" });
  assert.equal((await alice.state(roomId, { type: "m.room.tombstone" })).replacement_room, replacement);
});

testEachServer("suspended users read and leave, and send nothing; locked ones can only log out", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const { accounts } = hs.parts.accounts;
  await accounts.setFlags(bob.userId as Parameters<typeof accounts.setFlags>[0], { isSuspended: true });
  await bob.sync();
  const body = { msgtype: "m.text", body: "x" };
  const suspended = { body, status: 403, errcode: "M_USER_SUSPENDED" };
  await bob.fails("PUT", path`/rooms/${roomId}/send/m.room.message/t`, suspended);
  await bob.leave(roomId);
  await accounts.setFlags(bob.userId as Parameters<typeof accounts.setFlags>[0], { isLocked: true });
  const locked = await bob.fails("GET", "/account/whoami", { status: 401, errcode: "M_USER_LOCKED" });
  assert.equal(locked.soft_logout, true);
  await bob.post("/logout");
});

testEachServer("rc_message limits each user by itself, and time gives new tokens", async (database) => {
  let elapsed = 0;
  const clock = { ...systemClock, monotonic: () => elapsed };
  const config = { rc_message: { per_second: 0.5, burst_count: 3 } };
  await using hs = await TestServer.start({ database, config, clock });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  for (let count = 0; count < 3; count++) await alice.sendText(roomId, "x");
  const body = { msgtype: "m.text", body: "x" };
  const limited = { body, status: 429, errcode: "M_LIMIT_EXCEEDED" };
  const { retry_after_ms } = await alice.fails("PUT", path`/rooms/${roomId}/send/m.room.message/t`, limited);
  assert.equal(retry_after_ms, 2000);
  await bob.sendText(roomId, "y");
  elapsed += 2000;
  await alice.sendText(roomId, "x");
  await alice.fails("PUT", path`/rooms/${roomId}/send/m.room.message/t`, limited);
});

testEachServer("repeating identical state takes what setting it took", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({
    preset: "public_chat",
    power_level_content_override: { events: { "org.example.note": 0 } },
  });
  await bob.join(roomId);
  const note = { type: "org.example.note", content: { a: 1 } };
  const eventId = await bob.setState(roomId, note);
  assert.equal(await bob.setState(roomId, note), eventId);
  const refused = { body: note.content, status: 403, errcode: "M_FORBIDDEN" };
  const levels = await alice.state(roomId, { type: "m.room.power_levels" });
  const closed = { ...levels, events: { "org.example.note": 50 } };
  await alice.setState(roomId, { type: "m.room.power_levels", content: closed });
  await bob.fails("PUT", path`/rooms/${roomId}/state/org.example.note/`, refused);
  await alice.setState(roomId, { type: "m.room.power_levels", content: levels });
  assert.equal(await bob.setState(roomId, note), eventId);
  await bob.leave(roomId);
  await bob.fails("PUT", path`/rooms/${roomId}/state/org.example.note/`, refused);
});
