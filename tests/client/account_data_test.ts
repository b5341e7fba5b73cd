/** Account data, tags and the list of ignored users. Spec: client-server API, "Client Config", "Room Tagging". */
import assert from "node:assert/strict";
import { hasEvent, type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const FORBIDDEN = { status: 403, errcode: "M_FORBIDDEN" };
const NOT_FOUND = { status: 404, errcode: "M_NOT_FOUND" };

function globalData(client: TestClient, type: string): string {
  return path`/user/${client.userId}/account_data/${type}`;
}

function roomData(client: TestClient, { roomId, type }: { roomId: string; type: string }): string {
  return path`/user/${client.userId}/rooms/${roomId}/account_data/${type}`;
}

function dataIn(events: Json[] | undefined, type: string): Json {
  return events?.find((event) => event.type === type)?.content;
}

testEachServer("account data is kept, given back and shown by /sync on every device", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const phone = await alice.anotherDevice();
  const roomId = await alice.createRoom();
  for (const client of [alice, phone, bob]) await client.sync();
  const content = { theme: "dark", "ключ": ["\u0000", "🦊", "\ud800"], deep: { a: [1, 2.5, null, true] } };
  await alice.put(globalData(alice, "org.example.ünï cödé"), content);
  await alice.put(roomData(alice, { roomId, type: "org.example.room" }), { n: 1 });
  assert.deepEqual(await alice.get(globalData(alice, "org.example.ünï cödé")), content);
  assert.deepEqual(await phone.get(roomData(alice, { roomId, type: "org.example.room" })), { n: 1 });
  for (const client of [alice, phone]) {
    const response = await client.sync({ timeout: 10_000 });
    assert.deepEqual(dataIn(response.account_data.events, "org.example.ünï cödé"), content);
    assert.deepEqual(dataIn(response.rooms.join[roomId].account_data.events, "org.example.room"), { n: 1 });
  }
  const quiet = await bob.sync();
  assert.equal(quiet.account_data, undefined);
  await hs.restart();
  const again = hs.again(alice);
  again.since = null;
  assert.deepEqual(dataIn((await again.sync()).account_data.events, "org.example.ünï cödé"), content);
});

testEachServer("account data belongs to its user and has bounds", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const target = globalData(alice, "org.example.data");
  await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
  await hs.anyone.fails("PUT", target, { body: {}, status: 401, errcode: "M_MISSING_TOKEN" });
  await bob.fails("PUT", target, { body: {}, ...FORBIDDEN });
  await bob.fails("GET", target, FORBIDDEN);
  await bob.fails("PUT", roomData(alice, { roomId, type: "a" }), { body: {}, ...FORBIDDEN });
  await alice.fails("GET", target, NOT_FOUND);
  await alice.fails("GET", roomData(alice, { roomId, type: "a" }), NOT_FOUND);
  const bad: [Json, string][] = [["{", "M_NOT_JSON"], ["", "M_NOT_JSON"], [[], "M_BAD_JSON"], ["1", "M_BAD_JSON"]];
  for (const [body, errcode] of bad) await alice.fails("PUT", target, { body, status: 400, errcode });
  const managed = { body: {}, status: 405, errcode: "M_BAD_JSON" };
  for (const type of ["m.fully_read", "m.push_rules"]) {
    await alice.fails("PUT", globalData(alice, type), managed);
    await alice.fails("PUT", roomData(alice, { roomId, type }), managed);
  }
  const wrong = { body: {}, status: 400, errcode: "M_INVALID_PARAM" };
  await alice.fails("PUT", roomData(alice, { roomId: "nonsense", type: "a" }), wrong);
  await alice.fails("PUT", globalData(alice, "a\u0000b"), wrong);
  await alice.fails("PUT", globalData(alice, "x".repeat(256)), wrong);
  const large = { body: { a: "x".repeat(1_048_576) }, status: 413, errcode: "M_TOO_LARGE" };
  await alice.fails("PUT", target, large);
  await alice.fails("GET", target, NOT_FOUND);
  assert.ok((await alice.get(globalData(alice, "m.push_rules"))).global.override.length > 0);
});

testEachServer("tags are set, listed and removed, and /sync shows them as m.tag", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  const tags = path`/user/${alice.userId}/rooms/${roomId}/tags`;
  assert.deepEqual(await alice.get(tags), { tags: {} });
  await alice.sync();
  await alice.put(`${tags}/m.favourite`, { order: 0.25 });
  await alice.put(tags + path`/${"u.Søndag/🎉"}`, {});
  await alice.put(`${tags}/__proto__`, { order: 1 });
  const expected = JSON.parse('{"m.favourite": {"order": 0.25}, "u.Søndag/🎉": {}, "__proto__": {"order": 1}}');
  assert.deepEqual((await alice.get(tags)).tags, expected);
  const { rooms } = await alice.syncUntil((response) => response.rooms?.join?.[roomId] !== undefined);
  assert.deepEqual(dataIn(rooms.join[roomId].account_data.events, "m.tag").tags, expected);
  await alice.delete(`${tags}/m.favourite`);
  await alice.delete(`${tags}/m.favourite`);
  await alice.delete(`${tags}/__proto__`);
  assert.deepEqual(Object.keys((await alice.get(tags)).tags), ["u.Søndag/🎉"]);
  await bob.fails("GET", tags, FORBIDDEN);
  await bob.fails("PUT", `${tags}/a`, { body: {}, ...FORBIDDEN });
  await hs.anyone.fails("GET", tags, { status: 401, errcode: "M_MISSING_TOKEN" });
  await alice.fails("PUT", `${tags}/a`, { body: { order: "1" }, status: 400, errcode: "M_BAD_JSON" });
  const tooLong = { body: {}, status: 400, errcode: "M_INVALID_PARAM" };
  await alice.fails("PUT", tags + path`/${"ü".repeat(128)}`, tooLong);
  for (let count = 1; count < 100; count++) await alice.put(`${tags}/t${count}`, {});
  await alice.fails("PUT", `${tags}/t100`, { body: {}, status: 400, errcode: "M_INVALID_PARAM" });
});

testEachServer("messages of ignored users are not shown, their state is", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await carol.join(roomId);
  await alice.sync();
  await alice.put(globalData(alice, "m.ignored_user_list"), { ignored_users: { [bob.userId]: {} } });
  const hidden = await bob.sendText(roomId, "spam");
  await bob.put(path`/profile/${bob.userId}/displayname`, { displayname: "Robert" });
  const shown = await carol.sendText(roomId, "hello");
  const seen: Json[] = [];
  await alice.syncUntil((response) => {
    seen.push(...response.rooms?.join?.[roomId]?.timeline?.events ?? []);
    return hasEvent(roomId, shown)(response);
  });
  assert.ok(!seen.some((event) => event.event_id === hidden));
  const { chunk } = await alice.get(path`/rooms/${roomId}/messages`, { dir: "b", limit: 50 });
  assert.ok(!chunk.some((event: Json) => event.event_id === hidden));
  assert.ok(chunk.some((event: Json) => event.type === "m.room.member" && event.sender === bob.userId));
});
