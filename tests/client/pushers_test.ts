/** Pushers and what gateways get. Spec: client-server API, "Push Notifications"; Push Gateway API. */
import assert from "node:assert/strict";
import type { UserId } from "../../src/protocol/ids.ts";
import { selectPushers } from "../../src/storage/pushers.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { PushGateway } from "../harness/push_gateway.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

/** Gateways of tests are on this machine. */
const OPEN = { ip_range_blacklist: [] };

function pusher(url: string, overrides: Json = {}): Json {
  return {
    kind: "http",
    app_id: "org.example.app",
    app_display_name: "App",
    device_display_name: "Phone",
    pushkey: "key",
    lang: "en",
    profile_tag: "tag",
    data: { url, brand: "x" },
    ...overrides,
  };
}

async function start(
  database: Parameters<typeof TestServer.start>[0]["database"],
  config: Json = {},
): Promise<{ hs: TestServer; alice: TestClient; bob: TestClient; roomId: string }> {
  const hs = await TestServer.start({ database, config: { ...OPEN, ...config } });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Kitchen" });
  await bob.join(roomId);
  return { hs, alice, bob, roomId };
}

async function keys(client: TestClient): Promise<string[]> {
  return (await client.get("/pushers")).pushers.map((found: Json) => found.pushkey);
}

testEachServer("a pusher is kept as it was set, replaced by its key and deleted by null", async (database) => {
  const { hs, alice } = await start(database);
  await using _hs = hs;
  const given = pusher("https://gateway.example/_matrix/push/v1/notify");
  await alice.post("/pushers/set", given);
  assert.deepEqual(await alice.get("/pushers"), { pushers: [given] });
  await alice.post("/pushers/set", { ...given, lang: "de", append: true });
  assert.deepEqual(await alice.get("/pushers"), { pushers: [{ ...given, lang: "de" }] });
  await alice.post("/pushers/set", { ...given, pushkey: "other" });
  assert.deepEqual(await keys(alice), ["key", "other"]);
  await alice.post("/pushers/set", { kind: null, app_id: "org.example.app", pushkey: "key" });
  await alice.post("/pushers/set", { kind: null, app_id: "org.example.app", pushkey: "none" });
  assert.deepEqual(await keys(alice), ["other"]);
});

testEachServer("a key belongs to one user unless it is appended", async (database) => {
  const { hs, alice, bob } = await start(database);
  await using _hs = hs;
  const given = pusher("https://gateway.example/_matrix/push/v1/notify");
  await alice.post("/pushers/set", given);
  await bob.post("/pushers/set", { ...given, append: true });
  assert.deepEqual([await keys(alice), await keys(bob)], [["key"], ["key"]]);
  await bob.post("/pushers/set", given);
  assert.deepEqual([await keys(alice), await keys(bob)], [[], ["key"]]);
});

testEachServer("null is taken for what is absent", async (database) => {
  const { hs, alice } = await start(database);
  await using _hs = hs;
  const url = "https://gateway.example/_matrix/push/v1/notify";
  await alice.post("/pushers/set", pusher(url, { data: { url, format: null }, profile_tag: null }));
  const [shown] = (await alice.get("/pushers")).pushers;
  assert.deepEqual([shown.data, shown.profile_tag], [{ url }, ""]);
});

testEachServer("what cannot work is refused", async (database) => {
  const { hs, alice } = await start(database);
  await using _hs = hs;
  const good = pusher("https://gateway.example/_matrix/push/v1/notify");
  const { lang: _lang, ...withoutLang } = good;
  const bad: [Json, string][] = [
    [withoutLang, "M_MISSING_PARAM"],
    [{ ...good, data: {} }, "M_MISSING_PARAM"],
    [{ ...good, data: "x" }, "M_BAD_JSON"],
    [{ ...good, data: { url: 7 } }, "M_INVALID_PARAM"],
    [{ ...good, data: { url: "https://gateway.example/" } }, "M_INVALID_PARAM"],
    [{ ...good, data: { url: "ftp://gateway.example/_matrix/push/v1/notify" } }, "M_INVALID_PARAM"],
    [{ ...good, kind: "pigeon" }, "M_INVALID_PARAM"],
    [{ ...good, kind: "email" }, "M_THREEPID_NOT_FOUND"],
    [{ ...good, pushkey: "x".repeat(513) }, "M_BAD_JSON"],
    [{ ...good, app_id: "x".repeat(65) }, "M_BAD_JSON"],
    [{ ...good, append: 1 }, "M_BAD_JSON"],
    [{ kind: null, app_id: "x" }, "M_MISSING_PARAM"],
  ];
  for (const [body, errcode] of bad) await alice.fails("POST", "/pushers/set", { status: 400, errcode, body });
  await alice.fails("GET", "/pushers", { status: 401, errcode: "M_MISSING_TOKEN", token: null });
  assert.deepEqual(await keys(alice), []);
});

