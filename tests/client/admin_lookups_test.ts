/** Synapse's admin API for looking up users and what they have. */
import assert from "node:assert/strict";
import { startResident } from "../federation/resident.ts";
import { type Json, path } from "../harness/client.ts";
import { crossSigningIdentity } from "../harness/e2ee.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ADMIN = "/_synapse/admin/v1";
const USERS = "/_synapse/admin/v2/users";
const INVALID = { status: 400, errcode: "M_INVALID_PARAM" };
const MISSING = { status: 400, errcode: "M_MISSING_PARAM" };
const NOT_FOUND = { status: 404, errcode: "M_NOT_FOUND" };
const UNKNOWN = { status: 400, errcode: "M_UNKNOWN" };

function of(userId: string, what: string): string {
  return `${path`/_synapse/admin/v1/users/${userId}/`}${what}`;
}

testEachServer(
  "users are found by who they are elsewhere, by their addresses and by a part of their ids",
  async (db) => {
    await using hs = await TestServer.start({ database: db });
    const admin = await hs.registerAdmin("admin");
    const [alice] = await hs.register("alice", "al_i");
    const person = { auth_provider: "oidc-here", external_id: "a/b c" };
    const body = { external_ids: [person], threepids: [{ medium: "email", address: "A@Example.org" }] };
    const changed = await admin.put(`${USERS}/${alice.userId}`, body);
    assert.deepEqual(changed.external_ids, [person]);
    const found = { user_id: alice.userId };
    assert.deepEqual(await admin.get(path`/_synapse/admin/v1/auth_providers/oidc-here/users/${"a/b c"}`), found);
    await admin.fails("GET", `${ADMIN}/auth_providers/oidc-here/users/other`, NOT_FOUND);
    await admin.fails("GET", `${ADMIN}/auth_providers/${"p".repeat(300)}/users/other`, INVALID);
    assert.deepEqual(await admin.get(`${ADMIN}/threepid/email/users/a@example.ORG`), found);
    await admin.fails("GET", `${ADMIN}/threepid/msisdn/users/a@example.org`, NOT_FOUND);
    await admin.fails("GET", `${ADMIN}/threepid/email/users/${"a".repeat(600)}`, INVALID);

    const search = `${ADMIN}/search_users/${admin.userId}`;
    const names = (users: Json) => users.map(({ name }: Json) => name);
    assert.deepEqual(names(await admin.get(search, { term: "AL" })), ["@al_i:hs.test", "@alice:hs.test"]);
    assert.deepEqual(names(await admin.get(search, { term: "l_i" })), ["@al_i:hs.test"]);
    assert.deepEqual(await admin.get(search, { term: "admin" }), [
      { name: admin.userId, password_hash: null, is_guest: false, admin: true, user_type: null },
    ]);
    await admin.fails("GET", search, MISSING);
    await admin.fails("GET", `${ADMIN}/search_users/@a:elsewhere.test?term=a`, UNKNOWN);
    await admin.fails("GET", `${ADMIN}/search_users/nonsense?term=a`, INVALID);
  },
);

testEachServer("external ids are replaced as a whole, and are one user's only", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const [one, two] = [{ auth_provider: "p", external_id: "1" }, { auth_provider: "p", external_id: "2" }];
  await admin.put(`${USERS}/${alice.userId}`, { external_ids: [one, two] });
  assert.deepEqual((await admin.put(`${USERS}/${alice.userId}`, { external_ids: [two] })).external_ids, [two]);
  assert.deepEqual((await admin.put(`${USERS}/${alice.userId}`, { displayname: "A" })).external_ids, [two]);
  const taken = { body: { external_ids: [one, two], displayname: "B" }, status: 409, errcode: "M_UNKNOWN" };
  await admin.fails("PUT", `${USERS}/${bob.userId}`, taken);
  const { external_ids: ids, displayname } = await admin.get(`${USERS}/${bob.userId}`);
  assert.deepEqual([ids, displayname], [[], "bob"]);
  await admin.fails("PUT", `${USERS}/@new:hs.test`, taken);
  await admin.fails("GET", `${USERS}/@new:hs.test`, NOT_FOUND);
  await admin.request("PUT", `${USERS}/@new:hs.test`, { body: { external_ids: [one] } });
  assert.deepEqual((await admin.get(`${USERS}/@new:hs.test`)).external_ids, [one]);
  assert.deepEqual((await admin.put(`${USERS}/${alice.userId}`, { external_ids: [] })).external_ids, []);
  const wrong = ["x", [{}], [{ auth_provider: "p" }], [{ ...one, external_id: 5 }], [{ ...one, auth_provider: "" }]];
  for (const external_ids of wrong) {
    const { status, body } = await admin.request("PUT", `${USERS}/${bob.userId}`, { body: { external_ids } });
    assert.ok(status === 400 && ["M_BAD_JSON", "M_MISSING_PARAM"].includes(body.errcode), JSON.stringify(body));
  }
});

