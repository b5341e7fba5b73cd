/** People are invited by their addresses, within one server and across two. */
import assert from "node:assert/strict";
import type { RoomId, UserId } from "../../src/protocol/ids.ts";
import { path, type TestClient } from "../harness/client.ts";
import { testEachServer } from "../harness/server.ts";
import { type IdentityServer, startIdentityServer } from "./identity_server.ts";
import { testNetwork } from "./network.ts";
import { enc, type Resident, startResident } from "./resident.ts";

function address(identity: IdentityServer, more: Record<string, unknown> = {}): Record<string, unknown> {
  const usual = { medium: "email", address: "Carol@Example.org", id_access_token: "secret-of-the-user" };
  return { id_server: identity.name, ...usual, ...more };
}

async function inviteAddress(
  alice: TestClient,
  { roomId, identity }: { roomId: string; identity: IdentityServer },
): Promise<string> {
  await alice.post(path`/rooms/${roomId}/invite`, address(identity));
  const token = identity.stored.at(-1)?.token;
  assert(token !== undefined);
  return token;
}

function member(
  alice: TestClient,
  { roomId, userId }: { roomId: string; userId: string },
): ReturnType<TestClient["state"]> {
  return alice.state(roomId, { type: "m.room.member", stateKey: userId });
}

testEachServer("a known address is the user's, an unknown one is kept by the identity server", async (database) => {
  await using resident = await startResident(database);
  await using identity = await startIdentityServer();
  const [alice, bob] = await resident.hs.register("alice", "bob");
  const roomId = await alice.createRoom({ name: "Meeting", preset: "private_chat" });
  identity.bound.set("bob@example.org", bob.userId);
  await alice.post(path`/rooms/${roomId}/invite`, address(identity, { address: "bob@EXAMPLE.org" }));
  assert.equal((await member(alice, { roomId, userId: bob.userId })).membership, "invite");
  assert.equal(identity.stored.length, 0);

  await resident.hs.restart({ email: { notif_from: "hs@hs.test", invite_client_location: "https://app.test" } });
  const again = resident.hs.again(alice);
  await inviteAddress(again, { roomId, identity });
  assert.equal(identity.stored.pop()?.["org.matrix.web_client_location"], "https://app.test");
  await resident.hs.restart({ email: null });
  const token = await inviteAddress(resident.hs.again(alice), { roomId, identity });
  const [kept] = identity.stored;
  assert.deepEqual(kept, {
    ...{ token, medium: "email", address: "carol@example.org", room_id: roomId, sender: alice.userId },
    ...{ room_name: "Meeting", room_join_rules: "invite", sender_display_name: "alice" },
  });
  const issued = await resident.hs.again(alice).state(roomId, { type: "m.room.third_party_invite", stateKey: token });
  const key = identity.key.verifyKey.base64;
  const url = `https://${identity.name}/_matrix/identity/v2/pubkey/isvalid`;
  assert.deepEqual(issued, {
    ...{ display_name: "c...@e...", public_key: key, key_validity_url: url },
    public_keys: [{ public_key: key, key_validity_url: url }],
  });
});

