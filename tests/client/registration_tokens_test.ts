import assert from "node:assert/strict";
import { systemClock } from "../../src/lib/clock.ts";
import {
  insertRegistrationToken,
  type RegistrationToken,
  selectRegistrationToken,
} from "../../src/storage/registration_tokens.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity";
const CONFIG = { registration_requires_token: true };

async function addToken(hs: TestServer, token: Pick<RegistrationToken, "token" | "usesAllowed" | "expiresTs">) {
  await hs.parts.core.db.transaction((tx) => insertRegistrationToken(tx, token));
}

async function usesOf(hs: TestServer, token: string): Promise<readonly [number, number]> {
  const found = await selectRegistrationToken(hs.parts.core.db, token);
  return [found?.pending ?? -1, found?.completed ?? -1];
}

testEachServer("a registration token lets as many in as it allows", async (database) => {
  await using hs = await TestServer.start({ database, config: CONFIG });
  await addToken(hs, { token: "once", usesAllowed: 1, expiresTs: null });
  assert.deepEqual(await hs.anyone.get(VALIDITY, { token: "once" }), { valid: true });
  const stage = { type: "m.login.registration_token", token: "once" };
  const body = { username: "alice", password: "secret" };
  const half = await hs.anyone.fails("POST", "/register", {
    body: { ...body, auth: stage },
    status: 401,
    errcode: undefined,
  });
  assert.deepEqual(half.completed, ["m.login.registration_token"]);
  assert.deepEqual(await usesOf(hs, "once"), [1, 0]);

  // The one use is reserved, so nobody else gets it.
  const other = { body: { ...body, username: "bob", auth: stage }, status: 401, errcode: "M_UNAUTHORIZED" };
  await hs.anyone.fails("POST", "/register", other);
  const auth = { type: "m.login.dummy", session: half.session };
  assert.equal((await hs.anyone.post("/register", { ...body, auth })).user_id, "@alice:hs.test");
  assert.deepEqual(await usesOf(hs, "once"), [0, 1]);
  assert.deepEqual(await hs.anyone.get(VALIDITY, { token: "once" }), { valid: false });
  await hs.restart({ enable_registration: false });
  await hs.anyone.fails("GET", VALIDITY, { status: 403, errcode: "M_FORBIDDEN", query: { token: "once" } });
});

testEachServer("a session that expires gives its use of the token back", async (database) => {
  let offset = 0;
  const clock = { ...systemClock, now: () => Date.now() + offset };
  await using hs = await TestServer.start({ database, config: CONFIG, clock });
  await addToken(hs, { token: "t", usesAllowed: 1, expiresTs: null });
  await addToken(hs, { token: "old", usesAllowed: null, expiresTs: Date.now() + 60_000 });
  const body = { username: "alice", password: "secret", auth: { type: "m.login.registration_token", token: "t" } };
  const { session } = await hs.anyone.fails("POST", "/register", { body, status: 401, errcode: undefined });
  offset = 49 * 3_600_000;
  await hs.parts.accounts.uia.expireSessions();
  assert.deepEqual(await usesOf(hs, "t"), [0, 0]);
  assert.deepEqual(await hs.anyone.get(VALIDITY, { token: "old" }), { valid: false });
  const late = { ...body, auth: { type: "m.login.dummy", session } };
  await hs.anyone.fails("POST", "/register", { body: late, status: 400, errcode: "M_INVALID_PARAM" });
});

testEachServer("new users join the rooms of auto_join_rooms, which the first one creates", async (database) => {
  const config = { auto_join_rooms: ["#lobby:hs.test", "#elsewhere:other.example"] };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob] = await hs.register("alice", "bob");
  const { room_id: roomId } = await alice.get(`/directory/room/${encodeURIComponent("#lobby:hs.test")}`);
  assert.deepEqual((await bob.get("/joined_rooms")).joined_rooms, [roomId]);
  assert.equal((await bob.state(roomId, { type: "m.room.join_rules" })).join_rule, "public");

  const invited = { auto_join_rooms: ["#staff:hs.test"], autocreate_auto_join_room_preset: "private_chat" };
  await hs.restart({ ...invited, auto_join_mxid_localpart: "alice" });
  const [carol] = await hs.register("carol");
  const [staffId = ""] = (await carol.get("/joined_rooms")).joined_rooms;
  const members = await carol.get(`/rooms/${encodeURIComponent(staffId)}/joined_members`);
  assert.deepEqual(Object.keys(members.joined).sort(), [alice.userId, carol.userId]);
});
