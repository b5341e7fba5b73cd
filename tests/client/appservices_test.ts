import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { AS_TOKEN, HS_TOKEN, TestAppservice } from "../harness/appservice.ts";
import { type Caller, type Failure, type Json, path, type RequestOptions } from "../harness/client.ts";
import { freePort } from "../harness/ports.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const BOT = "@bridgebot:hs.test";
const PUPPET = "@bridge_one:hs.test";

/** Calls as a user of the service. */
function as<T extends Partial<Failure> & RequestOptions>(userId: string, options: T): T & RequestOptions {
  return { ...options, token: AS_TOKEN, query: { ...options.query, user_id: userId } };
}

async function registerPuppet(caller: Caller, username = "bridge_one"): Promise<Json> {
  const body = { type: "m.login.application_service", username };
  return await caller.ok("POST", "/register", { token: AS_TOKEN, body });
}

testEachServer(
  "an application service registers and logs in users of its namespace, and no others",
  async (database) => {
    await using service = await TestAppservice.start();
    await using hs = await TestServer.start({ database, config: service.config });
    const { anyone } = hs;
    const registered = await registerPuppet(anyone);
    assert.equal(registered.user_id, PUPPET);
    assert.equal((await anyone.ok("GET", "/account/whoami", { token: registered.access_token })).user_id, PUPPET);
    const body = { type: "m.login.application_service", username: "other" };
    await anyone.fails("POST", "/register", { token: AS_TOKEN, body, status: 400, errcode: "M_EXCLUSIVE" });
    await anyone.fails("POST", "/register", { body, status: 401, errcode: "M_MISSING_TOKEN" });
    await anyone.fails("POST", "/register", { token: "wrong", body, status: 401, errcode: "M_UNKNOWN_TOKEN" });
    const again = { ...body, username: "bridge_one" };
    await anyone.fails("POST", "/register", { token: AS_TOKEN, body: again, status: 400, errcode: "M_USER_IN_USE" });
    const login = (user: string) => ({
      type: "m.login.application_service",
      identifier: { type: "m.id.user", user },
      device_id: "PUPPET",
    });
    const session = await anyone.ok("POST", "/login", { token: AS_TOKEN, body: login("bridge_one") });
    assert.deepEqual([session.user_id, session.device_id], [PUPPET, "PUPPET"]);
    await hs.register("alice");
    const refused = { token: AS_TOKEN, body: login("alice"), status: 400, errcode: "M_EXCLUSIVE" };
    await anyone.fails("POST", "/login", refused);
    await anyone.fails("POST", "/login", { body: login("bridge_one"), status: 401, errcode: "M_MISSING_TOKEN" });
  },
);

testEachServer("nobody else makes users or aliases of an exclusive namespace", async (database) => {
  await using service = await TestAppservice.start();
  await using hs = await TestServer.start({ database, config: service.config });
  const [alice] = await hs.register("alice");
  for (const username of ["bridge_two", "bridgebot"]) {
    const body = { username, password: "long enough", auth: { type: "m.login.dummy" } };
    await hs.anyone.fails("POST", "/register", { body, status: 400, errcode: "M_EXCLUSIVE" });
  }
  const available = { query: { username: "bridge_two" }, status: 400, errcode: "M_EXCLUSIVE" };
  await hs.anyone.fails("GET", "/register/available", available);
  const roomId = await alice.createRoom();
  const target = path`/directory/room/${"#bridge_room:hs.test"}`;
  await alice.fails("PUT", target, { body: { room_id: roomId }, status: 400, errcode: "M_EXCLUSIVE" });
  const body = { room_alias_name: "bridge_room" };
  await alice.fails("POST", "/createRoom", { body, status: 400, errcode: "M_EXCLUSIVE" });
  const own = await hs.anyone.ok("POST", "/createRoom", { token: AS_TOKEN, body });
  assert.equal((await alice.get(target)).room_id, own.room_id);
  await alice.fails("DELETE", target, { status: 400, errcode: "M_EXCLUSIVE" });
  await hs.anyone.ok("DELETE", target, { token: AS_TOKEN });
  const other = path`/directory/room/${"#mine:hs.test"}`;
  const outside = { token: AS_TOKEN, body: { room_id: own.room_id }, status: 400, errcode: "M_EXCLUSIVE" };
  await hs.anyone.fails("PUT", other, outside);
});

