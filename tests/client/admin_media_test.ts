/** Synapse's admin API for media: what there is, and deleting it. */
import assert from "node:assert/strict";
import type { ServerName } from "../../src/protocol/ids.ts";
import { insertMedia } from "../../src/storage/media.ts";
import { PNG } from "../fixtures/images.ts";
import { type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ADMIN = "/_synapse/admin/v1";
const INVALID = { status: 400, errcode: "M_INVALID_PARAM" };
const NOT_FOUND = { status: 404, errcode: "M_NOT_FOUND" };
const DAY_MS = 86_400_000;

async function upload(client: TestClient, file: string | Uint8Array | { name: string; body: string }): Promise<string> {
  const isImage = file instanceof Uint8Array;
  const body = typeof file === "object" && !isImage ? file.body : file;
  const query = typeof file === "object" && !isImage ? { filename: file.name } : {};
  const headers = { "content-type": isImage ? "image/png" : "text/plain" };
  const { content_uri: uri } = await client.ok("POST", "/_matrix/media/v3/upload", { body, headers, query });
  return String(uri).slice("mxc://hs.test/".length);
}

async function downloads(client: TestClient, ids: readonly string[]): Promise<number[]> {
  const statuses = [];
  for (const id of ids) {
    statuses.push((await client.request("GET", `/_matrix/client/v1/media/download/hs.test/${id}`)).status);
  }
  return statuses;
}

testEachServer("a file is described and deleted", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const id = await upload(alice, { name: "hello.txt", body: "hello" });
  const target = `${ADMIN}/media/hs.test/${id}`;
  const { media_info: { created_ts: created, last_access_ts: seen, ...rest } } = await admin.get(target);
  assert.ok(Math.abs(created - Date.now()) < 3_600_000 && seen >= created);
  assert.deepEqual(rest, {
    ...{ media_origin: null, user_id: alice.userId, media_id: id, media_type: "text/plain", media_length: 5 },
    ...{ upload_name: "hello.txt", filesystem_id: null, url_cache: null, quarantined_by: null, authenticated: true },
    safe_from_quarantine: false,
    sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
  });
  assert.deepEqual(await admin.delete(target), { deleted_media: [id], total: 1 });
  assert.deepEqual(await downloads(alice, [id]), [404]);
  await admin.fails("GET", target, NOT_FOUND);
  await admin.fails("DELETE", target, NOT_FOUND);
  await admin.fails("GET", `${ADMIN}/media/elsewhere.test/${id}`, NOT_FOUND);
  await admin.fails("DELETE", `${ADMIN}/media/elsewhere.test/${id}`, { status: 400, errcode: "M_UNKNOWN" });
  for (const wrong of ["hs.test/a%20b", "hs.test/..%2Fx", "not%20a%20name/x"]) {
    await admin.fails("GET", `${ADMIN}/media/${wrong}`, INVALID);
    await admin.fails("DELETE", `${ADMIN}/media/${wrong}`, INVALID);
  }
});

testEachServer("a user's files are listed in every order, by pages, and deleted by pages", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  await upload(bob, "not hers");
  const ids = [
    await upload(alice, { name: "z", body: "bb" }),
    await upload(alice, { name: "y", body: "a" }),
    await upload(alice, PNG),
  ];
  const target = path`/_synapse/admin/v1/users/${alice.userId}/media`;
  const listed = async (query: Record<string, string | number> = {}) =>
    (await admin.get(target, query)).media.map(({ media_id: id }: Json) => ids.indexOf(id));
  const [first] = (await admin.get(target)).media;
  assert.deepEqual(Object.keys(first).sort(), [
    ...["authenticated", "created_ts", "last_access_ts", "media_id", "media_length", "media_type", "quarantined_by"],
    ...["safe_from_quarantine", "sha256", "upload_name", "url_cache", "user_id"],
  ]);
  await admin.post(`${ADMIN}/media/protect/${ids[0]}`);
  await admin.post(`${ADMIN}/media/quarantine/hs.test/${ids[1]}`);
  const byId = [0, 1, 2].toSorted((a, b) => (ids[a] ?? "") < (ids[b] ?? "") ? -1 : 1);
  const rest = (first: number) => [first, ...byId.filter((index) => index !== first)];
  const last = (last: number) => [...byId.filter((index) => index !== last), last];
  assert.deepEqual(await listed({ order_by: "media_id" }), byId);
  assert.deepEqual(await listed({ order_by: "media_id", dir: "b" }), byId.toReversed());
  assert.deepEqual(await listed({ order_by: "media_length" }), [1, 0, 2]);
  assert.deepEqual(await listed({ order_by: "upload_name" }), [2, 1, 0]);
  assert.deepEqual(await listed({ order_by: "upload_name", dir: "b" }), [0, 1, 2]);
  assert.deepEqual(await listed({ order_by: "media_type" }), rest(2));
  assert.deepEqual(await listed({ order_by: "quarantined_by" }), last(1));
  assert.deepEqual(await listed({ order_by: "quarantined_by", dir: "b" }), rest(1));
  assert.deepEqual(await listed({ order_by: "safe_from_quarantine", dir: "b" }), rest(0));
  for (const order of ["created_ts", "last_access_ts"]) {
    assert.deepEqual((await listed({ order_by: order })).toSorted(), [0, 1, 2]);
  }
  const page = await admin.get(target, { limit: 2, order_by: "media_length" });
  assert.deepEqual([page.media.length, page.total, page.next_token], [2, 3, 2]);
  const next = await admin.get(target, { limit: 2, order_by: "media_length", from: page.next_token });
  assert.deepEqual([next.media[0].media_id, next.total, next.next_token], [ids[2], 3, undefined]);

  for (const query of [{ order_by: "size" }, { dir: "up" }, { limit: -1 }, { from: "x" }]) {
    await admin.fails("GET", target, { ...INVALID, query });
    await admin.fails("DELETE", target, { ...INVALID, query });
  }
  const gone = await admin.ok("DELETE", target, { query: { limit: 2, order_by: "media_length" } });
  assert.deepEqual(gone, { deleted_media: [ids[1], ids[0]], total: 2 });
  assert.deepEqual(await downloads(alice, ids), [404, 404, 200]);
  assert.equal((await admin.delete(target)).total, 1);
  assert.deepEqual(await admin.get(target), { media: [], total: 0 });
  assert.deepEqual(await admin.delete(target), { deleted_media: [], total: 0 });
});