testEachServer("the rooms, pushers and account data of users are shown", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob] = await hs.register("alice", "bob");
  const begin = Date.now() - 86_400_000;
  const mine = await alice.createRoom({ preset: "public_chat", invite: [bob.userId] });
  const left = await bob.createRoom({ preset: "public_chat" });
  await alice.join(left);
  await alice.leave(left);
  assert.deepEqual(await admin.get(of(alice.userId, "joined_rooms")), { joined_rooms: [mine], total: 1 });
  const { memberships } = await admin.get(of(alice.userId, "memberships"));
  assert.deepEqual(memberships, { [mine]: "join", [left]: "leave" });
  assert.equal((await admin.get(of(bob.userId, "memberships"))).memberships[mine], "invite");
  const joins = async (userId: string, from: number) =>
    (await admin.get(of(userId, "cumulative_joined_room_count"), { from_ts: from })).cumulative_joined_room_count;
  const invites = async (userId: string, from: number) =>
    (await admin.get(of(userId, "sent_invite_count"), { from_ts: from })).invite_count;
  assert.deepEqual([await joins(alice.userId, begin), await joins(bob.userId, begin)], [2, 1]);
  assert.deepEqual([await invites(alice.userId, begin), await invites(bob.userId, 0)], [1, 0]);
  const future = Date.now() + 86_400_000;
  assert.deepEqual([await joins(alice.userId, future), await invites(alice.userId, future)], [0, 0]);
  for (const user of ["@nobody:hs.test", "@nobody:elsewhere.test"]) {
    assert.deepEqual(await admin.get(of(user, "joined_rooms")), { joined_rooms: [], total: 0 });
    assert.deepEqual(await admin.get(of(user, "memberships")), { memberships: {} });
    assert.deepEqual([await joins(user, 0), await invites(user, 0)], [0, 0]);
  }

  const pusher = {
    ...{ app_display_name: "App", app_id: "org.app", device_display_name: "Phone", kind: "http", lang: "de" },
    ...{ data: { url: "https://push.example/_matrix/push/v1/notify" }, profile_tag: "tag", pushkey: "key" },
  };
  await alice.post("/pushers/set", pusher);
  assert.deepEqual(await admin.get(of(alice.userId, "pushers")), {
    pushers: [{ ...pusher, enabled: true, device_id: alice.deviceId }],
    total: 1,
  });
  assert.deepEqual(await admin.get(of(bob.userId, "pushers")), { pushers: [], total: 0 });
  const own = path`/user/${alice.userId}`;
  await alice.put(`${own}/account_data/org.x`, { a: 1 });
  await alice.put(`${own}${path`/rooms/${mine}/account_data/org.y`}`, { b: 2 });
  const { account_data: data } = await admin.get(of(alice.userId, "accountdata"));
  assert.deepEqual([data.global["org.x"], data.rooms], [{ a: 1 }, { [mine]: { "org.y": { b: 2 } } }]);
});