testEachServer("an application service acts as its users and their devices", async (database) => {
  await using service = await TestAppservice.start();
  await using hs = await TestServer.start({ database, config: service.config });
  const { anyone } = hs;
  const [alice] = await hs.register("alice");
  assert.equal((await anyone.ok("GET", "/account/whoami", { token: AS_TOKEN })).user_id, BOT);
  const unknown = as(PUPPET, { status: 403, errcode: "M_FORBIDDEN" });
  await anyone.fails("GET", "/account/whoami", unknown);
  await registerPuppet(anyone);
  assert.equal((await anyone.ok("GET", "/account/whoami", as(PUPPET, {}))).user_id, PUPPET);
  for (const other of [alice.userId, "@bridge_x:elsewhere", "nonsense"]) {
    await anyone.fails("GET", "/account/whoami", as(other, { status: 403, errcode: "M_FORBIDDEN" }));
  }
  const device = (query: Record<string, string>) => as(PUPPET, { query });
  const missing = { ...device({ device_id: "NOPE" }), status: 400, errcode: "M_UNKNOWN_DEVICE" };
  await anyone.fails("GET", "/account/whoami", missing);
  const made = await anyone.request("PUT", "/devices/BRIDGE", as(PUPPET, { body: { display_name: "A bridge" } }));
  assert.equal(made.status, 201);
  assert.equal((await anyone.request("PUT", "/devices/BRIDGE", as(PUPPET, { body: {} }))).status, 200);
  for (const name of ["device_id", "org.matrix.msc3202.device_id"]) {
    const whoami = await anyone.ok("GET", "/account/whoami", device({ [name]: "BRIDGE" }));
    assert.equal(whoami.device_id, "BRIDGE");
  }
  await anyone.ok("DELETE", "/devices/BRIDGE", as(PUPPET, {}));
  await anyone.fails("GET", "/devices/BRIDGE", as(PUPPET, { status: 404, errcode: "M_NOT_FOUND" }));
  // A user's own token is not masqueraded with.
  assert.equal((await alice.get("/account/whoami", { user_id: PUPPET })).user_id, alice.userId);
});

testEachServer("an application service chooses the time of its events", async (database) => {
  await using service = await TestAppservice.start();
  await using hs = await TestServer.start({ database, config: service.config });
  const { anyone } = hs;
  const [alice] = await hs.register("alice");
  await registerPuppet(anyone);
  const { room_id: roomId } = await anyone.ok("POST", "/createRoom", as(PUPPET, { body: { preset: "public_chat" } }));
  await alice.join(roomId);
  const body = { msgtype: "m.text", body: "long ago" };
  const target = path`/rooms/${roomId}/send/m.room.message/1`;
  const { event_id: eventId } = await anyone.ok("PUT", target, as(PUPPET, { body, query: { ts: 1_234_567 } }));
  assert.equal((await alice.get(path`/rooms/${roomId}/event/${eventId}`)).origin_server_ts, 1_234_567);
  const repeated = await anyone.ok("PUT", target, as(PUPPET, { body, query: { ts: 1_234_567 } }));
  assert.equal(repeated.event_id, eventId);
});