testEachServer("old and large files are deleted, pictures where asked only", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const names = [
    "small",
    "large one",
    "my picture",
    "my picture here",
    "the room's picture",
    "safe file",
    "hidden one",
  ];
  const ids = new Map<string, string>();
  for (const name of names) ids.set(name, await upload(alice, name));
  const idOf = (name: string) => ids.get(name) ?? "";
  const uriOf = (name: string) => `mxc://hs.test/${idOf(name)}`;
  await alice.put(path`/profile/${alice.userId}/avatar_url`, { avatar_url: uriOf("my picture") });
  const { room_id: roomId } = await alice.post("/createRoom");
  const member = path`/rooms/${roomId}/state/m.room.member/${alice.userId}`;
  await alice.put(member, { membership: "join", avatar_url: uriOf("my picture here") });
  await alice.put(path`/rooms/${roomId}/state/m.room.avatar/`, { url: uriOf("the room's picture") });
  await admin.post(`${ADMIN}/media/protect/${idOf("safe file")}`);
  await admin.post(`${ADMIN}/media/quarantine/hs.test/${idOf("hidden one")}`);
  const later = Date.now() + DAY_MS;
  const remove = async (query: Record<string, number | boolean>, target = "media/delete") => {
    const { deleted_media: deleted, total } = await admin.ok("POST", `${ADMIN}/${target}`, { query });
    assert.equal(deleted.length, total);
    return names.filter((name) => deleted.includes(idOf(name)));
  };
  assert.deepEqual(await remove({ before_ts: Date.now() - DAY_MS }), []);
  assert.deepEqual(await remove({ before_ts: later, size_gt: 5 }), ["large one"]);
  assert.deepEqual(await remove({ before_ts: later }, "media/hs.test/delete"), ["small"]);
  assert.deepEqual(await downloads(alice, [idOf("small"), idOf("my picture")]), [404, 200]);
  const pictures = ["my picture", "my picture here", "the room's picture"];
  assert.deepEqual(await remove({ before_ts: later, keep_profiles: false }), pictures);
  const missing = { status: 400, errcode: "M_MISSING_PARAM" };
  for (const target of ["media/delete", "media/hs.test/delete", "purge_media_cache"]) {
    await admin.fails("POST", `${ADMIN}/${target}`, missing);
    for (const before_ts of [-1, 1_600_000_000, "soon"]) {
      await admin.fails("POST", `${ADMIN}/${target}`, { ...INVALID, query: { before_ts } });
    }
  }
  await admin.fails("POST", `${ADMIN}/media/delete`, { ...INVALID, query: { before_ts: later, size_gt: -1 } });
  await admin.fails("POST", `${ADMIN}/media/delete`, { ...INVALID, query: { before_ts: later, keep_profiles: "x" } });
  const elsewhere = { query: { before_ts: later }, status: 400, errcode: "M_UNKNOWN" };
  await admin.fails("POST", `${ADMIN}/media/elsewhere.test/delete`, elsewhere);
});

testEachServer("copies of other servers' files are purged, hidden ones are not", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  await upload(alice, "local");
  const { db } = hs.parts.core;
  await db.transaction(async (tx) => {
    for (const [mediaId, hider] of [["first", null], ["second", null], ["hidden", admin.userId]] as const) {
      await insertMedia(tx, {
        ...{ origin: "elsewhere.test" as ServerName, mediaId, fileId: `file_${mediaId}`, userId: null },
        ...{ contentType: "text/plain", uploadName: null, createdTs: 1, length: 3, unusedExpiresTs: null },
        ...{ sha256: null, lastAccessTs: 1, isAuthenticated: true, isUrlCache: false, sourceUrl: null },
        ...{ quarantinedBy: hider, safeFromQuarantine: false },
      });
    }
  });
  const { media_info: info } = await admin.get(`${ADMIN}/media/elsewhere.test/first`);
  assert.deepEqual([info.media_origin, info.filesystem_id, info.user_id, info.safe_from_quarantine], [
    ...["elsewhere.test", "file_first", null, null],
  ]);
  const query = { before_ts: 40_000_000_000 };
  assert.deepEqual(await admin.ok("POST", `${ADMIN}/purge_media_cache`, { query }), { deleted: 2 });
  assert.deepEqual(await admin.ok("POST", `${ADMIN}/purge_media_cache`, { query }), { deleted: 0 });
  await admin.fails("GET", `${ADMIN}/media/elsewhere.test/first`, NOT_FOUND);
  await admin.get(`${ADMIN}/media/elsewhere.test/hidden`);
});
