import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { hasEvent, isInvitedTo, type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const SUSPENDED = { status: 403, errcode: "M_USER_SUSPENDED" };
const V1 = "/_matrix/client/v1";

async function setFlags(hs: TestServer, { client, ...flags }: { client: TestClient } & Json): Promise<void> {
  const { accounts } = hs.parts.accounts;
  const userId = client.userId as Parameters<typeof accounts.setFlags>[0];
  const { isShadowBanned, ...others } = flags;
  await accounts.setFlags(userId, others);

  if (isShadowBanned !== undefined) await accounts.setShadowBan(userId, isShadowBanned);
}

function settled(hs: TestServer): Promise<void> {
  return hs.parts.accounts.userRooms.settle();
}

testEachServer(
  "a suspended user reads, leaves and takes back their own messages, and nothing else",
  async (database) => {
    await using hs = await TestServer.start({ database });
    const [alice, bob] = await hs.register("alice", "bob");
    const roomId = await alice.createRoom({ preset: "public_chat" });
    const other = await alice.createRoom({ preset: "public_chat" });
    const invited = await alice.createRoom({ invite: [bob.userId] });
    await bob.join(roomId);
    await alice.setState(roomId, {
      type: "m.room.power_levels",
      content: { ...await alice.state(roomId, { type: "m.room.power_levels" }), redact: 0, kick: 0, state_default: 0 },
    });
    const own = await bob.sendText(roomId, "mine");
    const hers = await alice.sendText(roomId, "hers");
    await setFlags(hs, { client: bob, isSuspended: true });
    const text = { msgtype: "m.text", body: "x" };
    const refused: [string, string, Json][] = [
      ["PUT", path`/rooms/${roomId}/send/m.room.message/1`, text],
      ["PUT", path`/rooms/${roomId}/state/m.room.topic/`, { topic: "x" }],
      ["PUT", path`/rooms/${roomId}/redact/${hers}/2`, {}],
      ["POST", path`/join/${other}`, {}],
      ["POST", path`/rooms/${other}/join`, {}],
      ["POST", path`/knock/${other}`, {}],
      ["POST", path`/join/${invited}`, {}],
      ["POST", path`/rooms/${roomId}/invite`, { user_id: "@carol:hs.test" }],
      ["POST", path`/rooms/${roomId}/kick`, { user_id: alice.userId }],
      ["POST", "/createRoom", {}],
      ["PUT", path`/profile/${bob.userId}/displayname`, { displayname: "Bobby" }],
      ["DELETE", path`/profile/${bob.userId}/displayname`, undefined],
    ];
    for (const [method, target, body] of refused) await bob.fails(method, target, { ...SUSPENDED, body });
    await bob.syncUntil(hasEvent(roomId, hers));
    await bob.get(path`/rooms/${roomId}/messages`, { dir: "b" });
    await bob.put(path`/rooms/${roomId}/redact/${own}/3`, {});
    assert.deepEqual((await alice.get(path`/rooms/${roomId}/event/${own}`)).content, {});
    await bob.leave(invited);
    await bob.leave(roomId);
    const second = await bob.anotherDevice();
    await second.fails("POST", path`/join/${other}`, { ...SUSPENDED, body: {} });
    await second.post("/logout");
    await setFlags(hs, { client: bob, isSuspended: false });
    await bob.join(other);
  },
);

testEachServer("a locked user only logs out, softly, and is who they were when unlocked", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const second = await alice.anotherDevice();
  await setFlags(hs, { client: alice, isLocked: true });
  const failure = { status: 401, errcode: "M_USER_LOCKED" };
  for (const [method, target] of [["GET", "/sync"], ["GET", "/account/whoami"], ["POST", "/createRoom"]] as const) {
    const body = await alice.fails(method, target, { ...failure, ...(method === "POST" ? { body: {} } : {}) });
    assert.equal(body.soft_logout, true);
  }
  await second.post("/logout");
  await second.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  await setFlags(hs, { client: alice, isLocked: false });
  await alice.get("/account/whoami");
});

