/** Key backup. Spec: client-server API, "Server-side key backups". */
import assert from "node:assert/strict";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2";
const ROOM = "!room/a:hs.test";
const NOT_FOUND = { status: 404, errcode: "M_NOT_FOUND" };

function key({ index = 0, forwarded = 0, verified = false, text = "secret" } = {}): Json {
  return {
    first_message_index: index,
    forwarded_count: forwarded,
    is_verified: verified,
    session_data: { ciphertext: text },
  };
}

async function create(client: TestClient): Promise<string> {
  return (await client.post("/room_keys/version", { algorithm: ALGORITHM, auth_data: { public_key: "abc" } })).version;
}

function session(version: string, sessionId = "S/1"): string {
  return path`/room_keys/keys/${ROOM}/${sessionId}?version=${version}`;
}

testEachServer("versions are made, described, changed and deleted", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  await alice.fails("GET", "/room_keys/version", NOT_FOUND);
  const first = await create(alice);
  const expected = { algorithm: ALGORITHM, auth_data: { public_key: "abc" }, version: first, count: 0, etag: "0" };
  assert.deepEqual(await alice.get("/room_keys/version"), expected);
  const second = await create(alice);
  assert.notEqual(second, first);
  assert.equal((await alice.get("/room_keys/version")).version, second);
  const url = path`/room_keys/version/${first}`;
  const auth_data = { public_key: "abc", signatures: { x: "ü\u0000" } };
  await alice.put(url, { algorithm: ALGORITHM, auth_data, version: first });
  assert.deepEqual((await alice.get(url)).auth_data, auth_data);
  await bob.fails("GET", url, NOT_FOUND);
  const invalid = { status: 400, errcode: "M_INVALID_PARAM" };
  await alice.fails("PUT", url, { body: { algorithm: "other", auth_data }, ...invalid });
  await alice.fails("PUT", url, { body: { algorithm: ALGORITHM, auth_data, version: second }, ...invalid });
  await alice.delete(path`/room_keys/version/${second}`);
  await alice.fails("DELETE", path`/room_keys/version/${second}`, NOT_FOUND);
  await alice.fails("GET", path`/room_keys/version/${second}`, NOT_FOUND);
  assert.equal((await alice.get("/room_keys/version")).version, first);
  assert.ok(![first, second].includes(await create(alice)));
  const many = await Promise.all(Array.from({ length: 8 }, () => create(bob)));
  assert.equal(new Set(many).size, many.length);
});

testEachServer("keys are put, read and deleted one by one, by room and all at once", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const version = await create(alice);
  const all = path`/room_keys/keys?version=${version}`;
  const room = path`/room_keys/keys/${ROOM}?version=${version}`;
  const one = await alice.put(session(version), key());
  assert.equal(one.count, 1);
  const two = await alice.put(room, { sessions: { S2: key({ text: "two 🔑" }), "S/1": key() } });
  assert.equal(two.count, 2);
  assert.notEqual(two.etag, one.etag);
  const three = await alice.put(all, { rooms: { "!other:hs.test": { sessions: { constructor: key() } } } });
  assert.equal(three.count, 3);
  const sessions = { "S/1": key(), S2: key({ text: "two 🔑" }) };
  assert.deepEqual(await alice.get(session(version)), key());
  assert.deepEqual(await alice.get(room), { sessions });
  await hs.restart();
  const again = hs.again(alice);
  const rooms = { [ROOM]: { sessions }, "!other:hs.test": { sessions: { constructor: key() } } };
  assert.deepEqual(await again.get(all), { rooms });
  assert.equal((await again.get("/room_keys/version")).etag, three.etag);
  assert.deepEqual(await again.get(path`/room_keys/keys/!none:hs.test?version=${version}`), { sessions: {} });
  await again.fails("GET", session(version, "none"), NOT_FOUND);
  const fewer = await again.delete(session(version));
  assert.equal(fewer.count, 2);
  assert.notEqual(fewer.etag, three.etag);
  assert.deepEqual(await again.delete(session(version)), fewer);
  assert.equal((await again.delete(room)).count, 1);
  assert.equal((await again.delete(all)).count, 0);
  assert.deepEqual(await again.get(all), { rooms: {} });
});

