import assert from "node:assert/strict";
import { isInvitedTo, type Json, path, type TestClient } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

const LISTS = "org.matrix.msc4155.invite_permission_config";

async function configure(client: TestClient, { type, content }: { type: string; content: Json }): Promise<void> {
  await client.put(path`/user/${client.userId}/account_data/${type}`, content);
}

testEachServer("a user who blocks invitations gets none, not even with a new room", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await bob.createRoom();
  const target = path`/rooms/${roomId}/invite`;
  const refused = { status: 403, errcode: "M_INVITE_BLOCKED" };
  for (const type of ["m.invite_permission_config", "org.matrix.msc4380.invite_permission_config"]) {
    await configure(alice, { type, content: { default_action: "block" } });
    await bob.fails("POST", target, { ...refused, body: { user_id: alice.userId } });
    await bob.fails("POST", "/createRoom", { ...refused, body: { invite: [alice.userId] } });
    await configure(alice, { type, content: { default_action: "allow" } });
  }
  await bob.invite(roomId, alice.userId);
  await alice.syncUntil(isInvitedTo(roomId));
});

testEachServer("lists of users and servers block, ignore and allow, users before servers", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  const invite = async (from: TestClient) => {
    const roomId = await from.createRoom();
    const body = { user_id: alice.userId };
    return { roomId, ...await from.request("POST", path`/rooms/${roomId}/invite`, { body }) };
  };
  await configure(alice, { type: LISTS, content: { blocked_servers: ["hs.*"], allowed_users: [bob.userId] } });
  assert.equal((await invite(bob)).status, 200);
  assert.equal((await invite(carol)).body.errcode, "M_INVITE_BLOCKED");
  await configure(alice, { type: LISTS, content: { blocked_users: ["@car?l:*"] } });
  assert.equal((await invite(carol)).status, 403);
  await configure(alice, { type: LISTS, content: { ignored_users: [carol.userId] } });
  const ignored = await invite(carol);
  assert.equal(ignored.status, 200);
  const shown = (await alice.get("/sync")).rooms?.invite ?? {};
  assert.equal(shown[ignored.roomId], undefined);
  await configure(alice, {
    type: LISTS,
    content: { ignored_users: null, blocked_servers: "hs.test", allowed_users: 5 },
  });
  const open = await invite(carol);
  assert.equal(open.status, 200);
  await alice.syncUntil(isInvitedTo(open.roomId));
});
