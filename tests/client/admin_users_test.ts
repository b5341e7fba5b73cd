/** Synapse's admin API for accounts, their devices and registration tokens. */
import assert from "node:assert/strict";
import { type Json, path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const ADMIN = "/_synapse/admin";
const TOKENS = `${ADMIN}/v1/registration_tokens`;
const USERS = `${ADMIN}/v2/users`;
const NO_TOKEN = { status: 401, errcode: "M_MISSING_TOKEN" };
const NO_ADMIN = { status: 403, errcode: "M_FORBIDDEN" };

/** Every operation, with a body that is good. */
const OPERATIONS: readonly (readonly [string, string, Json?])[] = [
  ["GET", TOKENS],
  ["POST", `${TOKENS}/new`, {}],
  ["GET", `${TOKENS}/t`],
  ["PUT", `${TOKENS}/t`, {}],
  ["DELETE", `${TOKENS}/t`],
  ["GET", USERS],
  ["GET", `${ADMIN}/v3/users`],
  ["GET", `${USERS}/@alice:hs.test`],
  ["PUT", `${USERS}/@alice:hs.test`, {}],
  ["GET", `${USERS}/@alice:hs.test/devices`],
  ["POST", `${USERS}/@alice:hs.test/devices`, { device_id: "A" }],
  ["GET", `${USERS}/@alice:hs.test/devices/A`],
  ["PUT", `${USERS}/@alice:hs.test/devices/A`, {}],
  ["DELETE", `${USERS}/@alice:hs.test/devices/A`],
  ["POST", `${USERS}/@alice:hs.test/delete_devices`, { devices: [] }],
  ["GET", `${ADMIN}/v1/whois/@alice:hs.test`],
  ["GET", `${ADMIN}/v1/username_available?username=x`],
  ["POST", `${ADMIN}/v1/deactivate/@alice:hs.test`, {}],
  ["POST", `${ADMIN}/v1/reset_password/@alice:hs.test`, { new_password: "secret" }],
  ["POST", `${ADMIN}/v1/users/@alice:hs.test/login`, {}],
  ["PUT", `${ADMIN}/v1/suspend/@alice:hs.test`, { suspend: true }],
  ["GET", `${ADMIN}/v1/users/@alice:hs.test/admin`],
  ["PUT", `${ADMIN}/v1/users/@alice:hs.test/admin`, { admin: true }],
  ["POST", `${ADMIN}/v1/users/@alice:hs.test/shadow_ban`],
  ["DELETE", `${ADMIN}/v1/users/@alice:hs.test/shadow_ban`],
];

testEachServer("administration is for administrators, of users who are of this server", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [, bob] = await hs.register("alice", "bob");
  for (const [method, target, body] of OPERATIONS) {
    const options = body === undefined ? {} : { body };
    await hs.anyone.fails(method, target, { ...options, ...NO_TOKEN });
    await bob.fails(method, target, { ...options, ...NO_ADMIN });
    if (!target.includes("@alice:hs.test")) continue;
    const wrong = { ...options, status: 400, errcode: "M_INVALID_PARAM" };
    await admin.fails(method, target.replace("@alice:hs.test", "nonsense"), wrong);
    const { status } = await admin.request(method, target.replace("hs.test", "elsewhere.test"), options);
    assert.equal(status, 400, target);
    if (/whois|PUT .*v2.users.[^/]*$/.test(`${method} ${target}`)) continue;
    const missing = { ...options, status: 404, errcode: "M_NOT_FOUND" };
    await admin.fails(method, target.replace("@alice", "@nobody"), missing);
  }
});

