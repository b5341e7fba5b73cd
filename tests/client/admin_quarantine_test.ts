/** Synapse's admin API for hiding media: by file, by user, by room; and who is kept from what. */
import assert from "node:assert/strict";
import { PNG } from "../fixtures/images.ts";
import { type Json, path, type RequestOptions, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ADMIN = "/_synapse/admin/v1";
const CHANGES = `${ADMIN}/media/quarantine_changes`;
const INVALID = { status: 400, errcode: "M_INVALID_PARAM" };

async function upload(client: TestClient, body: string | Uint8Array): Promise<string> {
  const headers = { "content-type": typeof body === "string" ? "text/plain" : "image/png" };
  const { content_uri: uri } = await client.ok("POST", "/_matrix/media/v3/upload", { body, headers });
  return String(uri).slice("mxc://hs.test/".length);
}

async function status(client: TestClient, id: string, options: RequestOptions = {}): Promise<number> {
  return (await client.request("GET", `/_matrix/client/v1/media/download/hs.test/${id}`, options)).status;
}

async function statuses(client: TestClient, ids: readonly string[]): Promise<number[]> {
  const all = [];
  for (const id of ids) all.push(await status(client, id));
  return all;
}

testEachServer("a file is hidden with all that have its content, and shown again", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const first = await upload(alice, PNG);
  const same = await upload(bob, PNG);
  const safe = await upload(bob, PNG);
  const other = await upload(bob, "other");
  assert.deepEqual(await admin.post(`${ADMIN}/media/protect/${safe}`), {});
  assert.deepEqual(await admin.post(`${ADMIN}/media/quarantine/hs.test/${first}`), {});
  const later = await upload(bob, PNG);
  assert.deepEqual(await statuses(bob, [first, same, safe, other, later]), [404, 404, 200, 200, 404]);
  const by = async (id: string) => (await admin.get(`${ADMIN}/media/hs.test/${id}`)).media_info.quarantined_by;
  assert.deepEqual([await by(first), await by(same), await by(later)], [admin.userId, admin.userId, "system"]);
  const box = { width: 1, height: 1 };
  const hidden = { status: 404, errcode: "M_NOT_FOUND" };
  await alice.fails("GET", `/_matrix/client/v1/media/thumbnail/hs.test/${first}`, { ...hidden, query: box });
  await alice.fails("GET", `/_matrix/media/v3/download/hs.test/${first}`, hidden);

  const bypass = { query: { admin_unsafely_bypass_quarantine: true } };
  assert.deepEqual([await status(admin, first, bypass), await status(admin, first)], [200, 404]);
  const target = `/_matrix/client/v1/media/download/hs.test/${first}`;
  await alice.fails("GET", target, { ...bypass, status: 400, errcode: "M_UNKNOWN" });
  await admin.fails("GET", `/_matrix/media/v3/download/hs.test/${first}`, { ...hidden, ...bypass });

  // Of two files with one content, the protected one hides no other.
  await admin.post(`${ADMIN}/media/unquarantine/hs.test/${same}`);
  assert.deepEqual(await statuses(bob, [first, same, later]), [200, 200, 200]);
  await admin.post(`${ADMIN}/media/quarantine/hs.test/${safe}`);
  assert.deepEqual(await statuses(bob, [first, safe]), [200, 200]);
  await admin.post(`${ADMIN}/media/unprotect/${safe}`);
  await admin.post(`${ADMIN}/media/quarantine/hs.test/${safe}`);
  assert.deepEqual(await statuses(bob, [first, safe]), [404, 404]);

  await admin.post(`${ADMIN}/media/quarantine/hs.test/unknown`);
  await admin.post(`${ADMIN}/media/unquarantine/elsewhere.test/unknown`);
  for (const word of ["protect", "unprotect"]) {
    await admin.fails("POST", `${ADMIN}/media/${word}/unknown`, hidden);
    await admin.fails("POST", `${ADMIN}/media/${word}/a%20b`, INVALID);
  }
  for (const word of ["quarantine", "unquarantine"]) {
    await admin.fails("POST", `${ADMIN}/media/${word}/hs.test/a%20b`, INVALID);
    await admin.fails("POST", `${ADMIN}/media/${word}/a%20b/x`, INVALID);
  }
});

testEachServer("all files of a user are hidden, reserved ones too", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const ids = [await upload(alice, "one"), await upload(alice, "two"), await upload(bob, "three")];
  const { content_uri: uri } = await alice.post("/_matrix/media/v1/create");
  const reserved = String(uri).slice("mxc://hs.test/".length);
  const target = path`/_synapse/admin/v1/user/${alice.userId}/media/quarantine`;
  assert.deepEqual(await admin.post(target), { num_quarantined: 3 });
  assert.deepEqual(await admin.post(target), { num_quarantined: 0 });
  assert.deepEqual(await statuses(bob, ids), [404, 404, 200]);
  assert.equal(await status(bob, reserved), 404);
  await alice.ok("PUT", `/_matrix/media/v3/upload/hs.test/${reserved}`, { body: "late" });
  assert.equal(await status(bob, reserved), 404);
  assert.deepEqual(await admin.post(`${ADMIN}/user/@nobody:hs.test/media/quarantine`), { num_quarantined: 0 });
  await admin.fails("POST", `${ADMIN}/user/nobody/media/quarantine`, INVALID);
});