testEachServer("a shadow-banned user notices nothing, and nobody notices them", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  const hers = await alice.sendText(roomId, "hers");
  const own = await bob.sendText(roomId, "before");
  await setFlags(hs, { client: bob, isShadowBanned: true });
  await alice.sync();
  const pretended = await bob.sendText(roomId, "hello?");
  assert.match(pretended, /^\$/);
  await bob.setState(roomId, { type: "m.test", content: {} }).catch(() => null);
  const { event_id: redaction } = await bob.put(path`/rooms/${roomId}/redact/${own}/r1`, {});
  assert.match(redaction, /^\$/);
  await bob.invite(roomId, "@carol:hs.test");
  const lonely = await bob.createRoom({ invite: [alice.userId] });
  await bob.invite(lonely, alice.userId);
  const { replacement_room: replacement } = await bob.ok("POST", path`/rooms/${lonely}/upgrade`, {
    body: { new_version: "11" },
  });
  assert.match(replacement, /^!/);
  await bob.put(path`/rooms/${roomId}/typing/${bob.userId}`, { typing: true, timeout: 10_000 });
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "Look at me" });
  await settled(hs);
  const last = await alice.sendText(roomId, "quiet here");
  const response = await alice.syncUntil(hasEvent(roomId, last));
  const { timeline, ephemeral } = response.rooms.join[roomId];
  assert.deepEqual(timeline.events.map((event: Json) => event.event_id), [last]);
  assert.deepEqual((ephemeral?.events ?? []).filter((event: Json) => event.type === "m.typing"), []);
  assert.equal(isInvitedTo(lonely)(response), false);
  assert.equal((await alice.get(path`/rooms/${roomId}/event/${own}`)).content.body, "before");
  assert.equal((await bob.get(path`/rooms/${roomId}/event/${hers}`)).content.body, "hers");
  await bob.leave(roomId);
  await setFlags(hs, { client: bob, isShadowBanned: false });
  await bob.join(roomId);
  await alice.syncUntil(hasEvent(roomId, await bob.sendText(roomId, "heard again")));
});

testEachServer("a shadow-banned user has no name or avatar of their own in a room", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const other = await alice.createRoom({ preset: "public_chat" });
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "Bob" });
  await settled(hs);
  await setFlags(hs, { client: bob, isShadowBanned: true });
  const own = { displayname: "Look at me", avatar_url: "mxc://x/y", "org.example.kept": 1 };
  const shown = { membership: "join", displayname: "Bob", "org.example.kept": 1 };
  await bob.post(path`/join/${roomId}`, own);
  const member = { type: "m.room.member", stateKey: bob.userId };
  assert.deepEqual(await alice.state(roomId, member), shown);
  await bob.setState(roomId, { ...member, content: { ...own, "org.example.kept": 2, membership: "join" } });
  assert.deepEqual(await alice.state(roomId, member), { ...shown, "org.example.kept": 2 });
  await setFlags(hs, { client: bob, isShadowBanned: false });
  await bob.post(path`/join/${other}`, own);
  assert.deepEqual(await alice.state(other, member), { ...own, membership: "join" });
});

testEachServer("deactivation ends sessions, leaves rooms and removes what was kept", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const invited = await alice.createRoom({ invite: [bob.userId] });
  await bob.join(roomId);
  await bob.put(path`/user/${bob.userId}/account_data/m.test`, { a: 1 });
  await bob.put(path`/pushrules/global/content/word`, { pattern: "word", actions: ["notify"] });
  await bob.post("/room_keys/version", { algorithm: "m.megolm_backup.v1.curve25519-aes-sha2", auth_data: {} });
  const { x = "" } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  const publicKey = x.replaceAll("-", "+").replaceAll("_", "/");
  const master = { user_id: bob.userId, usage: ["master"], keys: { [`ed25519:${publicKey}`]: publicKey } };
  await bob.post("/keys/device_signing/upload", { master_key: master, auth: bob.auth() });
  const { session } = await bob.fails("POST", "/account/deactivate", {
    status: 401,
    errcode: undefined,
    body: { erase: false },
  });
  await bob.post("/account/deactivate", { auth: bob.auth(session), erase: false });
  await bob.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  const login = { ...bob.auth() };
  await hs.anyone.fails("POST", "/login", { status: 403, errcode: "M_USER_DEACTIVATED", body: login });
  const again = { username: "bob", password: "something else", auth: { type: "m.login.dummy" } };
  await hs.anyone.fails("POST", "/register", { status: 400, errcode: "M_USER_IN_USE", body: again });
  await settled(hs);
  for (const room of [roomId, invited]) {
    assert.equal((await alice.state(room, { type: "m.room.member", stateKey: bob.userId })).membership, "leave");
  }
  const { master_keys: masters, device_keys: devices } = await alice.post("/keys/query", {
    device_keys: { [bob.userId]: [] },
  });
  assert.deepEqual([masters[bob.userId], devices[bob.userId] ?? {}], [undefined, {}]);
  const { results } = await alice.post("/user_directory/search", { search_term: "bob" });
  assert.deepEqual(results, []);
  const { accountData, keyBackup } = hs.parts.userData;
  const userId = bob.userId as Parameters<typeof accountData.ignoredUsers>[0];
  assert.equal(await accountData.read({ userId, roomId: null, type: "m.test" }), null);
  await assert.rejects(keyBackup.describe({ userId, version: null }));
  assert.deepEqual(
    (await hs.parts.pushRules.content(userId) as Json).global.content.map((rule: Json) => rule.rule_id),
    [
      ".m.rule.contains_user_name",
    ],
  );
});

