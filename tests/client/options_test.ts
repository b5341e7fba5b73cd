/** Options of the configuration that change what the client API allows, each a little. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { defaultConfig } from "../../src/config/load.ts";
import { userAgentOf } from "../../src/config/user_agent.ts";
import { VERSION } from "../../src/lib/version.ts";
import type { UserId } from "../../src/protocol/ids.ts";
import { selectUser } from "../../src/storage/users.ts";
import { path, type TestClient } from "../harness/client.ts";
import { SHARED_SECRET, testEachServer, TestServer } from "../harness/server.ts";

Deno.test("user_agent_suffix follows the name and version", () => {
  assert.equal(userAgentOf(defaultConfig("hs.test")), `synapse-ts/${VERSION}`);
  assert.equal(
    userAgentOf(defaultConfig("hs.test", { user_agent_suffix: " (staging)" })),
    `synapse-ts/${VERSION}  (staging)`,
  );
});

testEachServer("block_non_admin_invites lets administrators invite, and nobody else in any way", async (database) => {
  await using hs = await TestServer.start({ database, config: { block_non_admin_invites: true } });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const room = await alice.createRoom();
  const refused = { status: 403, errcode: "M_FORBIDDEN" };
  await alice.fails("POST", path`/rooms/${room}/invite`, { body: { user_id: bob.userId }, ...refused });
  await alice.fails("POST", "/createRoom", { body: { invite: [bob.userId] }, ...refused });
  await alice.fails("PUT", path`/rooms/${room}/state/m.room.member/${bob.userId}`, {
    body: { membership: "invite" },
    ...refused,
  });
  const own = await admin.createRoom();
  await admin.invite(own, bob.userId);
  await bob.join(own);
});

testEachServer("filter_timeline_limit bounds what a filter asks for, stored or not", async (database) => {
  await using hs = await TestServer.start({ database, config: { filter_timeline_limit: 3 } });
  const [alice] = await hs.register("alice");
  const room = await alice.createRoom();
  for (let i = 0; i < 6; i++) await alice.sendText(room, `${i}`);
  const filter = { room: { timeline: { limit: 50 } } };
  const { filter_id: id } = await alice.post(path`/user/${alice.userId}/filter`, filter);
  for (const text of [id, JSON.stringify(filter)]) {
    const { rooms } = await alice.get("/sync", { filter: text });
    assert.equal(rooms.join[room].timeline.events.length, 3);
    assert.equal(rooms.join[room].timeline.limited, true);
  }
});

testEachServer(
  "allow_per_room_profiles: false puts the profile into member events, whatever they ask for",
  async (database) => {
    await using hs = await TestServer.start({ database, config: { allow_per_room_profiles: false } });
    const [alice] = await hs.register("alice");
    await alice.put(path`/profile/${alice.userId}/displayname`, { displayname: "Alice" });
    const room = await alice.createRoom();
    await alice.setState(room, {
      type: "m.room.member",
      stateKey: alice.userId,
      content: { membership: "join", displayname: "Somebody else", avatar_url: "mxc://x/y", "org.example.kept": 1 },
    });
    const member = await alice.state(room, { type: "m.room.member", stateKey: alice.userId });
    assert.deepEqual(member, { membership: "join", displayname: "Alice", "org.example.kept": 1 });
  },
);

async function upload(client: TestClient, { type, bytes }: { type: string; bytes: number }): Promise<string> {
  const answer = await fetch(`${client.base}/_matrix/media/v3/upload`, {
    method: "POST",
    headers: { authorization: `Bearer ${client.accessToken}`, "content-type": type },
    body: new Uint8Array(bytes),
  });
  return (await answer.json()).content_uri;
}

testEachServer("media_upload_limits that name no page lead to one of the server's", async (database) => {
  await using hs = await TestServer.start({
    database,
    config: { media_upload_limits: [{ time_period: "1h", max_size: 10 }] },
  });
  const [alice] = await hs.register("alice");
  const refused = { status: 403, errcode: "M_USER_LIMIT_EXCEEDED", body: "more than 10" };
  const { info_uri: uri } = await alice.fails("POST", "/_matrix/media/v3/upload", refused);
  assert.match(await hs.anyone.ok("GET", new URL(uri).pathname), /Upload limit reached/);
});

testEachServer("max_avatar_size and allowed_avatar_mimetypes judge avatars", async (database) => {
  const config = { max_avatar_size: "1K", allowed_avatar_mimetypes: ["image/png"] };
  await using hs = await TestServer.start({ database, config });
  const [alice] = await hs.register("alice");
  const target = path`/profile/${alice.userId}/avatar_url`;
  const right = await upload(alice, { type: "image/png", bytes: 1_024 });
  await alice.put(target, { avatar_url: right });
  const wrong = [
    await upload(alice, { type: "image/png", bytes: 1_025 }),
    await upload(alice, { type: "image/gif", bytes: 10 }),
    "mxc://hs.test/nothing",
    "https://example.org/a.png",
  ];
  for (const url of wrong) {
    await alice.fails("PUT", target, { body: { avatar_url: url }, status: 403, errcode: "M_FORBIDDEN" });
  }
  assert.equal((await alice.get(target)).avatar_url, right);
  await alice.put(target, { avatar_url: "" });
});

testEachServer(
  "enable_media_repo: false serves no media; default_identity_server is in the well-known document",
  async (database) => {
    await using hs = await TestServer.start({
      database,
      config: {
        enable_media_repo: false,
        public_baseurl: "https://hs.test/",
        default_identity_server: "https://id.test",
      },
    });
    const [alice] = await hs.register("alice");
    const answer = await fetch(`${hs.base}/_matrix/media/v3/config`, {
      headers: { authorization: `Bearer ${alice.accessToken}` },
    });
    assert.equal(answer.status, 404);
    assert.equal((await answer.json()).errcode, "M_UNRECOGNIZED");
    const document = await (await fetch(`${hs.base}/.well-known/matrix/client`)).json();
    assert.deepEqual(document["m.identity_server"], { base_url: "https://id.test" });
  },
);

testEachServer("user_types names the type of new accounts and which others there are", async (database) => {
  const config = { user_types: { default_user_type: "member", extra_user_types: ["member", "kiosk"] } };
  await using hs = await TestServer.start({ database, config: { ...config, allow_guest_access: true } });
  const [alice] = await hs.register("alice");
  const guest = await hs.registerGuest();
  const typeOf = async (userId: string) => (await selectUser(hs.parts.core.db, userId as UserId))?.userType;
  assert.equal(await typeOf(alice.userId), "member");
  assert.equal(await typeOf(guest.userId), null);
  const register = async (username: string, userType: string) => {
    const { nonce } = await hs.anyone.ok("GET", "/_synapse/admin/v1/register");
    const text = [nonce, username, "password", "notadmin", userType].join("\0");
    const mac = createHmac("sha1", SHARED_SECRET).update(text).digest("hex");
    return { nonce, username, password: "password", admin: false, user_type: userType, mac };
  };
  const made = await register("kiosk", "kiosk");
  await hs.anyone.ok("POST", "/_synapse/admin/v1/register", { body: made });
  assert.equal(await typeOf("@kiosk:hs.test"), "kiosk");
  const wrong = await register("wrong", "emperor");
  await hs.anyone.fails("POST", "/_synapse/admin/v1/register", {
    body: wrong,
    status: 400,
    errcode: "M_INVALID_PARAM",
  });
  assert.throws(
    () => defaultConfig("hs.test", { user_types: { default_user_type: "x" } }),
    /user_types\.default_user_type/,
  );
});
