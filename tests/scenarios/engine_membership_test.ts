/** Who may enter, leave, invite, ban; what the database then says. */
import assert from "node:assert/strict";
import { type Errcode, MatrixError } from "../../src/protocol/errors.ts";
import type { RoomId } from "../../src/protocol/ids.ts";
import { selectLocalMembership } from "../../src/storage/local_memberships.ts";
import { testEachDatabase } from "../harness/databases.ts";
import { openEngine, type TestEngine, testRequester } from "../harness/engine.ts";
import { readRoom } from "../harness/engine_reads.ts";

const alice = testRequester("alice");
const bob = testRequester("bob");
const charlie = testRequester("charlie");

async function refused(
  work: Promise<unknown>,
  { status, errcode }: { status: number; errcode: Errcode },
): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof MatrixError, String(error));
    assert.deepEqual({ status: error.status, errcode: error.errcode }, { status, errcode });
    return true;
  });
}

const FORBIDDEN = { status: 403, errcode: "M_FORBIDDEN" } as const;

async function membershipOfBob({ db }: TestEngine, roomId: RoomId): Promise<string | undefined> {
  return (await selectLocalMembership(db, { userId: bob.userId, roomId }))?.membership;
}

testEachDatabase("an invited user joins a private room, another one does not", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "private_chat" });
  await refused(engine.join(bob, { roomId }), FORBIDDEN);
  await engine.invite(alice, { roomId, userId: bob.userId, details: { reason: "come" } });
  assert.equal(await membershipOfBob(parts, roomId), "invite");
  await engine.join(bob, { roomId });
  await refused(engine.invite(alice, { roomId, userId: bob.userId }), FORBIDDEN);
  await refused(engine.invite(charlie, { roomId, userId: charlie.userId }), FORBIDDEN);
  const { joined } = await readRoom(parts, roomId);
  assert.deepEqual(joined, [alice.userId, bob.userId]);
});

testEachDatabase("leaving, kicking, banning and unbanning are refused where they make no sense", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  const target = { roomId, userId: bob.userId };
  await refused(engine.leave(bob, { roomId }), FORBIDDEN);
  await refused(engine.kick(alice, target), FORBIDDEN);
  await refused(engine.unban(alice, target), { status: 403, errcode: "M_BAD_STATE" });
  await engine.join(bob, { roomId });
  await refused(engine.kick(bob, { roomId, userId: alice.userId }), FORBIDDEN);
  await engine.kick(alice, { ...target, details: { reason: "spam" } });
  assert.equal(await membershipOfBob(parts, roomId), "leave");
  await engine.ban(alice, target);
  await refused(engine.join(bob, { roomId }), FORBIDDEN);
  await refused(engine.invite(alice, target), FORBIDDEN);
  await refused(engine.kick(alice, target), FORBIDDEN);
  await engine.unban(alice, target);
  await engine.join(bob, { roomId });
  await engine.leave(bob, { roomId });
  await engine.leave(bob, { roomId });
  const { timeline } = await readRoom(parts, roomId);
  const story = timeline.filter(({ stateKey }) => stateKey === bob.userId).map(({ content }) => content["membership"]);
  assert.deepEqual(story, ["join", "leave", "ban", "leave", "join", "leave"]);
});

testEachDatabase("a room can be forgotten after leaving it, and is back when joined again", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  await refused(engine.forget(bob, { roomId }), { status: 404, errcode: "M_NOT_FOUND" });
  await engine.join(bob, { roomId });
  await refused(engine.forget(bob, { roomId }), { status: 400, errcode: "M_UNKNOWN" });
  await engine.leave(bob, { roomId });
  await engine.forget(bob, { roomId });
  assert.equal((await selectLocalMembership(db, { userId: bob.userId, roomId }))?.forgotten, true);
  await engine.join(bob, { roomId });
  assert.equal((await selectLocalMembership(db, { userId: bob.userId, roomId }))?.forgotten, false);
});