testEachServer("registration tokens are made, listed, changed and deleted", async (database) => {
  await using hs = await TestServer.start({ database, config: { registration_requires_token: true } });
  const admin = await hs.registerAdmin("admin");
  const once = { token: "once", uses_allowed: 1, pending: 0, completed: 0, expiry_time: null };
  assert.deepEqual(await admin.post(`${TOKENS}/new`, { token: "once", uses_allowed: 1 }), once);
  const random = await admin.post(`${TOKENS}/new`, { length: 24 });
  assert.equal(random.token.length, 24);
  assert.equal((await admin.post(`${TOKENS}/new`)).token.length, 16);
  assert.deepEqual(await admin.get(`${TOKENS}/once`), once);
  assert.equal((await admin.get(TOKENS)).registration_tokens.length, 3);

  const auth = { type: "m.login.registration_token", token: "once" };
  const body = { username: "alice", password: "secret" };
  const { session } = await hs.anyone.fails("POST", "/register", {
    body: { ...body, auth },
    status: 401,
    errcode: undefined,
  });
  await hs.anyone.post("/register", { ...body, auth: { type: "m.login.dummy", session } });
  assert.deepEqual((await admin.get(TOKENS, { valid: false })).registration_tokens, [{ ...once, completed: 1 }]);
  assert.equal((await admin.get(TOKENS, { valid: true })).registration_tokens.length, 2);
  const later = Date.now() + 3_600_000;
  assert.deepEqual(await admin.put(`${TOKENS}/once`, { uses_allowed: null, expiry_time: later }), {
    ...{ ...once, completed: 1, uses_allowed: null, expiry_time: later },
  });
  assert.deepEqual((await admin.put(`${TOKENS}/once`, { uses_allowed: 7 })).expiry_time, later);
  assert.deepEqual(await admin.delete(`${TOKENS}/once`), {});
  const gone = { status: 404, errcode: "M_NOT_FOUND" };
  await admin.fails("GET", `${TOKENS}/once`, gone);
  await admin.fails("PUT", `${TOKENS}/once`, { ...gone, body: {} });
  await admin.fails("DELETE", `${TOKENS}/once`, gone);

  const bad = { status: 400, errcode: "M_INVALID_PARAM" };
  const wrong: Json[] = [
    ...[{ token: "" }, { token: 5 }, { token: "a b" }, { token: "x".repeat(65) }, { length: 0 }, { length: 65 }],
    ...[{ length: "9" }, { uses_allowed: -1 }, { uses_allowed: 1.5 }, { expiry_time: 1 }, { expiry_time: "soon" }],
    { token: random.token },
  ];
  for (const body of wrong) await admin.fails("POST", `${TOKENS}/new`, { ...bad, body });
  await admin.fails("PUT", path`/_synapse/admin/v1/registration_tokens/${random.token}`, {
    ...{ ...bad, body: { uses_allowed: "3" } },
  });
  await admin.fails("GET", TOKENS, { ...bad, query: { valid: "maybe" } });
});

testEachServer("accounts are made, shown and changed", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const target = `${USERS}/@carol:hs.test`;
  const given = {
    ...{ password: "a long secret", displayname: "Carol", avatar_url: "mxc://hs.test/carol", user_type: "bot" },
    threepids: [{ medium: "email", address: "Carol@Example.org" }],
  };
  const made = await admin.request("PUT", target, { body: given });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const { threepids: [threepid], creation_ts, last_seen_ts, ...rest } = made.body;
  assert.deepEqual([threepid.medium, threepid.address], ["email", "carol@example.org"]);
  assert.ok(Math.abs(creation_ts - Date.now() / 1000) < 3600);
  assert.equal(last_seen_ts, null);
  assert.deepEqual(rest, {
    ...{ name: "@carol:hs.test", admin: false, deactivated: false, locked: false, shadow_banned: false },
    ...{ appservice_id: null, consent_server_notice_sent: null, consent_version: null, consent_ts: null },
    ...{ user_type: "bot", is_guest: false, suspended: false, displayname: "Carol", erased: false },
    ...{ avatar_url: "mxc://hs.test/carol", external_ids: [] },
  });
  const login = { type: "m.login.password", identifier: { type: "m.id.user", user: "carol" } };
  const { access_token: token } = await hs.anyone.post("/login", { ...login, password: "a long secret" });
  const change = { password: "another secret", displayname: "C.", threepids: [], admin: true, user_type: null };
  const changed = await admin.put(target, change);
  assert.deepEqual([changed.displayname, changed.threepids, changed.admin, changed.user_type], ["C.", [], true, null]);
  assert.equal(changed.avatar_url, "mxc://hs.test/carol");
  await hs.anyone.fails("GET", "/account/whoami", { token, status: 401, errcode: "M_UNKNOWN_TOKEN" });
  await hs.anyone.post("/login", { ...login, password: "another secret" });

  const capitals = { body: {}, status: 400, errcode: "M_INVALID_USERNAME" };
  await admin.fails("PUT", `${USERS}/@Dora:hs.test`, capitals);
  await admin.fails("GET", `${USERS}/@dora:hs.test`, { status: 404, errcode: "M_NOT_FOUND" });

  assert.equal((await admin.put(target, { locked: true })).locked, true);
  assert.equal((await admin.put(target, { locked: false })).locked, false);
  assert.equal((await admin.put(target, { deactivated: true })).deactivated, true);
  const refused = await hs.anyone.request("POST", "/login", { body: { ...login, password: "another secret" } });
  assert.equal(refused.status, 403);
  const again = await admin.put(target, { deactivated: false, password: "a third secret" });
  assert.equal(again.deactivated, false);
  await hs.anyone.post("/login", { ...login, password: "a third secret" });

  const wrong = [{ admin: "yes" }, { deactivated: 1 }, { locked: "no" }, { password: 5 }, { threepids: [{}] }];
  for (const body of wrong) assert.equal((await admin.request("PUT", target, { body })).status, 400);
  await admin.fails("PUT", target, { body: { user_type: "robot" }, status: 400, errcode: "M_UNKNOWN" });
  await admin.fails("PUT", target, { body: { locked: true, deactivated: true }, status: 400, errcode: "M_UNKNOWN" });
  const own = `${USERS}/${admin.userId}`;
  await admin.fails("PUT", own, { body: { admin: false }, status: 400, errcode: "M_UNKNOWN" });
  await admin.request("PUT", `${USERS}/@dave:hs.test`, {
    body: { threepids: [{ medium: "email", address: "d@e.org" }] },
  });
  const taken = { threepids: [{ medium: "email", address: "d@e.org" }] };
  await admin.fails("PUT", target, { body: taken, status: 400, errcode: "M_THREEPID_IN_USE" });
});

