import assert from "node:assert/strict";
import type { UserId } from "../../src/protocol/ids.ts";
import { insertProfileUpdate, upsertProfile } from "../../src/storage/profiles.ts";
import { hasEvent, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("profile fields are set, read by anyone and removed", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const field = (key: string, user = alice) => path`/profile/${user.userId}/${key}`;
  await alice.put(field("displayname"), { displayname: "Alice" });
  await alice.put(field("avatar_url"), { avatar_url: "mxc://hs.test/abc" });
  await alice.put(field("m.tz"), { "m.tz": "Europe/Paris" });
  await alice.put(field("org.example.langs"), { "org.example.langs": ["en", { level: 1 }] });
  assert.deepEqual(await hs.anyone.get(path`/profile/${alice.userId}`), {
    displayname: "Alice",
    avatar_url: "mxc://hs.test/abc",
    "m.tz": "Europe/Paris",
    "org.example.langs": ["en", { level: 1 }],
  });
  assert.deepEqual(await bob.get(field("org.example.langs")), { "org.example.langs": ["en", { level: 1 }] });
  await alice.delete(field("m.tz"));
  await alice.delete(field("m.tz"));
  await bob.fails("GET", field("m.tz"), { status: 404, errcode: "M_NOT_FOUND" });
  await alice.delete(field("displayname"));
  await bob.fails("GET", field("displayname"), { status: 404, errcode: "M_NOT_FOUND" });
});

testEachServer("profiles refuse strangers, bad keys, bad values and too much", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const field = (key: string) => path`/profile/${alice.userId}/${key}`;
  const body = { displayname: "Mallory" };
  await bob.fails("PUT", field("displayname"), { body, status: 403, errcode: "M_FORBIDDEN" });
  await bob.fails("DELETE", field("displayname"), { status: 403, errcode: "M_FORBIDDEN" });
  await hs.anyone.fails("PUT", field("displayname"), { body, status: 401, errcode: "M_MISSING_TOKEN" });
  await hs.anyone.fails("GET", path`/profile/@nobody:hs.test`, { status: 404, errcode: "M_NOT_FOUND" });
  await hs.anyone.fails("GET", path`/profile/not-a-user`, { status: 400, errcode: "M_INVALID_PARAM" });
  const bad: [string, unknown, number, string][] = [
    ["displayname", {}, 400, "M_MISSING_PARAM"],
    ["displayname", { displayname: 5 }, 400, "M_BAD_JSON"],
    ["displayname", { displayname: "x".repeat(257) }, 400, "M_INVALID_PARAM"],
    ["avatar_url", { avatar_url: [] }, 400, "M_BAD_JSON"],
    ["Upper", { Upper: 1 }, 400, "M_INVALID_PARAM"],
    ["__proto__", '{"__proto__": 1}', 400, "M_INVALID_PARAM"],
    [`a${"b".repeat(255)}`, { a: 1 }, 400, "M_MISSING_PARAM"],
    [`a${"b".repeat(255)}`, { [`a${"b".repeat(255)}`]: 1 }, 400, "M_KEY_TOO_LARGE"],
    ["org.example.big", { "org.example.big": "x".repeat(65_536) }, 400, "M_PROFILE_TOO_LARGE"],
    ["displayname", "{", 400, "M_NOT_JSON"],
  ];
  for (const [key, value, status, errcode] of bad) {
    await alice.fails("PUT", field(key), { body: value, status, errcode });
  }
  assert.deepEqual(await hs.anyone.get(path`/profile/${alice.userId}`), { displayname: "alice" });
});

testEachServer("administrators change anybody's profile", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const admin = await hs.registerAdmin("admin");
  await admin.put(path`/profile/${alice.userId}/displayname`, { displayname: "Renamed" });
  assert.equal((await alice.get(path`/profile/${alice.userId}`)).displayname, "Renamed");
  const remote = { body: { displayname: "x" }, status: 400, errcode: "M_INVALID_PARAM" };
  await admin.fails("PUT", path`/profile/@a:other.example/displayname`, remote);
});

testEachServer("require_auth_for_profile_requests hides profiles from strangers", async (database) => {
  const config = { require_auth_for_profile_requests: true, limit_profile_requests_to_users_who_share_rooms: true };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob] = await hs.register("alice", "bob");
  const profile = path`/profile/${alice.userId}`;
  await hs.anyone.fails("GET", profile, { status: 401, errcode: "M_MISSING_TOKEN" });
  await bob.fails("GET", profile, { status: 403, errcode: "M_FORBIDDEN" });
  await alice.get(profile);
  await bob.join(await alice.createRoom({ preset: "public_chat" }));
  assert.equal((await bob.get(profile)).displayname, "alice");
});

testEachServer("a new name and avatar reach every joined room", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomIds: string[] = [];
  for (let count = 0; count < 25; count++) roomIds.push(await alice.createRoom({ preset: "public_chat" }));
  const [last = ""] = roomIds.slice(-1);
  await bob.join(last);
  await bob.sync();
  await alice.put(path`/profile/${alice.userId}/displayname`, { displayname: "Alicia" });
  await alice.put(path`/profile/${alice.userId}/avatar_url`, { avatar_url: "mxc://hs.test/new" });
  const isNew = (event: { type: string; state_key?: string; content: Record<string, unknown> }) =>
    event.type === "m.room.member" && event.state_key === alice.userId &&
    event.content.displayname === "Alicia" && event.content.avatar_url === "mxc://hs.test/new";
  await bob.syncUntil(hasEvent(last, isNew));
  const missing = new Set(roomIds);
  const deadline = performance.now() + 20_000;
  while (missing.size > 0 && performance.now() < deadline) {
    for (const roomId of missing) {
      const member = await alice.state(roomId, { type: "m.room.member", stateKey: alice.userId });
      if (member.displayname === "Alicia" && member.avatar_url === "mxc://hs.test/new") missing.delete(roomId);
    }
  }
  assert.equal(missing.size, 0);
});

testEachServer("a profile change that a stopped server had not finished goes on", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const roomId = await alice.createRoom();
  const userId = alice.userId as UserId;
  await hs.parts.core.db.transaction(async (tx) => {
    await upsertProfile(tx, { userId, displayname: "Later", avatarUrl: null, fields: "{}" });
    await insertProfileUpdate(tx, userId);
  });
  await hs.restart();
  await hs.parts.accounts.userRooms.settle();
  const member = await hs.again(alice).state(roomId, { type: "m.room.member", stateKey: userId });
  assert.equal(member.displayname, "Later");
});
