/** Server notices. Spec: client-server API, "Server Notices"; Synapse's admin API for sending them. */
import assert from "node:assert/strict";
import { hasEvent, type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const SEND = "/_synapse/admin/v1/send_server_notice";
const NOTICES = { system_mxid_localpart: "server", system_mxid_display_name: "The Server", room_name: "Notices" };

function notice(client: TestClient, body = "be nice"): Json {
  return { user_id: client.userId, content: { msgtype: "m.text", body } };
}

async function invitation(client: TestClient): Promise<string> {
  client.since = null;
  const { rooms } = await client.syncUntil((response) => Object.keys(response.rooms?.invite ?? {}).length > 0);
  const [roomId] = Object.keys(rooms.invite);
  assert.ok(roomId);
  return roomId;
}

testEachServer("a notice comes in a room of its own, which cannot be turned down but left", async (database) => {
  await using hs = await TestServer.start({
    database,
    config: { server_notices: NOTICES, encryption_enabled_by_default_for_room_type: "all" },
  });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const { event_id: first } = await admin.post(SEND, notice(alice));
  const roomId = await invitation(alice);
  const errcode = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM";
  await alice.fails("POST", path`/rooms/${roomId}/leave`, { status: 403, errcode, body: {} });
  await alice.join(roomId);
  alice.since = null;
  const response = await alice.syncUntil(hasEvent(roomId, first));
  const room = response.rooms.join[roomId];
  assert.deepEqual(room.account_data.events.find((event: Json) => event.type === "m.tag").content.tags, {
    "m.server_notice": {},
  });
  assert.equal((await alice.state(roomId, { type: "m.room.name" })).name, "Notices");
  const server = await alice.state(roomId, { type: "m.room.member", stateKey: "@server:hs.test" });
  assert.equal(server.displayname, "The Server");
  await alice.fails("GET", path`/rooms/${roomId}/state/m.room.encryption/`, { status: 404, errcode: "M_NOT_FOUND" });
  await alice.fails("PUT", path`/rooms/${roomId}/send/m.room.message/x`, {
    ...{ status: 403, errcode: "M_FORBIDDEN" },
    body: { msgtype: "m.text", body: "no" },
  });
  await alice.leave(roomId);
  await admin.post(SEND, notice(alice, "come back"));
  assert.equal(await invitation(alice), roomId);
});

testEachServer("the notices user gets through to those who block invitations, and is not invited", async (database) => {
  await using hs = await TestServer.start({ database, config: { server_notices: NOTICES } });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const blocking = path`/user/${alice.userId}/account_data/m.invite_permission_config`;
  await alice.put(blocking, { default_action: "block" });
  const roomId = await admin.createRoom({});
  const errcode = "M_INVITE_BLOCKED";
  await admin.fails("POST", path`/rooms/${roomId}/invite`, { status: 403, errcode, body: { user_id: alice.userId } });
  const server = { user_id: "@server:hs.test" };
  await admin.fails("POST", path`/rooms/${roomId}/invite`, { status: 403, errcode, body: server });
  await admin.post(SEND, notice(alice));
  await invitation(alice);
});

testEachServer("a notice with a transaction id is sent once", async (database) => {
  await using hs = await TestServer.start({ database, config: { server_notices: { ...NOTICES, auto_join: true } } });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const ids = await Promise.all([1, 2, 3].map(() => admin.put(`${SEND}/txn`, notice(alice))));
  assert.equal(new Set(ids.map(({ event_id }) => event_id)).size, 1);
  const { rooms } = await alice.sync();
  assert.equal(Object.keys(rooms.join).length, 1);
  await hs.restart({
    server_notices: { ...NOTICES, auto_join: true, room_name: "News", system_mxid_display_name: "S" },
  });
  const again = hs.again(admin);
  assert.deepEqual(await again.put(`${SEND}/txn`, notice(alice)), ids[0]);
  const [roomId] = Object.keys(rooms.join);
  const reader = hs.again(alice);
  assert.equal((await reader.state(roomId ?? "", { type: "m.room.name" })).name, "News");
  const server = { type: "m.room.member", stateKey: "@server:hs.test" };
  assert.equal((await reader.state(roomId ?? "", server)).displayname, "S");
});

testEachServer("only administrators send notices, to users of this server", async (database) => {
  await using hs = await TestServer.start({ database, config: { server_notices: NOTICES } });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  await alice.fails("POST", SEND, { status: 403, errcode: "M_FORBIDDEN", body: notice(alice) });
  await alice.fails("POST", SEND, { status: 401, errcode: "M_MISSING_TOKEN", token: null, body: notice(alice) });
  const bad: [Json, number, string][] = [
    [{ content: {} }, 400, "M_MISSING_PARAM"],
    [{ user_id: alice.userId }, 400, "M_MISSING_PARAM"],
    [{ user_id: alice.userId, content: "x" }, 400, "M_BAD_JSON"],
    [{ user_id: "alice", content: {} }, 400, "M_INVALID_PARAM"],
    [{ user_id: "@a:elsewhere.test", content: {} }, 400, "M_UNKNOWN"],
    [{ user_id: "@nobody:hs.test", content: {} }, 404, "M_NOT_FOUND"],
    [{ user_id: alice.userId, content: {}, type: "m.room.member", state_key: alice.userId }, 400, "M_INVALID_PARAM"],
  ];
  for (const [body, status, errcode] of bad) await admin.fails("POST", SEND, { status, errcode, body });
  assert.deepEqual((await alice.sync()).rooms?.invite ?? {}, {});
  const body = { username: "server", password: "x", auth: { type: "m.login.dummy" } };
  await hs.anyone.fails("POST", "/register", { status: 400, errcode: "M_EXCLUSIVE", body });
});

testEachServer("without the option there are no notices", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  await admin.fails("POST", SEND, { status: 400, errcode: "M_UNKNOWN", body: notice(admin) });
});