testEachServer("accounts are listed by pages, filtered and in an order", async (database) => {
  await using hs = await TestServer.start({ database, config: { allow_guest_access: true } });
  const admin = await hs.registerAdmin("admin");
  const [alice, , carol] = await hs.register("alice", "bob_b", "carol");
  await hs.registerGuest();
  await alice.put(path`/profile/${alice.userId}/displayname`, { displayname: "Zoë 100%" });
  await admin.post(`${ADMIN}/v1/deactivate/${carol.userId}`, { erase: true });
  const names = async (query: Record<string, string | number | boolean> = {}, version = "v2") =>
    (await admin.get(`${ADMIN}/${version}/users`, { guests: false, ...query })).users.map(({ name }: Json) => name);
  const all = ["@admin:hs.test", "@alice:hs.test", "@bob_b:hs.test"];
  assert.deepEqual(await names(), all);
  assert.deepEqual(await names({ dir: "b" }), all.toReversed());
  assert.deepEqual(await names({ deactivated: true }), [...all, "@carol:hs.test"]);
  assert.deepEqual(await names({ deactivated: true }, "v3"), ["@carol:hs.test"]);
  assert.deepEqual(await names({}, "v3"), [...all, "@carol:hs.test"]);
  assert.deepEqual(await names({ admins: true }), ["@admin:hs.test"]);
  assert.deepEqual(await names({ name: "100%" }), ["@alice:hs.test"]);
  assert.deepEqual(await names({ user_id: "BOB_B" }), ["@bob_b:hs.test"]);
  assert.deepEqual(await names({ user_id: "b_b%" }), []);
  assert.equal((await names({ guests: true })).length, 4);
  const first = await admin.get(USERS, { guests: false, limit: 2, order_by: "admin", dir: "b" });
  assert.deepEqual([first.users[0].name, first.total, first.next_token], ["@admin:hs.test", 3, "2"]);
  const second = await admin.get(USERS, { guests: false, limit: 2, from: first.next_token });
  assert.deepEqual([second.users.length, second.next_token], [1, undefined]);
  const [erased] = (await admin.get(`${ADMIN}/v3/users`, { deactivated: true })).users;
  assert.deepEqual([erased.erased, erased.deactivated, erased.displayname], [true, true, null]);
  for (const query of [{ order_by: "age" }, { dir: "x" }, { limit: -1 }, { guests: "perhaps" }]) {
    await admin.fails("GET", USERS, { query, status: 400, errcode: "M_INVALID_PARAM" });
  }
});

