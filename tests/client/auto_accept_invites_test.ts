/** The option `auto_accept_invites`. */
import assert from "node:assert/strict";
import { isInvitedTo, isJoinedTo } from "../harness/client.ts";
import { testConfiguredNetwork } from "../federation/network.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("invitations are accepted, and direct ones are marked so", async (database) => {
  const config = { auto_accept_invites: { enabled: true } };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob] = await hs.register("alice", "bob");
  const plain = await alice.createRoom({ invite: [bob.userId] });
  await bob.syncUntil(isJoinedTo(plain));
  await bob.put(`/user/${bob.userId}/account_data/m.direct`, { [alice.userId]: ["!old:hs.test"], extra: [] });
  const direct = await alice.createRoom({ invite: [bob.userId], is_direct: true });
  await bob.syncUntil(isJoinedTo(direct));
  assert.deepEqual(await bob.get(`/user/${bob.userId}/account_data/m.direct`), {
    [alice.userId]: ["!old:hs.test", direct],
    extra: [],
  });
});

testEachServer("invitations are accepted only where they are direct and of those who may act", async (database) => {
  const config = { auto_accept_invites: { enabled: true, only_for_direct_messages: true } };
  await using hs = await TestServer.start({ database, config });
  const admin = await hs.registerAdmin("admin");
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  await admin.put(`/_matrix/client/v1/admin/suspend/${carol.userId}`, { suspended: true });
  const plain = await alice.createRoom({ invite: [bob.userId] });
  const direct = await alice.createRoom({ invite: [carol.userId, bob.userId], is_direct: true });
  await bob.syncUntil(isJoinedTo(direct));
  bob.since = null;
  assert.ok(isInvitedTo(plain)(await bob.sync()));
  assert.ok(isInvitedTo(direct)(await carol.sync()));
});

testEachServer("nobody is joined to anything without the option", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice, bob] = await hs.register("alice", "bob");
  const roomId = await alice.createRoom({ invite: [bob.userId], is_direct: true });
  await bob.syncUntil(isInvitedTo(roomId));
  assert.equal(hs.parts.users.inviteAccepter, null);
});

testConfiguredNetwork(
  { name: "invitations of other servers are accepted", config: { auto_accept_invites: { enabled: true } } },
  async ({ servers: [one, two] }) => {
    const [alice] = await one.hs.register("alice");
    const [bob] = await two.hs.register("bob");
    const roomId = await alice.createRoom({ invite: [bob.userId], is_direct: true });
    await bob.syncUntil(isJoinedTo(roomId));
    assert.deepEqual(await bob.get(`/user/${bob.userId}/account_data/m.direct`), { [alice.userId]: [roomId] });
  },
);

testConfiguredNetwork(
  {
    name: "invitations of other servers wait where only those of local users are accepted",
    config: { auto_accept_invites: { enabled: true, only_from_local_users: true } },
  },
  async ({ servers: [one, two] }) => {
    const [alice] = await one.hs.register("alice");
    const [bob, carol] = await two.hs.register("bob", "carol");
    const remote = await alice.createRoom({ invite: [bob.userId] });
    await bob.syncUntil(isInvitedTo(remote));
    const local = await carol.createRoom({ invite: [bob.userId] });
    await bob.syncUntil(isJoinedTo(local));
    bob.since = null;
    assert.ok(isInvitedTo(remote)(await bob.sync()));
  },
);
