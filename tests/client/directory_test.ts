/** Room aliases. Spec: client-server API, "Room aliases"; the room's own list is `m.room.canonical_alias`. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ALIAS = "#küche/ä:hs.test";
const CANONICAL = "m.room.canonical_alias";
const FORBIDDEN = { status: 403, errcode: "M_FORBIDDEN" };
const NOT_FOUND = { status: 404, errcode: "M_NOT_FOUND" };
const NO_TOKEN = { status: 401, errcode: "M_MISSING_TOKEN" };

function at(alias: string): string {
  return path`/directory/room/${alias}`;
}

testEachServer("an alias is made once, leads to its room and is deleted", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await hs.anyone.fails("GET", at(ALIAS), NOT_FOUND);
  await alice.put(at(ALIAS), { room_id: roomId });
  assert.deepEqual(await hs.anyone.get(at(ALIAS)), { room_id: roomId, servers: ["hs.test"] });
  assert.equal(await bob.join(ALIAS), roomId);
  await alice.fails("PUT", at(ALIAS), { body: { room_id: roomId }, status: 409, errcode: "M_UNKNOWN" });
  const tries = await Promise.all(
    Array.from({ length: 5 }, () => alice.request("PUT", at("#race:hs.test"), { body: { room_id: roomId } })),
  );
  assert.deepEqual(tries.map(({ status }) => status).sort(), [200, 409, 409, 409, 409]);
  const list = path`/rooms/${roomId}/aliases`;
  assert.deepEqual((await bob.get(list)).aliases, [ALIAS, "#race:hs.test"].sort());
  await hs.restart();
  const again = hs.again(alice);
  await again.delete(at(ALIAS));
  await again.fails("DELETE", at(ALIAS), NOT_FOUND);
  await again.fails("GET", at(ALIAS), NOT_FOUND);
});

testEachServer("aliases are made by members, deleted by who made them or has the power", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const admin = await hs.registerAdmin("admin");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.join(roomId);
  await carol.fails("PUT", at(ALIAS), { body: { room_id: roomId }, ...FORBIDDEN });
  for (const name of ["one", "two", "three"]) await bob.put(at(`#${name}:hs.test`), { room_id: roomId });
  await carol.fails("DELETE", at("#one:hs.test"), FORBIDDEN);
  await carol.join(roomId);
  await carol.fails("DELETE", at("#one:hs.test"), FORBIDDEN);
  await bob.delete(at("#one:hs.test"));
  await alice.delete(at("#two:hs.test"));
  await admin.delete(at("#three:hs.test"));
  assert.deepEqual((await alice.get(path`/rooms/${roomId}/aliases`)).aliases, []);
});

testEachServer("the canonical alias must lead to the room; a deleted alias leaves it", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const elsewhere = await alice.createRoom();
  await alice.put(at(ALIAS), { room_id: roomId });
  await alice.put(at("#alt:hs.test"), { room_id: roomId });
  await alice.put(at("#elsewhere:hs.test"), { room_id: elsewhere });
  const refuse = (content: Json, errcode: string) =>
    alice.fails("PUT", path`/rooms/${roomId}/state/${CANONICAL}/`, { body: content, status: 400, errcode });
  await refuse({ alias: "#none:hs.test" }, "M_BAD_ALIAS");
  await refuse({ alias: "#elsewhere:hs.test" }, "M_BAD_ALIAS");
  await refuse({ alias: ALIAS, alt_aliases: ["#elsewhere:hs.test"] }, "M_BAD_ALIAS");
  await refuse({ alias: "nonsense" }, "M_INVALID_PARAM");
  await refuse({ alt_aliases: [1] }, "M_INVALID_PARAM");
  await refuse({ alt_aliases: "#alt:hs.test" }, "M_BAD_JSON");
  const content = { alias: ALIAS, alt_aliases: ["#alt:hs.test"], "org.example": 1 };
  await alice.setState(roomId, { type: CANONICAL, content });
  await alice.delete(at("#alt:hs.test"));
  assert.deepEqual(await alice.state(roomId, { type: CANONICAL }), { alias: ALIAS, "org.example": 1 });
  await alice.delete(at(ALIAS));
  assert.deepEqual(await alice.state(roomId, { type: CANONICAL }), { "org.example": 1 });
  await bob.join(roomId);
  await bob.put(at("#bobs:hs.test"), { room_id: roomId });
  await alice.setState(roomId, { type: CANONICAL, content: { alias: "#bobs:hs.test" } });
  // Bob may delete what he made, but has no power over what the room says.
  await bob.delete(at("#bobs:hs.test"));
  assert.deepEqual(await alice.state(roomId, { type: CANONICAL }), { alias: "#bobs:hs.test" });
  await alice.setState(roomId, { type: CANONICAL, content: { alias: "#bobs:hs.test", note: "as it was" } });
});

testEachServer("aliases are refused in wrong shapes, without a token and on other servers", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom();
  await hs.anyone.fails("PUT", at(ALIAS), { body: { room_id: roomId }, ...NO_TOKEN });
  await hs.anyone.fails("DELETE", at(ALIAS), NO_TOKEN);
  await hs.anyone.fails("GET", path`/rooms/${roomId}/aliases`, NO_TOKEN);
  await bob.fails("GET", path`/rooms/${roomId}/aliases`, FORBIDDEN);
  const refuse = (alias: string, { body, errcode, status = 400 }: { body: Json; errcode: string; status?: number }) =>
    alice.fails("PUT", at(alias), { body, status, errcode });
  await refuse(ALIAS, { body: "{", errcode: "M_NOT_JSON" });
  await refuse(ALIAS, { body: {}, errcode: "M_MISSING_PARAM" });
  await refuse(ALIAS, { body: { room_id: 1 }, errcode: "M_BAD_JSON" });
  await refuse(ALIAS, { body: { room_id: "nonsense" }, errcode: "M_BAD_JSON" });
  await refuse(ALIAS, { body: { room_id: "!none:hs.test" }, errcode: "M_NOT_FOUND", status: 404 });
  const body = { room_id: roomId };
  for (const alias of ["nonsense", "#:hs.test", "#a\u0000:hs.test", `#${"x".repeat(250)}:hs.test`, "#a:other.test"]) {
    await refuse(alias, { body, errcode: "M_INVALID_PARAM" });
  }
  assert.deepEqual((await alice.get(path`/rooms/${roomId}/aliases`)).aliases, []);
});

testEachServer(
  "alias_creation_rules and room_list_publication_rules decide by the first rule that fits",
  async (database) => {
    const config = {
      alias_creation_rules: [{ alias: "#ok_*:hs.test", action: "allow" }, { user_id: "@alice:*", action: "deny" }],
      room_list_publication_rules: [{ user_id: "@bob:hs.test", action: "deny" }, { action: "allow" }],
    };
    await using hs = await TestServer.start({ database, config });
    const [alice, bob] = await hs.register("alice", "bob");
    const roomId = await alice.createRoom();
    await alice.put(at("#ok_1:hs.test"), { room_id: roomId });
    await alice.fails("PUT", at("#no_1:hs.test"), { body: { room_id: roomId }, ...FORBIDDEN });
    await alice.put(path`/directory/list/room/${roomId}`, { visibility: "public" });
    const bobs = path`/directory/list/room/${await bob.createRoom()}`;
    await bob.fails("PUT", bobs, { body: { visibility: "public" }, ...FORBIDDEN });
    assert.equal((await bob.get(bobs)).visibility, "private");
  },
);