testEachDatabase("a knock is answered by an invitation", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const knock = { type: "m.room.join_rules", content: { join_rule: "knock" } };
  const roomId = await engine.createRoom(alice, { initialState: [knock] });
  await refused(engine.join(bob, { roomId }), FORBIDDEN);
  await engine.knock(bob, { roomId, details: { reason: "please" } });
  assert.equal(await membershipOfBob(parts, roomId), "knock");
  await engine.invite(alice, { roomId, userId: bob.userId });
  await engine.join(bob, { roomId });
  const publicRoom = await engine.createRoom(alice, { preset: "public_chat" });
  await refused(engine.knock(charlie, { roomId: publicRoom }), FORBIDDEN);
});

for (const version of ["8", "10", "12"]) {
  testEachDatabase(`members of one room may join a restricted one in version ${version}`, async (db) => {
    const parts = await openEngine(db);
    const { engine } = parts;
    const space = await engine.createRoom(alice, { preset: "public_chat" });
    const rules = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: space }] };
    const roomId = await engine.createRoom(alice, {
      roomVersion: version,
      initialState: [{ type: "m.room.join_rules", content: rules }],
    });
    await refused(engine.join(bob, { roomId }), FORBIDDEN);
    await engine.join(bob, { roomId: space });
    await engine.join(bob, { roomId });
    const { state } = await readRoom(parts, roomId);
    const content = state.get(`m.room.member|${bob.userId}`)?.content;
    assert.equal(content?.["join_authorised_via_users_server"], alice.userId);
    const before = await engine.head(roomId);
    await engine.join(bob, { roomId });
    assert.deepEqual(await engine.head(roomId), before);
  });
}

testEachDatabase("guests join only rooms that let them", async (db) => {
  const { engine } = await openEngine(db);
  const guest = testRequester("guest", { isGuest: true });
  const closed = await engine.createRoom(alice, { preset: "public_chat" });
  await refused(engine.join(guest, { roomId: closed }), { status: 403, errcode: "M_GUEST_ACCESS_FORBIDDEN" });
  const access = { type: "m.room.guest_access", content: { guest_access: "can_join" } };
  const open = await engine.createRoom(alice, { preset: "public_chat", initialState: [access] });
  await engine.join(guest, { roomId: open });
});

testEachDatabase("a member event sent as state is a membership change like others", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  await engine.join(bob, { roomId });
  const send = (from: typeof alice, content: Record<string, string>, target = from) =>
    engine.sendEvent(from, { roomId, type: "m.room.member", stateKey: target.userId, content, txnId: null });
  await send(bob, { membership: "join", displayname: "Robert" });
  await refused(send(alice, { membership: "join" }, charlie), FORBIDDEN);
  await refused(send(bob, { membership: "dance" }), { status: 400, errcode: "M_BAD_JSON" });
  const { state } = await readRoom(parts, roomId);
  assert.equal(state.get(`m.room.member|${bob.userId}`)?.content["displayname"], "Robert");
});

testEachDatabase("a shadow-banned user is told all is well, and nobody else hears of them", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  const banned = testRequester("bob", { isShadowBanned: true });
  await engine.join(banned, { roomId });
  const before = await engine.head(roomId);
  await engine.sendEvent(banned, {
    roomId,
    type: "m.room.message",
    stateKey: null,
    content: { body: "spam" },
    txnId: null,
  });
  await engine.invite(banned, { roomId, userId: charlie.userId });
  assert.deepEqual(await engine.head(roomId), before);
});

testEachDatabase("a join carries what the client adds, but not what only servers may say", async (db) => {
  const parts = await openEngine(db);
  const { engine } = parts;
  const roomId = await engine.createRoom(alice, { preset: "public_chat" });
  const extra = { foo: "bar", membership: "ban", join_authorised_via_users_server: alice.userId };
  await engine.join(bob, { roomId, details: { reason: "hi", extra } });
  const { state } = await readRoom(parts, roomId);
  assert.deepEqual(state.get(`m.room.member|${bob.userId}`)?.content, { foo: "bar", reason: "hi", membership: "join" });
});