testEachServer("events of rooms, users and aliases of a service come in order, and no others", async (database) => {
  await using service = await TestAppservice.start();
  await using hs = await TestServer.start({ database, config: service.config });
  const [alice] = await hs.register("alice");
  await registerPuppet(hs.anyone);
  const secret = await alice.createRoom();
  await alice.sendText(secret, "not for bridges");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await hs.anyone.ok("POST", path`/join/${roomId}`, as(PUPPET, { body: {} }));
  const sent: string[] = [];
  for (let count = 0; count < 250; count++) sent.push(await alice.sendText(roomId, `message ${count}`));
  await service.untilEvent(({ event_id: id }) => id === sent.at(-1));
  const messages = service.events.filter(({ type }) => type === "m.room.message");
  assert.deepEqual(messages.map(({ event_id: id }) => id), sent);
  assert.ok(service.events.every(({ room_id: room }) => room === roomId));
  const join = service.events[0];
  assert.deepEqual([join.type, join.state_key, join.content.membership], ["m.room.member", PUPPET, "join"]);
  const ids = service.transactions.map(({ path: target }) => Number(target.split("/").at(-1)));
  assert.deepEqual(ids, ids.map((_, index) => index + 1));
  assert.ok(service.transactions.every(({ authorization }) => authorization === `Bearer ${HS_TOKEN}`));
  assert.ok(service.transactions.every(({ body }) => body.events.length <= 100));
  // The rooms of its aliases concern it without a user of its being there.
  const { room_id: aliased } = await hs.anyone.ok("POST", "/createRoom", {
    token: AS_TOKEN,
    body: { preset: "public_chat", room_alias_name: "bridge_alias" },
  });
  await alice.join(aliased);
  await hs.anyone.ok("POST", path`/rooms/${aliased}/leave`, { token: AS_TOKEN, body: {} });
  const last = await alice.sendText(aliased, "still heard");
  await service.untilEvent(({ event_id: id }) => id === last);
});

testEachServer("a transaction that is not acknowledged is sent again as it was, across a restart", async (database) => {
  await using service = await TestAppservice.start();
  service.answer = () => ({ status: 503 });
  await using hs = await TestServer.start({ database, config: service.config });
  const [alice] = await hs.register("alice");
  await registerPuppet(hs.anyone);
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await hs.anyone.ok("POST", path`/join/${roomId}`, as(PUPPET, { body: {} }));
  const first = await alice.sendText(roomId, "one");
  await service.until(() => service.transactions.length >= 2);
  await hs.restart();
  const owner = hs.again(alice);
  const second = await owner.sendText(roomId, "two");
  const before = service.transactions.length;
  service.answer = () => undefined;
  await hs.anyone.ok("POST", "/_matrix/client/v1/appservice/bridge/ping", { token: AS_TOKEN, body: {} });
  await service.until(() => service.transactions.length > before);
  const [initial] = service.transactions;
  const repeated = service.transactions.filter(({ path: target }) => target === initial?.path);
  assert.ok(repeated.length >= 3);
  for (const { text } of repeated) assert.equal(text, initial?.text);
  await service.untilEvent(({ event_id: id }) => id === second);
  const acknowledged = new Map(service.transactions.map(({ path: target, body }) => [target, body.events]));
  const ids = [...acknowledged.values()].flat().map(({ event_id: id }: Json) => id);
  assert.equal(ids.filter((id) => id === first).length, 1);
  assert.equal(ids.filter((id) => id === second).length, 1);
});