testEachServer("the media of a room are listed and hidden, over many pages", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const { room_id: roomId } = await alice.post("/createRoom");
  const [image, thumbnail, old, elsewhere] = [
    await upload(alice, "image"),
    await upload(alice, "thumbnail"),
    await upload(alice, "old"),
    await upload(alice, "not in the room"),
  ];
  const send = (content: Json) => alice.send(roomId, { type: "m.room.message", content });
  await send({ msgtype: "m.image", body: "old", url: `mxc://hs.test/${old}` });
  for (let count = 0; count < 100; count++) await send({ msgtype: "m.text", body: "mxc://hs.test/not_media" });
  await send({ msgtype: "m.image", body: "remote", url: "mxc://elsewhere.test/abc" });
  await send({ msgtype: "m.image", body: "no media", url: "https://hs.test/x" });
  await send({ msgtype: "m.image", body: "odd", url: 5, info: { thumbnail_url: "mxc://hs.test/odd" } });
  const info = { thumbnail_url: `mxc://hs.test/${thumbnail}` };
  await send({ msgtype: "m.image", body: "image", url: `mxc://hs.test/${image}`, info });
  const target = path`/_synapse/admin/v1/room/${roomId}/media`;
  assert.deepEqual(await admin.get(target), {
    local: [image, thumbnail, old].map((id) => `mxc://hs.test/${id}`),
    remote: ["mxc://elsewhere.test/abc"],
  });
  assert.deepEqual(await admin.post(`${target}/quarantine`), { num_quarantined: 3 });
  assert.deepEqual(await statuses(alice, [image, thumbnail, old, elsewhere]), [404, 404, 404, 200]);
  await admin.post(`${ADMIN}/media/unquarantine/hs.test/${old}`);
  assert.deepEqual(await admin.post(path`/_synapse/admin/v1/quarantine_media/${roomId}`), { num_quarantined: 1 });
  const unknown = "!unknown:hs.test";
  assert.deepEqual(await admin.get(`${ADMIN}/room/${unknown}/media`), { local: [], remote: [] });
  assert.deepEqual(await admin.post(`${ADMIN}/room/${unknown}/media/quarantine`), { num_quarantined: 0 });
  await admin.fails("GET", `${ADMIN}/room/nonsense/media`, INVALID);
  await admin.fails("POST", `${ADMIN}/room/nonsense/media/quarantine`, INVALID);
  await admin.fails("POST", `${ADMIN}/quarantine_media/nonsense`, INVALID);
});

testEachServer("changes of the quarantine are read in order, from where the last page ended", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  assert.deepEqual(await admin.get(CHANGES), { next_batch: 0, changes: [] });
  const ids = [];
  for (let count = 0; count < 101; count++) ids.push(await upload(alice, `file ${count}`));
  const change = (id: Json, quarantined: boolean) => ({ origin: "hs.test", media_id: id, quarantined });
  await admin.post(`${ADMIN}/media/quarantine/hs.test/${ids[7]}`);
  const first = await admin.get(CHANGES);
  assert.deepEqual(first, { next_batch: 1, changes: [change(ids[7], true)] });
  await admin.post(`${ADMIN}/media/unquarantine/hs.test/${ids[7]}`);
  await admin.post(`${ADMIN}/user/${alice.userId}/media/quarantine`);
  const second = await admin.get(CHANGES, { from: first.next_batch });
  assert.deepEqual([second.next_batch, second.changes.length, second.changes[0]], [101, 100, change(ids[7], false)]);
  await hs.restart();
  const third = await hs.again(admin).get(CHANGES, { from: second.next_batch });
  assert.equal(third.next_batch, 103);
  const seen = [...second.changes.slice(1), ...third.changes];
  assert.deepEqual(seen, ids.toSorted().map((id) => change(id, true)));
  assert.deepEqual(await hs.again(admin).get(CHANGES, { from: 103 }), { next_batch: 103, changes: [] });
  for (const from of [104, -1, "x"]) await hs.again(admin).fails("GET", CHANGES, { ...INVALID, query: { from } });
});

testEachServer("media are administered by administrators, where there are media", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const operations = [
    ...["GET room/!r:hs.test/media", "GET media/hs.test/x", "DELETE media/hs.test/x", "POST media/delete"],
    ...["POST media/hs.test/delete", "POST purge_media_cache", "POST room/!r:hs.test/media/quarantine"],
    ...["POST quarantine_media/!r:hs.test", "POST user/@alice:hs.test/media/quarantine", "POST media/protect/x"],
    ...["POST media/quarantine/hs.test/x", "POST media/unquarantine/hs.test/x", "GET media/quarantine_changes"],
    ...["POST media/unprotect/x", "GET users/@alice:hs.test/media", "DELETE users/@alice:hs.test/media"],
  ].map((operation) => operation.split(" ") as [string, string]);
  for (const [method, target] of operations) {
    await hs.anyone.fails(method, `${ADMIN}/${target}`, { status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails(method, `${ADMIN}/${target}`, { status: 403, errcode: "M_FORBIDDEN" });
  }
  for (const method of ["GET", "DELETE"]) {
    await admin.fails(method, `${ADMIN}/users/@nobody:hs.test/media`, { status: 404, errcode: "M_NOT_FOUND" });
    await admin.fails(method, `${ADMIN}/users/@a:elsewhere.test/media`, { status: 400, errcode: "M_UNKNOWN" });
    await admin.fails(method, `${ADMIN}/users/nobody/media`, INVALID);
  }
  await hs.restart({ enable_media_repo: false });
  assert.deepEqual(await hs.again(admin).get(`${ADMIN}/room/!r:hs.test/media`), { local: [], remote: [] });
  for (const [method, target] of operations.slice(1)) {
    await hs.again(admin).fails(method, `${ADMIN}/${target}`, { status: 404, errcode: "M_UNRECOGNIZED" });
  }
});