testEachServer("what is known of a user of another server is shown", async (database) => {
  await using resident = await startResident(database);
  const admin = await resident.hs.registerAdmin("admin");
  const [alice] = await resident.hs.register("alice");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  const { event } = await resident.join(roomId);
  const { sender } = event.pdu;
  assert.deepEqual(await admin.get(of(sender, "joined_rooms")), { joined_rooms: [roomId], total: 1 });
  assert.deepEqual(await admin.get(of(sender, "memberships")), { memberships: { [roomId]: "join" } });
  const count = await admin.get(of(sender, "cumulative_joined_room_count"), { from_ts: 0 });
  assert.deepEqual(count, { cumulative_joined_room_count: 1 });
});

testEachServer(
  "cross-signing keys are replaced once without a password where an administrator allows it",
  async (db) => {
    await using hs = await TestServer.start({ database: db });
    const admin = await hs.registerAdmin("admin");
    const [alice] = await hs.register("alice");
    const allow = of(alice.userId, "_allow_cross_signing_replacement_without_uia");
    await admin.fails("POST", allow, NOT_FOUND);
    const upload = (options = {}) =>
      alice.request("POST", "/keys/device_signing/upload", {
        body: { ...crossSigningIdentity(alice.userId).upload, ...options },
      });
    assert.equal((await upload()).status, 200);
    assert.equal((await upload()).status, 401);
    const { updatable_without_uia_before_ms: until } = await admin.post(allow);
    assert.ok(Math.abs(until - Date.now() - 600_000) < 300_000);
    assert.equal((await upload()).status, 200);
    assert.equal((await upload()).status, 401);
    await admin.fails("POST", of("@nobody:hs.test", "_allow_cross_signing_replacement_without_uia"), NOT_FOUND);
    await admin.fails("POST", of("nobody", "_allow_cross_signing_replacement_without_uia"), INVALID);
  },
);

testEachServer("users are looked up by administrators", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const known = ["accountdata", "pushers"];
  const counts = ["sent_invite_count", "cumulative_joined_room_count"];
  const own = [...known, ...counts, "joined_rooms", "memberships"];
  const targets = [
    ...own.map((what) => of(alice.userId, what)),
    ...[`${ADMIN}/search_users/@a:hs.test`, `${ADMIN}/auth_providers/p/users/x`, `${ADMIN}/threepid/email/users/x`],
  ];
  for (const target of targets) {
    await hs.anyone.fails("GET", target, { status: 401, errcode: "M_MISSING_TOKEN" });
    await alice.fails("GET", target, { status: 403, errcode: "M_FORBIDDEN" });
  }
  const allow = of(alice.userId, "_allow_cross_signing_replacement_without_uia");
  await hs.anyone.fails("POST", allow, { status: 401, errcode: "M_MISSING_TOKEN" });
  await alice.fails("POST", allow, { status: 403, errcode: "M_FORBIDDEN" });
  for (const what of own) await admin.fails("GET", of("nobody", what), INVALID);
  for (const what of known) {
    await admin.fails("GET", of("@nobody:hs.test", what), NOT_FOUND);
    await admin.fails("GET", of("@nobody:elsewhere.test", what), UNKNOWN);
  }
  for (const what of counts) {
    await admin.fails("GET", of(alice.userId, what), MISSING);
    for (const from_ts of [-1, "x"]) {
      await admin.fails("GET", of(alice.userId, what), { ...INVALID, query: { from_ts } });
    }
  }
  // Who runs what is no secret.
  assert.ok((await hs.anyone.get(`${ADMIN}/server_version`)).server_version.length > 0);
});

testEachServer("accounts that do not expire are not renewed", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const target = `${ADMIN}/account_validity/validity`;
  const body = { user_id: alice.userId };
  await hs.anyone.fails("POST", target, { body, status: 401, errcode: "M_MISSING_TOKEN" });
  await alice.fails("POST", target, { body, status: 403, errcode: "M_FORBIDDEN" });
  await admin.fails("POST", target, { body, ...UNKNOWN });
  await admin.fails("POST", target, { body: {}, ...MISSING });
  await admin.fails("POST", target, { body: { user_id: "@nobody:hs.test" }, ...NOT_FOUND });
  await admin.fails("POST", target, { body: { user_id: "alice" }, ...INVALID });
});
