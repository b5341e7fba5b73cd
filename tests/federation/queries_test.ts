/** What other servers ask about our users and rooms. */
import assert from "node:assert/strict";
import type { JsonObject } from "../../src/protocol/json.ts";
import type { TestClient } from "../harness/client.ts";
import { SERVER_NAME, testEachServer, TestServer } from "../harness/server.ts";
import { enc, type Resident, startResident } from "./resident.ts";

async function get(resident: Resident, path: string): Promise<[number, string | undefined]> {
  const { status, body } = await resident.ask(path);
  return [status, body.errcode];
}

testEachServer("profiles are told as far as the configuration lets", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  await alice.ok("PUT", `/profile/${enc(alice.userId)}/displayname`, { body: { displayname: "Alice" } });
  const profile = `/v1/query/profile?user_id=${enc(alice.userId)}`;
  assert.deepEqual((await ask(profile)).body, { displayname: "Alice" });
  assert.deepEqual((await ask(`${profile}&field=displayname`)).body, { displayname: "Alice" });
  assert.deepEqual((await ask(`${profile}&field=avatar_url`)).body, {});
  assert.deepEqual(await get(resident, `/v1/query/profile?user_id=${enc("@nobody:hs.test")}`), [404, "M_NOT_FOUND"]);
  assert.deepEqual(await get(resident, `/v1/query/profile?user_id=${enc("@x:other.test")}`), [400, "M_INVALID_PARAM"]);
  assert.deepEqual(await get(resident, "/v1/query/profile"), [400, "M_MISSING_PARAM"]);
  assert.deepEqual(await get(resident, "/v1/query/profile?user_id=nonsense"), [400, "M_INVALID_PARAM"]);
  assert.deepEqual(await get(resident, "/v1/query/nonsense"), [404, "M_UNRECOGNIZED"]);
});

testEachServer(
  "profiles, names of devices and the room list stay here where the configuration says so",
  async (database) => {
    await using resident = await startResident(database, { allow_profile_lookup_over_federation: false });
    const [alice] = await resident.hs.register("alice");
    assert.deepEqual(await get(resident, `/v1/query/profile?user_id=${enc(alice.userId)}`), [403, "M_FORBIDDEN"]);
    assert.deepEqual(await get(resident, "/v1/publicRooms"), [403, "M_FORBIDDEN"]);
  },
);

testEachServer("aliases lead to the room and the servers in it", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask, signer } = resident;
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat", room_alias_name: "hall" });
  const path = `/v1/query/directory?room_alias=${enc("#hall:hs.test")}`;
  assert.deepEqual((await ask(path)).body, { room_id: roomId, servers: [SERVER_NAME] });
  await resident.join(roomId);
  assert.deepEqual((await ask(path)).body.servers, [SERVER_NAME, signer.serverName]);
  assert.deepEqual(await get(resident, `/v1/query/directory?room_alias=${enc("#no:hs.test")}`), [404, "M_NOT_FOUND"]);
  assert.deepEqual(await get(resident, `/v1/query/directory?room_alias=${enc("#x:y.test")}`), [400, "M_INVALID_PARAM"]);
  assert.deepEqual(await get(resident, "/v1/query/directory?room_alias=x"), [400, "M_INVALID_PARAM"]);
});

testEachServer("the public list is paged and searched", async (database) => {
  await using resident = await startResident(database, { allow_public_rooms_over_federation: true });
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  for (const name of ["One", "Two", "Three"]) {
    await alice.createRoom({ preset: "public_chat", visibility: "public", name });
  }
  const first = await ask("/v1/publicRooms?limit=2");
  assert.deepEqual([first.body.chunk.length, first.body.total_room_count_estimate], [2, 3]);
  const second = await ask(`/v1/publicRooms?limit=2&since=${enc(first.body.next_batch)}`);
  assert.equal(second.body.chunk.length, 1);
  const search = { filter: { generic_search_term: "thr" } };
  const found = await ask("/v1/publicRooms", search, { method: "POST" });
  assert.deepEqual(found.body.chunk.map(({ name }: JsonObject) => name), ["Three"]);
  assert.equal((await ask("/v1/publicRooms", { limit: "x" }, { method: "POST" })).status, 400);
  assert.equal((await ask("/v1/publicRooms?limit=x")).status, 400);
});

async function uploadKeys(client: TestClient): Promise<JsonObject> {
  const { userId, deviceId } = client;
  const device_keys = {
    ...{ user_id: userId, device_id: deviceId, algorithms: ["m.olm.v1.curve25519-aes-sha2"] },
    keys: { [`ed25519:${deviceId}`]: "a2V5" },
    signatures: { [userId]: { [`ed25519:${deviceId}`]: "c2ln" } },
  };
  const one_time_keys = { "signed_curve25519:AAA": { key: "b25l", signatures: {} } };
  await client.ok("POST", "/keys/upload", { body: { device_keys, one_time_keys } });
  return device_keys;
}