testEachServer("what an erased user said is shown to those who were there, and to no newcomers", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "Bob" });
  const eventId = await bob.sendText(roomId, "remember me");
  const { session } = await bob.fails("POST", "/account/deactivate", {
    status: 401,
    errcode: undefined,
    body: { erase: true },
  });
  await bob.post("/account/deactivate", { auth: bob.auth(session), erase: true });
  await settled(hs);
  await carol.join(roomId);
  for (const restarted of [false, true]) {
    if (restarted) await hs.restart();
    const [old, young] = [hs.again(alice), hs.again(carol)];
    const shown = async (client: TestClient) => {
      const { chunk } = await client.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 50 });
      return chunk.find((event: Json) => event.event_id === eventId)?.content;
    };
    assert.equal((await shown(old)).body, "remember me");
    assert.deepEqual(await shown(young), {});
    const { chunk } = await young.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 50 });
    assert.ok(chunk.some((event: Json) => event.state_key === bob.userId));
    assert.doesNotMatch(JSON.stringify(chunk), /"Bob"/);
    assert.deepEqual((await young.get(path`/rooms/${roomId}/event/${eventId}`)).content, {});
    assert.equal((await old.get(path`/rooms/${roomId}/event/${eventId}`)).content.body, "remember me");
    const noProfile = { status: 404, errcode: "M_NOT_FOUND" };
    await old.fails("GET", path`/profile/${bob.userId}`, noProfile);
    await old.fails("GET", path`/profile/${bob.userId}/displayname`, noProfile);
  }
});

testEachServer("account data is deleted, and syncs say so (MSC3391)", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const unstable = "/_matrix/client/unstable/org.matrix.msc3391";
  const globally = path`/user/${alice.userId}/account_data/m.test`;
  const inRoom = path`/user/${alice.userId}/rooms/${roomId}/account_data/m.test`;
  const missing = { status: 404, errcode: "M_NOT_FOUND" };
  for (const target of [globally, inRoom]) {
    for (const viaPut of [false, true]) {
      await alice.put(target, { a: 1 });
      await alice.sync();
      if (viaPut) await alice.put(target, {});
      else await alice.delete(unstable + target);
      await alice.fails("GET", target, missing);
      const isGone = (event: Json) => event.type === "m.test" && JSON.stringify(event.content) === "{}";
      await alice.syncUntil(({ rooms, account_data: data }) =>
        [...data?.events ?? [], ...rooms?.join?.[roomId]?.account_data?.events ?? []].some(isGone)
      );
    }
  }
  alice.since = null;
  const { account_data: data, rooms } = await alice.sync();
  const all = [...data?.events ?? [], ...rooms.join[roomId].account_data?.events ?? []];
  assert.equal(all.some((event: Json) => event.type === "m.test"), false);
  await bob.fails("DELETE", unstable + globally, { status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("DELETE", unstable + globally, { status: 401, errcode: "M_MISSING_TOKEN" });
});

testEachServer("the notification settings of a device go with it (MSC3890)", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const second = await alice.anotherDevice("SECOND");
  for (const prefix of ["m.", "org.matrix.msc3890."]) {
    const target = path`/user/${alice.userId}/account_data/${`${prefix}local_notification_settings.SECOND`}`;
    await second.put(target, { is_silenced: true });
  }
  await second.post("/logout");
  for (const prefix of ["m.", "org.matrix.msc3890."]) {
    const target = path`/user/${alice.userId}/account_data/${`${prefix}local_notification_settings.SECOND`}`;
    await alice.fails("GET", target, { status: 404, errcode: "M_NOT_FOUND" });
  }
});

testEachServer("POST /login/get_token logs another device in, once, and asks for the password", async (database) => {
  const config = { login_via_existing_session: { enabled: true, require_ui_auth: true, token_timeout: "1m" } };
  await using hs = await TestServer.start({ database, config });
  const [alice] = await hs.register("alice");
  const target = `${V1}/login/get_token`;
  const { session } = await alice.fails("POST", target, { status: 401, errcode: undefined, body: {} });
  const { login_token: token, expires_in_ms: expires } = await alice.post(target, { auth: alice.auth(session) });
  assert.equal(expires, 60_000);
  const body = { type: "m.login.token", token };
  assert.equal((await hs.anyone.ok("POST", "/login", { body })).user_id, alice.userId);
  await hs.anyone.fails("POST", "/login", { body, status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("POST", target, { body: {}, status: 401, errcode: "M_MISSING_TOKEN" });
});