testEachServer(
  "typing, receipts, presence and messages to devices reach a service that wants them",
  async (database) => {
    await using service = await TestAppservice.start({ receive_ephemeral: true, "org.matrix.msc3202": true });
    await using hs = await TestServer.start({ database, config: service.config });
    const [alice, bob] = await hs.register("alice", "bob");
    await registerPuppet(hs.anyone);
    await hs.anyone.request("PUT", "/devices/BRIDGE", as(PUPPET, { body: {} }));
    const roomId = await alice.createRoom({ preset: "public_chat" });
    const elsewhere = await bob.createRoom();
    await hs.anyone.ok("POST", path`/join/${roomId}`, as(PUPPET, { body: {} }));
    const eventId = await alice.sendText(roomId, "read me");
    await bob.put(path`/rooms/${elsewhere}/typing/${bob.userId}`, { typing: true, timeout: 20_000 });
    await alice.put(path`/rooms/${roomId}/typing/${alice.userId}`, { typing: true, timeout: 20_000 });
    const typing = await service.until(() => service.ephemeral.find(({ type }) => type === "m.typing"));
    assert.deepEqual(typing, { type: "m.typing", room_id: roomId, content: { user_ids: [alice.userId] } });
    await alice.post(path`/rooms/${roomId}/receipt/m.read.private/${eventId}`);
    await alice.post(path`/rooms/${roomId}/receipt/m.read/${eventId}`);
    const receipt = await service.until(() => service.ephemeral.find(({ type }) => type === "m.receipt"));
    assert.equal(receipt.room_id, roomId);
    assert.equal(typeof receipt.content[eventId]["m.read"][alice.userId].ts, "number");
    assert.equal(receipt.content[eventId]["m.read.private"], undefined);
    const status = { presence: "online", status_msg: "here" };
    await bob.put(path`/presence/${bob.userId}/status`, status);
    await alice.put(path`/presence/${alice.userId}/status`, status);
    const presence = await service.until(() =>
      service.ephemeral.find(({ type, content }) => type === "m.presence" && content.status_msg === "here")
    );
    assert.equal(presence.sender, alice.userId);
    const messages = { [PUPPET]: { BRIDGE: { secret: 1 } }, [bob.userId]: { "*": { secret: 2 } } };
    await alice.put("/sendToDevice/m.test/1", { messages });
    const told = await service.until(() => service.transactions.find(({ body }) => body.to_device?.length > 0));
    const content = { secret: 1 };
    const addressed = { type: "m.test", sender: alice.userId, content, to_user_id: PUPPET, to_device_id: "BRIDGE" };
    assert.deepEqual(told.body.to_device, [addressed]);
    assert.deepEqual(told.body["org.matrix.msc3202.device_one_time_keys_count"][PUPPET].BRIDGE, {
      signed_curve25519: 0,
    });
    await alice.put(`/devices/${alice.deviceId}`, { display_name: "New name" });
    await service.until(() =>
      service.transactions.some(({ body }) => body["org.matrix.msc3202.device_lists"].changed.includes(alice.userId))
    );
  },
);