for (const isShown of [false, true]) {
  testEachServer(`devices and keys are told, names of devices ${isShown ? "too" : "not"}`, async (database) => {
    await using resident = await startResident(database, { allow_device_name_lookup_over_federation: isShown });
    const { hs, ask } = resident;
    const [alice] = await hs.register("alice");
    const keys = await uploadKeys(alice);
    await alice.ok("PUT", `/devices/${enc(alice.deviceId)}`, { body: { display_name: "Phone" } });
    const { body } = await ask(`/v1/user/devices/${enc(alice.userId)}`);
    const name = isShown ? { device_display_name: "Phone" } : {};
    assert.deepEqual(body.devices, [{ device_id: alice.deviceId, keys, ...name }]);
    assert.equal(body.user_id, alice.userId);
    assert(body.stream_id > 0);
    const wanted = { device_keys: { [alice.userId]: [], "@x:other.test": [] } };
    const queried = (await ask("/v1/user/keys/query", wanted, { method: "POST" })).body;
    const unsigned = isShown ? { unsigned: { device_display_name: "Phone" } } : {};
    assert.deepEqual(queried.device_keys, { [alice.userId]: { [alice.deviceId]: { ...keys, ...unsigned } } });
    assert.equal(queried.user_signing_keys, undefined);
  });
}

testEachServer("a one-time key is handed out once", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  await uploadKeys(alice);
  const one_time_keys = { [alice.userId]: { [alice.deviceId]: "signed_curve25519" } };
  const claim = async () =>
    (await ask("/v1/user/keys/claim", { one_time_keys }, { method: "POST" })).body.one_time_keys;
  const first = await claim();
  assert.deepEqual(Object.keys(first[alice.userId][alice.deviceId]), ["signed_curve25519:AAA"]);
  assert.deepEqual(await claim(), {});
  const post = async (body: JsonObject) => (await ask("/v1/user/keys/claim", body, { method: "POST" })).body.errcode;
  assert.equal(await post({}), "M_MISSING_PARAM");
  assert.equal(await post({ one_time_keys: { nonsense: {} } }), "M_BAD_JSON");
  assert.equal(await post({ one_time_keys: { [alice.userId]: { D: 5 } } }), "M_BAD_JSON");
  assert.deepEqual(await get(resident, `/v1/user/devices/${enc("@nobody:hs.test")}`), [404, "M_NOT_FOUND"]);
  assert.deepEqual(await get(resident, `/v1/user/devices/${enc("@x:other.test")}`), [400, "M_INVALID_PARAM"]);
});

testEachServer("a space is shown with the children that a server's users could know of", async (database) => {
  await using resident = await startResident(database);
  const { hs, ask } = resident;
  const [alice] = await hs.register("alice");
  const space = await alice.createRoom({ preset: "public_chat", creation_content: { type: "m.space" }, name: "Space" });
  const open = await alice.createRoom({ preset: "public_chat" });
  const secret = await alice.createRoom({ preset: "private_chat" });
  const invited = await alice.createRoom({ preset: "private_chat" });
  for (const child of [open, secret, invited, "!elsewhere:x.test"]) {
    const body = { via: [SERVER_NAME], suggested: child === open };
    await alice.ok("PUT", `/rooms/${enc(space)}/state/m.space.child/${enc(child)}`, { body });
  }
  const path = `/v1/hierarchy/${enc(space)}`;
  const { body } = await ask(path);
  assert.deepEqual([body.room.room_id, body.room.room_type, body.room.children_state.length], [space, "m.space", 4]);
  assert.deepEqual(body.children.map(({ room_id }: JsonObject) => room_id), [open]);
  assert.deepEqual(new Set(body.inaccessible_children), new Set([secret, invited]));
  assert.deepEqual((await ask(`${path}?suggested_only=true`)).body.room.children_state.length, 1);
  assert.deepEqual(await get(resident, `/v1/hierarchy/${enc(secret)}`), [404, "M_NOT_FOUND"]);
  assert.deepEqual(await get(resident, `/v1/hierarchy/${enc("!no:x.test")}`), [404, "M_NOT_FOUND"]);
});

testEachServer("an OpenID token tells who a user is, without a signature", async (database) => {
  await using resident = await startResident(database);
  const [alice] = await resident.hs.register("alice");
  const token = await alice.ok("POST", `/user/${enc(alice.userId)}/openid/request_token`, { body: {} });
  const path = "/_matrix/federation/v1/openid/userinfo";
  const ask = async (query: string) => {
    const { status, body } = await resident.fetch(`${path}${query}`);
    return [status, body.sub ?? body.errcode];
  };
  assert.deepEqual(await ask(`?access_token=${enc(token.access_token)}`), [200, alice.userId]);
  assert.deepEqual(await ask("?access_token=nonsense"), [401, "M_UNKNOWN_TOKEN"]);
  assert.deepEqual(await ask(""), [401, "M_MISSING_TOKEN"]);
});

testEachServer("users see whom the server talks to where that is switched on", async (database) => {
  await using hs = await TestServer.start({
    database,
    config: { federation_domain_whitelist: ["friend.test"], federation_whitelist_endpoint_enabled: true },
  });
  const [alice] = await hs.register("alice");
  const target = "/_synapse/client/v1/config/federation_whitelist";
  await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
  assert.deepEqual(await alice.get(target), { whitelist_enabled: true, whitelist: ["friend.test"] });
  await hs.restart({ federation_whitelist_endpoint_enabled: false });
  await hs.anyone.fails("GET", target, { status: 404, errcode: "M_UNRECOGNIZED" });
});