testEachServer("a pusher goes with its device", async (database) => {
  const { hs, alice } = await start(database);
  await using _hs = hs;
  const phone = await alice.anotherDevice("PHONE");
  await phone.post("/pushers/set", pusher("https://gateway.example/_matrix/push/v1/notify"));
  // Another device may change it; it stays the phone's.
  await alice.post("/pushers/set", pusher("https://gateway.example/_matrix/push/v1/notify"));
  await alice.post("/pushers/set", pusher("https://gateway.example/_matrix/push/v1/notify", { pushkey: "mine" }));
  await phone.post("/logout");
  assert.deepEqual(await keys(alice), ["mine"]);
});

testEachServer("a gateway is told of a message, with its content", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  await alice.sendText(roomId, "before the pusher");
  await bob.post("/pushers/set", pusher(gateway.url));
  const content = { msgtype: "m.text", body: "hi", "m.mentions": { user_ids: [bob.userId] } };
  const eventId = await alice.send(roomId, { type: "m.room.message", content });
  const { devices, ...told } = await gateway.find((n) => n.event_id === eventId);
  assert.deepEqual(told, {
    id: eventId,
    event_id: eventId,
    room_id: roomId,
    type: "m.room.message",
    sender: alice.userId,
    sender_display_name: "alice",
    room_name: "Kitchen",
    prio: "high",
    content,
    counts: { unread: 1 },
  });
  assert.equal(devices.length, 1);
  assert.ok(Math.abs(devices[0].pushkey_ts - Date.now() / 1000) < 60);
  assert.deepEqual({ ...devices[0], pushkey_ts: 0 }, {
    app_id: "org.example.app",
    pushkey: "key",
    pushkey_ts: 0,
    data: { brand: "x" },
    tweaks: { sound: "default", highlight: true },
  });
  assert.equal(gateway.notifications.length, 1);
});

testEachServer("event_id_only tells no more than the ids", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url, { data: { url: gateway.url, format: "event_id_only" } }));
  const eventId = await alice.sendText(roomId, "hi");
  const { devices, ...told } = await gateway.find((n) => n.event_id === eventId);
  assert.deepEqual(told, { event_id: eventId, room_id: roomId, prio: "high", counts: { unread: 1 } });
  assert.deepEqual(devices[0].data, { format: "event_id_only" });
  assert.equal(devices[0].tweaks, undefined);
});

testEachServer("push.include_content leaves the content out", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database, { push: { include_content: false } });
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  const eventId = await alice.sendText(roomId, "hi");
  const told = await gateway.find((n) => n.event_id === eventId);
  assert.equal(told.content, undefined);
  assert.equal(told.type, "m.room.message");
});

testEachServer("an invitation is pushed", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob } = await start(database);
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  const roomId = await alice.createRoom({ invite: [bob.userId], name: "Secret" });
  const told = await gateway.find((n) => n.room_id === roomId);
  assert.equal(told.membership, "invite");
  assert.equal(told.user_is_target, true);
  assert.equal(told.room_name, "Secret");
  assert.deepEqual(told.counts, { unread: 1 });
});

testEachServer("reading elsewhere corrects the badge", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database, { push: { group_unread_count_by_room: false } });
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  await alice.sendText(roomId, "one");
  const second = await alice.sendText(roomId, "two");
  const told = await gateway.find((n) => n.event_id === second);
  assert.deepEqual(told.counts, { unread: 2 });
  await bob.post(path`/rooms/${roomId}/receipt/m.read/${second}`);
  const badge = await gateway.find((n) => n.counts.unread === 0);
  assert.equal(badge.event_id, undefined);
  assert.equal(badge.devices[0].pushkey, "key");
});

