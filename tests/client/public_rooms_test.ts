/** The public room list. Spec: client-server API, "Published room directory". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const FORBIDDEN = { status: 403, errcode: "M_FORBIDDEN" };

function list(client: TestClient, body: Json = {}): Promise<Json> {
  return client.post("/publicRooms", body);
}

function names(page: Json): string[] {
  return page.chunk.map((room: Json) => room.name);
}

async function makeRooms(hs: TestServer): Promise<[TestClient, TestClient, string[]]> {
  const [alice, bob] = await hs.register("alice", "bob");
  const roomIds: string[] = [];
  for (const name of ["Garden", "Küche", "Cellar", "Attic", "Hall"]) {
    roomIds.push(await alice.createRoom({ preset: "public_chat", visibility: "public", name, topic: `About ${name}` }));
  }
  await alice.createRoom({ preset: "public_chat", name: "Hidden" });
  await bob.join(roomIds[2] ?? "");
  return [alice, bob, roomIds];
}

testEachServer("the list shows what a room looks like, the largest first", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, , [, , cellar = ""]] = await makeRooms(hs);
  await alice.put(path`/directory/room/${"#cellar:hs.test"}`, { room_id: cellar });
  await alice.setState(cellar, { type: "m.room.canonical_alias", content: { alias: "#cellar:hs.test" } });
  await alice.setState(cellar, { type: "m.room.avatar", content: { url: "mxc://hs.test/a" } });
  await alice.setState(cellar, { type: "m.room.guest_access", content: { guest_access: "can_join" } });
  await alice.setState(cellar, {
    type: "m.room.history_visibility",
    content: { history_visibility: "world_readable" },
  });
  const page = await list(alice);
  assert.equal(page.total_room_count_estimate, 5);
  assert.deepEqual(page.chunk[0], {
    room_id: cellar,
    num_joined_members: 2,
    world_readable: true,
    guest_can_join: true,
    join_rule: "public",
    name: "Cellar",
    topic: "About Cellar",
    canonical_alias: "#cellar:hs.test",
    avatar_url: "mxc://hs.test/a",
  });
  assert.deepEqual(names(page).sort(), ["Attic", "Cellar", "Garden", "Hall", "Küche"]);
  assert.equal(page.next_batch, undefined);
  assert.deepEqual(await alice.get("/publicRooms"), page);
});

testEachServer("pages follow each other both ways", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await makeRooms(hs);
  const all = names(await list(alice));
  const first = await list(alice, { limit: 2 });
  assert.deepEqual(names(first), all.slice(0, 2));
  assert.equal(first.prev_batch, undefined);
  const second = await alice.get("/publicRooms", { limit: 2, since: first.next_batch });
  assert.deepEqual(names(second), all.slice(2, 4));
  const third = await list(alice, { limit: 2, since: second.next_batch });
  assert.deepEqual(names(third), all.slice(4));
  assert.equal(third.next_batch, undefined);
  const back = await list(alice, { limit: 2, since: third.prev_batch });
  assert.deepEqual(names(back), all.slice(2, 4));
  const start = await list(alice, { limit: 2, since: back.prev_batch });
  assert.deepEqual(names(start), all.slice(0, 2));
  assert.equal(start.prev_batch, undefined);
  assert.deepEqual(names(await list(alice, { limit: 2, since: start.next_batch })), all.slice(2, 4));
});

testEachServer("the list is searched by name, topic, alias and type", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await makeRooms(hs);
  const space = { preset: "public_chat", visibility: "public", name: "Space", creation_content: { type: "m.space" } };
  await alice.createRoom({ ...space, room_alias_name: "all_rooms" });
  const search = async (filter: Json) => names(await list(alice, { filter })).sort();
  assert.deepEqual(await search({ generic_search_term: "KÜCHE" }), ["Küche"]);
  assert.deepEqual(await search({ generic_search_term: "about a" }), ["Attic"]);
  assert.deepEqual(await search({ generic_search_term: "all_rooms" }), ["Space"]);
  assert.deepEqual(await search({ generic_search_term: "%" }), []);
  assert.deepEqual(await search({ generic_search_term: "a\u0000" }), []);
  assert.deepEqual(await search({ room_types: ["m.space"] }), ["Space"]);
  assert.equal((await search({ room_types: [null] })).length, 5);
  assert.equal((await search({ room_types: [null, "m.space"] })).length, 6);
  assert.deepEqual(await search({ room_types: [] }), []);
});

testEachServer("who has the power lists and hides a room; empty rooms are not shown", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const admin = await hs.registerAdmin("admin");
  const roomId = await alice.createRoom({ preset: "public_chat", name: "Room" });
  const url = path`/directory/list/room/${roomId}`;
  const isListed = async () => names(await list(bob)).includes("Room");
  assert.equal((await hs.anyone.get(url)).visibility, "private");
  await alice.put(url);
  assert.equal((await hs.anyone.get(url)).visibility, "public");
  assert.ok(await isListed());
  await bob.fails("PUT", url, { body: { visibility: "private" }, ...FORBIDDEN });
  await bob.join(roomId);
  await bob.fails("PUT", url, { body: { visibility: "private" }, ...FORBIDDEN });
  await admin.put(url, { visibility: "private" });
  assert.ok(!await isListed());
  await alice.put(url, { visibility: "public" });
  for (const client of [alice, bob]) await client.leave(roomId);
  assert.ok(!await isListed());
  assert.equal((await list(bob)).total_room_count_estimate, 0);
  const body = { visibility: "secret" };
  await alice.fails("PUT", url, { body, status: 400, errcode: "M_BAD_JSON" });
  await hs.anyone.fails("PUT", url, { body, status: 401, errcode: "M_MISSING_TOKEN" });
  const unknown = path`/directory/list/room/!none:hs.test`;
  await alice.fails("PUT", unknown, { body: {}, status: 404, errcode: "M_NOT_FOUND" });
  await hs.anyone.fails("GET", unknown, { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("the list is closed to strangers, and checks what it is asked", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await makeRooms(hs);
  const noToken = { status: 401, errcode: "M_MISSING_TOKEN" };
  await hs.anyone.fails("GET", "/publicRooms", noToken);
  await hs.anyone.fails("POST", "/publicRooms", { body: {}, ...noToken });
  const bad: Json[] = [{ limit: "1" }, { limit: -1 }, { limit: 1.5 }, { since: 1 }, { filter: [] }];
  bad.push({ filter: { generic_search_term: 1 } }, { filter: { room_types: "m.space" } }, {
    filter: { room_types: [1] },
  });
  for (const body of bad) await alice.fails("POST", "/publicRooms", { body, status: 400, errcode: "M_BAD_JSON" });
  await alice.fails("POST", "/publicRooms", { body: "{", status: 400, errcode: "M_NOT_JSON" });
  const wrong = { status: 400, errcode: "M_INVALID_PARAM" };
  await alice.fails("POST", "/publicRooms", { body: { since: "nonsense" }, ...wrong });
  await alice.fails("GET", "/publicRooms", { query: { limit: "x" }, ...wrong });
  await hs.restart({ allow_public_rooms_without_auth: true });
  assert.equal((await hs.anyone.get("/publicRooms")).chunk.length, 5);
  await hs.restart({ enable_room_list_search: false });
  assert.deepEqual((await list(hs.again(alice))).chunk, []);
});