testEachServer("a key is replaced by a better one only", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const version = await create(alice);
  const replaces = async (old: Json, next: Json) => {
    await alice.delete(session(version));
    await alice.put(session(version), old);
    const { etag } = await alice.get("/room_keys/version");
    const answer = await alice.put(session(version), { ...next, session_data: { ciphertext: "next" } });
    const replaced = (await alice.get(session(version))).session_data.ciphertext === "next";
    assert.equal(answer.etag !== etag, replaced);
    return replaced;
  };
  const old = key({ index: 10, forwarded: 5 });
  assert.ok(await replaces(old, key({ index: 99, forwarded: 99, verified: true })));
  assert.ok(await replaces(old, key({ index: 9, forwarded: 99 })));
  assert.ok(await replaces(old, key({ index: 10, forwarded: 4 })));
  assert.ok(!await replaces(old, key({ index: 10, forwarded: 5 })));
  assert.ok(!await replaces(old, key({ index: 11, forwarded: 0 })));
  // The same session id in another room is another key.
  await alice.put(path`/room_keys/keys/!other:hs.test/${"S/1"}?version=${version}`, key({ index: 0, verified: true }));
  assert.ok(await replaces(old, key({ index: 9 })));
  assert.ok(!await replaces(key({ index: 10, verified: true }), key({ index: 0 })));
});

testEachServer("only the current version takes keys; others say which it is", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  await alice.fails("PUT", session("1"), { body: key(), ...NOT_FOUND });
  const first = await create(alice);
  await alice.put(session(first), key());
  const second = await create(alice);
  const wrong = { body: key(), status: 403, errcode: "M_WRONG_ROOM_KEYS_VERSION" };
  assert.equal((await alice.fails("PUT", session(first), wrong)).current_version, second);
  await alice.fails("PUT", session("99"), { body: key(), ...NOT_FOUND });
  assert.deepEqual(await alice.get(session(first)), key());
  await alice.fails("GET", session("99"), NOT_FOUND);
  for (const version of ["", "x", "01", "-1", "1e1", "9".repeat(30)]) {
    await alice.fails("GET", session(version), NOT_FOUND);
    await alice.fails("DELETE", session(version), NOT_FOUND);
  }
});

testEachServer("backups are checked, and closed to others", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const version = await create(alice);
  const noToken = { body: {}, status: 401, errcode: "M_MISSING_TOKEN" };
  await hs.anyone.fails("POST", "/room_keys/version", noToken);
  await hs.anyone.fails("PUT", session(version), noToken);
  await hs.anyone.fails("GET", session(version), { status: 401, errcode: "M_MISSING_TOKEN" });
  await bob.fails("GET", session(version), NOT_FOUND);
  const refuse = (url: string, { body, errcode }: { body: Json; errcode: string }) =>
    alice.fails("PUT", url, { body, status: 400, errcode });
  await refuse(path`/room_keys/keys/${ROOM}/S`, { body: key(), errcode: "M_MISSING_PARAM" });
  await refuse(session(version), { body: "{", errcode: "M_NOT_JSON" });
  for (const field of ["first_message_index", "forwarded_count", "is_verified", "session_data"]) {
    for (const value of [undefined, null, "1", -1, 1.5, []]) {
      await refuse(session(version), { body: { ...key(), [field]: value }, errcode: "M_BAD_JSON" });
    }
  }
  await refuse(path`/room_keys/keys/${ROOM}?version=${version}`, { body: {}, errcode: "M_MISSING_PARAM" });
  const all = path`/room_keys/keys?version=${version}`;
  await refuse(all, { body: { rooms: { [ROOM]: [] } }, errcode: "M_BAD_JSON" });
  await refuse(all, { body: { rooms: { [ROOM]: { sessions: { "S\u0000": key() } } } }, errcode: "M_BAD_JSON" });
  const create400 = (body: Json, errcode: string) =>
    alice.fails("POST", "/room_keys/version", { body, status: 400, errcode });
  await create400({ algorithm: ALGORITHM }, "M_MISSING_PARAM");
  await create400({ auth_data: {} }, "M_MISSING_PARAM");
  await create400({ algorithm: 1, auth_data: {} }, "M_BAD_JSON");
  await create400({ algorithm: ALGORITHM, auth_data: [] }, "M_BAD_JSON");
  assert.equal((await alice.get("/room_keys/version")).count, 0);
});