testEachServer("administrators log in as users, reset passwords, suspend and shadow-ban", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const { access_token: puppet } = await admin.post(`${ADMIN}/v1/users/${alice.userId}/login`);
  assert.equal((await hs.anyone.ok("GET", "/account/whoami", { token: puppet })).user_id, alice.userId);
  await admin.fails("POST", `${ADMIN}/v1/users/${admin.userId}/login`, { body: {}, status: 400, errcode: "M_UNKNOWN" });
  await admin.put(`${ADMIN}/v1/users/${alice.userId}/admin`, { admin: true });
  assert.deepEqual(await admin.get(`${ADMIN}/v1/users/${alice.userId}/admin`), { admin: true });
  assert.equal((await alice.get(`${ADMIN}/v1/server_version`)).server_version.length > 0, true);
  await admin.put(`${ADMIN}/v1/users/${alice.userId}/admin`, { admin: false });
  const demotion = { body: { admin: false }, status: 400, errcode: "M_UNKNOWN" };
  await admin.fails("PUT", `${ADMIN}/v1/users/${admin.userId}/admin`, demotion);
  assert.deepEqual(await admin.put(`${ADMIN}/v1/suspend/${alice.userId}`, { suspend: true }), {
    [`user_${alice.userId}_suspended`]: true,
  });
  await alice.fails("POST", "/createRoom", { body: {}, status: 403, errcode: "M_USER_SUSPENDED" });
  await admin.put(`${ADMIN}/v1/suspend/${alice.userId}`, { suspend: false });
  await admin.post(`${ADMIN}/v1/users/${alice.userId}/shadow_ban`);
  assert.equal((await admin.get(`${USERS}/${alice.userId}`)).shadow_banned, true);
  await admin.delete(`${ADMIN}/v1/users/${alice.userId}/shadow_ban`);
  assert.equal((await admin.get(`${USERS}/${alice.userId}`)).shadow_banned, false);
  assert.deepEqual((await admin.get(`${ADMIN}/v1/whois/${alice.userId}`)).user_id, alice.userId);
  assert.deepEqual(await admin.get(`${ADMIN}/v1/username_available`, { username: "free" }), { available: true });
  const inUse = { query: { username: "alice" }, status: 400, errcode: "M_USER_IN_USE" };
  await admin.fails("GET", `${ADMIN}/v1/username_available`, inUse);
  await admin.post(`${ADMIN}/v1/reset_password/${alice.userId}`, { new_password: "new secret", logout_devices: false });
  await alice.get("/account/whoami");
  await admin.post(`${ADMIN}/v1/reset_password/${alice.userId}`, { new_password: "newer secret" });
  await alice.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  const missing = { body: {}, status: 400, errcode: "M_MISSING_PARAM" };
  await admin.fails("POST", `${ADMIN}/v1/reset_password/${alice.userId}`, missing);
});

testEachServer("administrators list, name, make and remove devices", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("admin");
  const [alice] = await hs.register("alice");
  const phone = await alice.anotherDevice("PHONE");
  const devices = `${USERS}/${alice.userId}/devices`;
  const listed = await admin.get(devices);
  assert.equal(listed.total, 2);
  assert.deepEqual(listed.devices.map((device: Json) => device.user_id), [alice.userId, alice.userId]);
  await admin.put(`${devices}/PHONE`, { display_name: "Old phone" });
  assert.equal((await admin.get(`${devices}/PHONE`)).display_name, "Old phone");
  const { status } = await admin.request("POST", devices, { body: { device_id: "NEW" } });
  assert.equal(status, 201);
  assert.equal((await admin.get(devices)).total, 3);
  await admin.delete(`${devices}/PHONE`);
  await phone.fails("GET", "/account/whoami", { status: 401, errcode: "M_UNKNOWN_TOKEN" });
  await admin.fails("GET", `${devices}/PHONE`, { status: 404, errcode: "M_NOT_FOUND" });
  await admin.post(`${USERS}/${alice.userId}/delete_devices`, { devices: ["NEW", alice.deviceId] });
  assert.equal((await admin.get(devices)).total, 0);
  await admin.fails("POST", devices, { body: {}, status: 400, errcode: "M_MISSING_PARAM" });
  const wrong = { body: { devices: "all" }, status: 400, errcode: "M_BAD_JSON" };
  await admin.fails("POST", `${USERS}/${alice.userId}/delete_devices`, wrong);
});

testEachServer("who acts as a user is seen there; the user only where the operator wants that", async (database) => {
  await using hs = await TestServer.start({ database });
  const admin = await hs.registerAdmin("root");
  const [alice] = await hs.register("alice");
  const agentsOf = async (userId: string) => {
    const { devices } = await hs.again(admin).get(`${ADMIN}/v1/whois/${userId}`);
    const connections: Json[] = devices[""]?.sessions[0].connections ?? [];
    return connections.map(({ user_agent: agent }) => agent);
  };
  const actAsAlice = async (agent: string) => {
    const { access_token: token } = await hs.again(admin).post(`${ADMIN}/v1/users/${alice.userId}/login`);
    await hs.anyone.ok("GET", "/account/whoami", { token, headers: { "user-agent": agent } });
  };
  await actAsAlice("first");
  assert.deepEqual([await agentsOf(admin.userId), await agentsOf(alice.userId)], [["first"], []]);
  await hs.restart({ track_puppeted_user_ips: true });
  await actAsAlice("second");
  assert.deepEqual([await agentsOf(admin.userId), await agentsOf(alice.userId)], [["second"], ["second"]]);
});