testEachServer("an address is told to nobody by those who may not invite, and failures are said", async (database) => {
  await using resident = await startResident(database);
  await using identity = await startIdentityServer();
  const [alice, bob, eve] = await resident.hs.register("alice", "bob", "eve");
  const roomId = await alice.createRoom({ preset: "public_chat", power_level_content_override: { invite: 50 } });
  await bob.join(roomId);
  const target = path`/rooms/${roomId}/invite`;
  const refused = { status: 403, errcode: "M_FORBIDDEN" };
  const body = address(identity);
  await resident.hs.anyone.fails("POST", target, { body, status: 401, errcode: "M_MISSING_TOKEN" });
  await bob.fails("POST", target, { body, ...refused });
  await eve.fails("POST", target, { body, ...refused });
  assert.equal(identity.peer.requests.length, 0);
  await alice.fails("POST", target, { body: address(identity, { id_access_token: "wrong" }), ...refused });
  const phone = address(identity, { medium: "msisdn", address: "4912345" });
  await alice.fails("POST", target, { body: phone, status: 400, errcode: "M_UNRECOGNIZED" });
  const nowhere = address(identity, { id_server: "id.test:1" });
  await alice.fails("POST", target, { body: nowhere, status: 502, errcode: "M_UNKNOWN" });
  for (const bad of ["id.test/path", "user@id.test", ""]) {
    const answer = await alice.request("POST", target, { body: address(identity, { id_server: bad }) });
    assert(answer.status === 400 || answer.status === 502, bad);
  }
  await alice.fails("POST", target, { body: address(identity, { address: 5 }), status: 400, errcode: "M_BAD_JSON" });
  await resident.hs.restart({ enable_3pid_lookup: false });
  const again = resident.hs.again(alice);
  await again.fails("POST", target, { body, status: 403, errcode: "M_THREEPID_DENIED" });
  const asked = identity.peer.requests.length;
  await resident.hs.restart({ block_non_admin_invites: true });
  await resident.hs.again(alice).fails("POST", target, { body, ...refused });
  assert.equal(identity.peer.requests.length, asked);
});

testEachServer("whoever has the address becomes invited, at the word of the identity server", async (database) => {
  await using resident = await startResident(database);
  await using identity = await startIdentityServer();
  const [alice, carol] = await resident.hs.register("alice", "carol");
  const roomId = await alice.createRoom({ preset: "private_chat", invite_3pid: [address(identity)] });
  const token = identity.stored[0]?.token ?? "";
  const bind = (invites: unknown[], mxid = carol.userId) => onBind(resident, { mxid, invites });
  const invite = (signed: Record<string, unknown>, more = {}) => ({
    ...{
      medium: "email",
      address: "carol@example.org",
      room_id: roomId,
      sender: alice.userId,
      mxid: carol.userId,
      signed,
    },
    ...more,
  });
  const good = identity.sign({ mxid: carol.userId, token });
  const forged = [
    invite(identity.sign({ mxid: carol.userId, token: "other" })),
    invite({ ...good, mxid: alice.userId }),
    invite({ mxid: carol.userId, token, signatures: { "id.test": { "ed25519:0": "AAAA" } } }),
    invite(good, { sender: carol.userId }),
    invite(good, { room_id: "!elsewhere:hs.test" }),
  ];
  for (const bad of forged) {
    const { status } = await bind([bad]);
    assert(status === 200 || status === 403, JSON.stringify(bad));
    assert.equal((await carol.sync()).rooms?.invite?.[roomId], undefined);
  }
  identity.revoked.add(identity.key.verifyKey.base64);
  assert.equal((await bind([invite(good)])).status, 200);
  assert.equal((await carol.sync()).rooms?.invite?.[roomId], undefined);
  identity.revoked.clear();
  assert.equal((await bind([forged[0], invite(good), invite(good)])).status, 200);
  const content = await member(alice, { roomId, userId: carol.userId });
  assert.deepEqual(content.third_party_invite, { display_name: "c...@e...", signed: good });
  await carol.join(roomId);
});

testEachServer("a signature from elsewhere can be brought along to the join", async (database) => {
  await using resident = await startResident(database);
  await using identity = await startIdentityServer();
  const [alice, carol, eve] = await resident.hs.register("alice", "carol", "eve");
  const roomId = await alice.createRoom({ preset: "private_chat" });
  const token = await inviteAddress(alice, { roomId, identity });
  const proof = identity.sign({ mxid: carol.userId, sender: alice.userId, token });
  const target = path`/join/${roomId}`;
  const body = { third_party_signed: proof };
  await eve.fails("POST", target, { body, status: 403, errcode: "M_FORBIDDEN" });
  const changed = { third_party_signed: { ...proof, mxid: eve.userId } };
  await eve.fails("POST", target, { body: changed, status: 403, errcode: "M_FORBIDDEN" });
  await eve.fails("POST", target, { body: { third_party_signed: {} }, status: 400, errcode: "M_MISSING_PARAM" });
  await carol.post(target, body);
  assert.equal((await member(alice, { roomId, userId: carol.userId })).membership, "join");
});