testEachServer("the badge counts rooms by default", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  await alice.sendText(roomId, "one");
  const second = await alice.sendText(roomId, "two");
  assert.deepEqual((await gateway.find((n) => n.event_id === second)).counts, { unread: 1 });
});

testEachServer("a gateway that fails gets everything later, in order and across a restart", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  gateway.answer = () => ({ status: 502 });
  const first = await alice.sendText(roomId, "one");
  const second = await alice.sendText(roomId, "two");
  await gateway.find((n) => n.event_id === first);
  await hs.restart();
  gateway.answer = () => ({});
  gateway.notifications.length = 0;
  await gateway.find((n) => n.event_id === second);
  assert.deepEqual(gateway.notifications.map((n) => n.event_id), [first, second]);
});

testEachServer("a restart pushes what was not pushed and repeats nothing", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  const first = await alice.sendText(roomId, "one");
  await gateway.find((n) => n.event_id === first);
  await hs.restart();
  const second = await hs.again(alice).sendText(roomId, "two");
  await gateway.find((n) => n.event_id === second);
  assert.deepEqual(gateway.notifications.map((n) => n.event_id), [first, second]);
});

testEachServer("what was read meanwhile is not pushed any more", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  gateway.answer = () => ({ status: 500 });
  const first = await alice.sendText(roomId, "one");
  await gateway.find((n) => n.event_id === first);
  const second = await alice.sendText(roomId, "two");
  await bob.post(path`/rooms/${roomId}/receipt/m.read/${second}`);
  gateway.notifications.length = 0;
  gateway.answer = () => ({});
  const third = await alice.sendText(roomId, "three");
  await gateway.find((n) => n.event_id === third);
  assert.deepEqual(gateway.notifications.filter((n) => n.event_id).map((n) => n.event_id), [third]);
});

testEachServer("what is sent while something is being pushed is pushed too", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  for (const pushkey of ["one", "two", "three"]) await bob.post("/pushers/set", pusher(gateway.url, { pushkey }));
  const sent: string[] = [];
  for (let index = 0; index < 40; index++) sent.push(await alice.sendText(roomId, `message ${index}`));
  for (const pushkey of ["one", "two", "three"]) {
    await gateway.find((n) => n.event_id === sent.at(-1) && n.devices[0].pushkey === pushkey);
    const pushed = gateway.notifications.filter((n) => n.devices[0].pushkey === pushkey).map((n) => n.event_id);
    assert.deepEqual(pushed, sent);
  }
});

testEachServer("a rejected push key is removed", async (database) => {
  await using gateway = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database);
  await using _hs = hs;
  await bob.post("/pushers/set", pusher(gateway.url));
  await bob.post("/pushers/set", pusher(gateway.url, { pushkey: "good" }));
  gateway.answer = (n) => ({ rejected: n.devices[0].pushkey === "key" ? ["key", "good"] : [] });
  await alice.sendText(roomId, "one");
  await gateway.find((n) => n.devices[0].pushkey === "key");
  const second = await alice.sendText(roomId, "two");
  await gateway.find((n) => n.event_id === second && n.devices[0].pushkey === "good");
  // The first key is gone; a gateway cannot reject one that it was not asked about.
  while ((await keys(bob)).length > 1) await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(await keys(bob), ["good"]);
});

testEachServer("a gateway in a private network is not reached", async (database) => {
  await using gateway = new PushGateway();
  await using open = new PushGateway();
  const { hs, alice, bob, roomId } = await start(database, { ip_range_blacklist: ["127.0.0.0/8", "::1/128"] });
  await using _hs = hs;
  const { port } = new URL(gateway.url);
  for (const host of ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"]) {
    const url = `http://${host}:${port}/_matrix/push/v1/notify`;
    await bob.post("/pushers/set", pusher(url, { pushkey: host }));
  }
  await alice.sendText(roomId, "one");
  const failing = async () => {
    const pushers = await selectPushers(hs.parts.core.db, bob.userId as UserId);
    return pushers.filter(({ failures }) => failures > 0).length;
  };
  while (await failing() < 4) await new Promise((resolve) => setTimeout(resolve));
  await hs.restart({ ip_range_blacklist: [] });
  assert.deepEqual(gateway.notifications, []);
  const again = hs.again(bob);
  await again.post("/pushers/set", pusher(open.url, { pushkey: "open" }));
  const second = await hs.again(alice).sendText(roomId, "two");
  await open.find((n) => n.event_id === second);
});
