/** Rooms that other servers are in, and that an administrator here deletes or blocks. */
import assert from "node:assert/strict";
import type { RoomId } from "../../src/protocol/ids.ts";
import { path, type TestClient } from "../harness/client.ts";
import { tablesOfRoom } from "../harness/room_rows.ts";
import { testNetwork } from "./network.ts";

const room = (roomId: string) => path`/_synapse/admin/v1/rooms/${roomId}`;

function join(client: TestClient, { roomId, via }: { roomId: string; via: string }): Promise<unknown> {
  return client.request("POST", path`/join/${roomId}`, { body: {}, query: { via } });
}

testNetwork("other servers hear that our users left a room that is deleted here", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const admin = await two.hs.registerAdmin("admin");
  const [bob, carol] = await two.hs.register("bob", "carol");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await bob.ok("POST", path`/join/${roomId}`, { body: {}, query: { via: one.name } });
  await alice.invite(roomId, carol.userId);
  await carol.syncUntil((response) => response.rooms?.invite?.[roomId] !== undefined);
  await alice.sync();
  const roomNid = (await two.hs.parts.rooms.events.roomById(roomId as RoomId))?.roomNid ?? 0;
  const { kicked_users: kicked } = await admin.delete(room(roomId), {});
  assert.deepEqual(kicked, [bob.userId, carol.userId]);
  assert.deepEqual(await tablesOfRoom(two.hs.parts.core.db, { roomNid, roomId }), []);
  const left = new Set<string>();
  await alice.syncUntil((response) => {
    for (const event of response.rooms?.join?.[roomId]?.timeline.events ?? []) {
      if (event.type === "m.room.member" && event.content.membership === "leave") left.add(event.state_key);
    }
    return left.size === 2;
  });
  assert.deepEqual([...left].sort(), [bob.userId, carol.userId]);
  // It is not blocked: who wants to comes back.
  await bob.ok("POST", path`/join/${roomId}`, { body: {}, query: { via: one.name } });
  await bob.sendText(roomId, "here again");
});

testNetwork("a blocked room lets in nobody from here, whoever invites", async ({ servers: [one, two] }) => {
  const [alice] = await one.hs.register("alice");
  const admin = await two.hs.registerAdmin("admin");
  const [bob] = await two.hs.register("bob");
  const roomId = await alice.createRoom({ preset: "public_chat" });
  await admin.put(`${room(roomId)}/block`, { block: true });
  const refused = { status: 403, errcode: "M_FORBIDDEN" };
  await bob.fails("POST", path`/join/${roomId}`, { ...refused, body: {}, query: { via: one.name } });
  await bob.fails("POST", path`/knock/${roomId}`, { ...refused, body: {}, query: { via: one.name } });
  const invite = path`/rooms/${roomId}/invite`;
  const { status } = await alice.request("POST", invite, { body: { user_id: bob.userId } });
  assert.ok(status >= 400, "the invitation is refused");
  assert.equal((await bob.sync()).rooms?.invite?.[roomId], undefined);
  await admin.put(`${room(roomId)}/block`, { block: false });
  await alice.invite(roomId, bob.userId);
  await join(bob, { roomId, via: one.name });
  await bob.sendText(roomId, "let in");
});