testEachServer("the endpoints for other servers refuse what is not theirs to ask", async (database) => {
  await using resident = await startResident(database);
  await using identity = await startIdentityServer();
  const [alice] = await resident.hs.register("alice");
  const roomId = await alice.createRoom({ preset: "private_chat" });
  const token = await inviteAddress(alice, { roomId, identity });
  const userId = `@bob:${resident.signer.serverName}`;
  const exchange = async (more: Record<string, unknown>, room = roomId) => {
    const signed = identity.sign({ mxid: userId, token });
    const content = { membership: "invite", third_party_invite: { display_name: "bob", signed } };
    const usual = { type: "m.room.member", room_id: room, sender: alice.userId, state_key: userId, content };
    const { status, body } = await resident.ask(
      `/v1/exchange_third_party_invite/${enc(roomId)}`,
      { ...usual, ...more } as never,
    );
    return [status, body.errcode];
  };
  assert.deepEqual(await exchange({ sender: userId }), [403, "M_FORBIDDEN"]);
  assert.deepEqual(await exchange({ sender: "@nobody:hs.test" }), [403, "M_FORBIDDEN"]);
  assert.deepEqual(await exchange({ type: "m.room.name" }), [400, "M_BAD_JSON"]);
  assert.deepEqual(await exchange({ state_key: alice.userId }), [403, "M_FORBIDDEN"]);
  assert.deepEqual(await exchange({}, "!other:hs.test"), [400, "M_BAD_JSON"]);
  const unsigned = await resident.fetch(`/_matrix/federation/v1/exchange_third_party_invite/${enc(roomId)}`, {
    ...{ method: "PUT", body: "{}" },
  });
  assert.equal(unsigned.status, 401);
  assert.equal((await onBind(resident, { mxid: userId, invites: [] })).status, 403);
  assert.equal((await onBind(resident, { mxid: alice.userId, invites: Array(51).fill({}) })).status, 400);
});

function onBind(
  resident: Resident,
  { mxid, invites }: { mxid: string; invites: unknown[] },
): ReturnType<Resident["fetch"]> {
  const body = JSON.stringify({ medium: "email", address: "carol@example.org", mxid, invites });
  return resident.fetch("/_matrix/federation/v1/3pid/onbind", { method: "PUT", body });
}

testNetwork("an address that belongs to a user of another server is invited by that server's word", async (network) => {
  const { servers: [one, two] } = network;
  await using identity = await startIdentityServer();
  const [alice] = await one.hs.register("alice");
  const [carol] = await two.hs.register("carol");
  const roomId = await alice.createRoom({ preset: "private_chat" });
  const token = await inviteAddress(alice, { roomId, identity });
  const signed = identity.sign({ mxid: carol.userId, token });
  await two.hs.parts.exchange.thirdPartyInvites.exchange({
    ...{ roomId: roomId as RoomId, token, signed },
    ...{ sender: alice.userId as UserId, target: carol.userId as UserId },
  });
  await carol.syncUntil((response) => response.rooms?.invite?.[roomId] !== undefined);
  await carol.join(roomId);
  assert.equal((await member(alice, { roomId, userId: carol.userId })).membership, "join");

  // Another brings the signature along: the invitation is made, and the join goes by it.
  const [dave] = await two.hs.register("dave");
  const other = await alice.createRoom({ preset: "private_chat" });
  const second = await inviteAddress(alice, { roomId: other, identity });
  const proof = identity.sign({ mxid: dave.userId, sender: alice.userId, token: second });
  await dave.post(path`/join/${other}`, { third_party_signed: proof });
  assert.equal((await member(alice, { roomId: other, userId: dave.userId })).membership, "join");
});
