/** Options that change what memberships say and what follows from them. */
import assert from "node:assert/strict";
import { sql } from "../../src/storage/sql.ts";
import { path } from "../harness/client.ts";
import { testEachServer, TestServer } from "../harness/server.ts";

testEachServer("forget_rooms_on_leave forgets for who leaves, is put out or turns down", async (database) => {
  const config = { forget_rooms_on_leave: true, forgotten_room_retention_period: "1h" };
  await using hs = await TestServer.start({ database, config });
  const [alice, bob, carol, dora] = await hs.register("alice", "bob", "carol", "dora");
  const { capabilities } = await alice.get("/capabilities");
  assert.deepEqual(capabilities["m.forget_forced_upon_leave"], { enabled: true });
  const room = await alice.createRoom({ preset: "public_chat", invite: [dora.userId] });
  const denied = { status: 403, errcode: "M_FORBIDDEN" };
  for (const user of [bob, carol]) await user.join(room);
  const { next_batch: since } = await bob.sync();
  await bob.leave(room);
  await alice.post(path`/rooms/${room}/ban`, { user_id: carol.userId });
  await dora.leave(room);
  const { rooms } = await bob.sync({ since });
  assert.deepEqual(Object.keys(rooms.leave), [room], "the leave is news once");
  const all = JSON.stringify({ room: { include_leave: true } });
  for (const user of [bob, carol, dora]) {
    await user.fails("GET", path`/rooms/${room}/messages`, denied);
    const first = await user.get("/sync", { filter: all });
    assert.equal(first.rooms?.leave?.[room], undefined);
  }
  const planned = async () => (await hs.parts.core.db.all(sql`SELECT room_nid FROM room_purges LIMIT 10`)).length;
  assert.equal(await planned(), 0, "alice is in the room");
  await bob.join(room);
  await bob.get(path`/rooms/${room}/messages`, { dir: "b" });
  await bob.leave(room);
  await alice.leave(room);
  assert.equal(await planned(), 1, "nobody remembers the room");
});

testEachServer("without forget_rooms_on_leave a room stays readable to who left it", async (database) => {
  await using hs = await TestServer.start({ database });
  const [alice] = await hs.register("alice");
  const room = await alice.createRoom();
  await alice.leave(room);
  await alice.get(path`/rooms/${room}/messages`, { dir: "b" });
});

testEachServer("include_profile_data_on_invite: false shows no profile before the join", async (database) => {
  await using hs = await TestServer.start({ database, config: { include_profile_data_on_invite: false } });
  const [alice, bob, carol] = await hs.register("alice", "bob", "carol");
  for (const user of [bob, carol]) {
    await user.put(path`/profile/${user.userId}/displayname`, { displayname: "Shy" });
  }
  const room = await alice.createRoom({ invite: [bob.userId] });
  await alice.invite(room, carol.userId);
  const memberOf = (userId: string) => alice.state(room, { type: "m.room.member", stateKey: userId });
  for (const user of [bob, carol]) {
    assert.deepEqual(await memberOf(user.userId), { membership: "invite" });
    await user.join(room);
    assert.equal((await memberOf(user.userId)).displayname, "Shy");
  }
  await hs.restart({ include_profile_data_on_invite: true });
  const again = hs.again(alice);
  const other = await again.createRoom({ invite: [bob.userId] });
  const invited = await again.state(other, { type: "m.room.member", stateKey: bob.userId });
  assert.deepEqual(invited, { membership: "invite", displayname: "Shy" });
});