testEachServer("a service makes users and aliases when it is asked for them", async (database) => {
  await using service = await TestAppservice.start();
  await using hs = await TestServer.start({ database, config: service.config });
  const [alice] = await hs.register("alice");
  service.answer = async ({ path: target }) => {
    if (target.endsWith("/users/@bridge_new:hs.test")) await registerPuppet(hs.anyone, "bridge_new");
    else if (target.endsWith("/rooms/#bridge_new:hs.test")) {
      await hs.anyone.ok("POST", "/createRoom", {
        token: AS_TOKEN,
        body: { preset: "public_chat", room_alias_name: "bridge_new" },
      });
    } else if (/\/(users|rooms)\//.test(target)) return { status: 404 };
    return undefined;
  };
  await alice.join("#bridge_new:hs.test");
  const unknown = { status: 404, errcode: "M_NOT_FOUND", body: {} };
  await alice.fails("POST", path`/join/${"#bridge_none:hs.test"}`, unknown);
  await alice.fails("POST", path`/join/${"#other:hs.test"}`, unknown);
  const roomId = await alice.createRoom();
  await alice.invite(roomId, "@bridge_new:hs.test");
  await service.untilEvent(({ state_key: key }) => key === "@bridge_new:hs.test");
  await hs.anyone.ok("POST", path`/join/${roomId}`, as("@bridge_new:hs.test", { body: {} }));
  assert.ok(!service.requests.some(({ path: target }) => target.endsWith("/rooms/#other:hs.test")));
});

testEachServer("networks are looked into through their services", async (database) => {
  await using service = await TestAppservice.start({ protocols: ["irc"] });
  const instance = { network_id: "libera", desc: "Libera", fields: {} };
  const protocol = { user_fields: ["nick"], location_fields: ["channel"], icon: "mxc://hs.test/i", field_types: {} };
  const location = { alias: "#bridge_x:hs.test", protocol: "irc", fields: { channel: "#x" } };
  const user = { userid: "@bridge_bob:hs.test", protocol: "irc", fields: { nick: "bob" } };
  service.answer = ({ path: target, query }) => {
    if (target === "/_matrix/app/v1/thirdparty/protocol/irc") return { body: { ...protocol, instances: [instance] } };
    if (target === "/_matrix/app/v1/thirdparty/location/irc" && query.channel === "#x") return { body: [location] };
    if (target === "/_matrix/app/v1/thirdparty/location" && query.alias === location.alias) return { body: [location] };
    if (target === "/_matrix/app/v1/thirdparty/user/irc" && query.nick === "bob") return { body: [user] };
    if (target === "/_matrix/app/v1/thirdparty/user" && query.userid === user.userid) return { body: [user] };
    return { status: 404 };
  };
  await using hs = await TestServer.start({ database, config: service.config });
  const [alice] = await hs.register("alice");
  const expected = { ...protocol, instances: [{ ...instance, instance_id: "bridge|libera" }] };
  assert.deepEqual(await alice.get("/thirdparty/protocols"), { irc: expected });
  assert.deepEqual(await alice.get("/thirdparty/protocol/irc"), expected);
  await alice.fails("GET", "/thirdparty/protocol/xmpp", { status: 404, errcode: "M_NOT_FOUND" });
  assert.deepEqual(await alice.get("/thirdparty/location/irc", { channel: "#x" }), [location]);
  assert.deepEqual(await alice.get("/thirdparty/location", { alias: location.alias }), [location]);
  assert.deepEqual(await alice.get("/thirdparty/user/irc", { nick: "bob" }), [user]);
  assert.deepEqual(await alice.get("/thirdparty/user", { userid: user.userid }), [user]);
  await alice.fails("GET", "/thirdparty/user/irc", { status: 404, errcode: "M_NOT_FOUND", query: { nick: "x" } });
});

testEachServer("a service is pinged, and lists rooms in its networks", async (database) => {
  await using service = await TestAppservice.start();
  await using hs = await TestServer.start({ database, config: service.config });
  const [alice] = await hs.register("alice");
  const { anyone } = hs;
  const ping = "/_matrix/client/v1/appservice/bridge/ping";
  const { duration_ms: duration } = await anyone.ok("POST", ping, {
    token: AS_TOKEN,
    body: { transaction_id: "t1" },
  });
  assert.ok(duration >= 0);
  assert.deepEqual(service.requests.find(({ path: target }) => target === "/_matrix/app/v1/ping")?.body, {
    transaction_id: "t1",
  });
  service.answer = () => ({ status: 403, body: { errcode: "M_FORBIDDEN" } });
  const bad = await anyone.fails("POST", ping, { token: AS_TOKEN, body: {}, status: 502, errcode: "M_BAD_STATUS" });
  assert.deepEqual([bad.status, bad.body], [403, '{"errcode":"M_FORBIDDEN"}']);
  service.answer = () => undefined;
  await alice.fails("POST", ping, { body: {}, status: 403, errcode: "M_FORBIDDEN" });
  const other = "/_matrix/client/v1/appservice/other/ping";
  await anyone.fails("POST", other, { token: AS_TOKEN, body: {}, status: 403, errcode: "M_FORBIDDEN" });
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const target = path`/directory/list/appservice/${"libera"}/${roomId}`;
  await alice.fails("PUT", target, { body: { visibility: "public" }, status: 403, errcode: "M_FORBIDDEN" });
  const listed = async (query: Json) =>
    (await alice.post("/publicRooms", query)).chunk.map((room: Json) => room.room_id);
  await anyone.ok("PUT", target, { token: AS_TOKEN, body: { visibility: "public" } });
  assert.deepEqual(await listed({}), []);
  assert.deepEqual(await listed({ include_all_networks: true }), [roomId]);
  assert.deepEqual(await listed({ third_party_instance_id: "bridge|libera" }), [roomId]);
  assert.deepEqual(await listed({ third_party_instance_id: "bridge|other" }), []);
  await anyone.ok("PUT", target, { token: AS_TOKEN, body: { visibility: "private" } });
  assert.deepEqual(await listed({ include_all_networks: true }), []);
  const wrong = { token: AS_TOKEN, body: { visibility: "secret" }, status: 400, errcode: "M_BAD_JSON" };
  await anyone.fails("PUT", target, wrong);
});

testEachServer("rate limits hold for a service unless it is registered without", async (database) => {
  const limits = { rc_message: { per_second: 0.01, burst_count: 1 } };
  for (const isLimited of [true, false]) {
    await using service = await TestAppservice.start({ rate_limited: isLimited });
    await using hs = await TestServer.start({ database, config: { ...service.config, ...limits } });
    const { room_id: roomId } = await hs.anyone.ok("POST", "/createRoom", { token: AS_TOKEN, body: {} });
    const statuses: number[] = [];
    for (let count = 0; count < 4; count++) {
      const body = { msgtype: "m.text", body: "x" };
      const target = path`/rooms/${roomId}/send/m.room.message/${count}`;
      statuses.push((await hs.anyone.request("PUT", target, { token: AS_TOKEN, body })).status);
    }
    assert.equal(statuses.includes(429), isLimited, String(statuses));
  }
});

testEachServer("a service that manages its devices does not log in (MSC4190)", async (database) => {
  await using service = await TestAppservice.start({ "io.element.msc4190": true });
  await using hs = await TestServer.start({ database, config: service.config });
  const { anyone } = hs;
  const body = { type: "m.login.application_service", username: "bridge_one" };
  const refused = { token: AS_TOKEN, status: 400, errcode: "M_APPSERVICE_LOGIN_UNSUPPORTED" };
  await anyone.fails("POST", "/register", { ...refused, body });
  const registered = await anyone.ok("POST", "/register", { token: AS_TOKEN, body: { ...body, inhibit_login: true } });
  assert.deepEqual([registered.user_id, registered.access_token], [PUPPET, undefined]);
  const identifier = { type: "m.id.user", user: "bridge_one" };
  await anyone.fails("POST", "/login", { ...refused, body: { type: "m.login.application_service", identifier } });
  await anyone.request("PUT", "/devices/BRIDGE", as(PUPPET, { body: {} }));
  const { x = "" } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  const key = x.replaceAll("-", "+").replaceAll("_", "/");
  const master = { user_id: PUPPET, usage: ["master"], keys: { [`ed25519:${key}`]: key } };
  const query = { device_id: "BRIDGE" };
  await anyone.ok("POST", "/keys/device_signing/upload", as(PUPPET, { query, body: { master_key: master } }));
});

testEachServer("a ping says why a service cannot be reached", async (database) => {
  const ping = "/_matrix/client/v1/appservice/bridge/ping";
  await using silent = await TestAppservice.start({ url: null });
  await using hs = await TestServer.start({ database, config: silent.config });
  await hs.anyone.fails("POST", ping, { token: AS_TOKEN, body: {}, status: 400, errcode: "M_URL_NOT_SET" });
  await using gone = await TestAppservice.start({ url: `http://127.0.0.1:${freePort()}` });
  await hs.restart(gone.config);
  await hs.anyone.fails("POST", ping, { token: AS_TOKEN, body: {}, status: 502, errcode: "M_CONNECTION_FAILED" });
});

testEachServer("logins of a service are limited unless it is registered without", async (database) => {
  const bucket = { per_second: 0.01, burst_count: 1 };
  const limits = { rc_login: { address: bucket, account: bucket, failed_attempts: bucket } };
  for (const isLimited of [true, false]) {
    await using service = await TestAppservice.start({ rate_limited: isLimited });
    await using hs = await TestServer.start({ database, config: { ...service.config, ...limits } });
    if (isLimited) await registerPuppet(hs.anyone);
    const body = { type: "m.login.application_service", identifier: { type: "m.id.user", user: "bridge_one" } };
    const statuses: number[] = [];
    for (let count = 0; count < 3; count++) {
      statuses.push((await hs.anyone.request("POST", "/login", { token: AS_TOKEN, body })).status);
    }
    assert.equal(statuses.includes(429), isLimited, String(statuses));
  }
});
